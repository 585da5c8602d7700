"""A network's forward pass: padding, pixel values, the call, and the image among what the module returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sr_hooks.core.seeds import frozen_streams
from sr_hooks.errors import ForwardError, NetworkError, NoImage
from sr_hooks.hooks.interventions import cloning_outputs
from sr_hooks.images.clips import FrameChoice, one_frame
from sr_hooks.images.image import padding_to, reflect_pad, stretched
from sr_hooks.networks.calling import Forward, call_module, dtype_of, failing_part
from sr_hooks.networks.facts import NetworkFacts
from sr_hooks.networks.pixel_range import PixelValues

__all__ = ["ForwardPass", "Selector", "pick_image"]

Selector = int | str | Callable[[Any], torch.Tensor]
"""An index, a key, or a function of what the network returns."""

_IMAGE_CHANNELS = (1, 3)


@dataclass(frozen=True)
class ForwardPass:
    """How a module is run on images or clips in [0, 1].

    Attributes:
        module: the network.
        name: of the network, for messages.
        pixels: the pixel values that it takes.
        forward: how it is called; see Network.
        output: which of its outputs is the image; see Network.
        weights: by name, used instead of the module's own.
        clones_outputs: whether every layer's output is cloned.
        frame: of clips, which output frame is returned.
        frozen_seed: where torch's random streams start; None leaves the streams alone.
    """

    module: nn.Module
    name: str
    pixels: PixelValues
    forward: Forward | None
    output: Selector | None
    weights: Mapping[str, torch.Tensor]
    clones_outputs: bool
    frame: FrameChoice
    frozen_seed: int | None = None

    def raw_output(self, x: torch.Tensor, facts: NetworkFacts | None) -> Any:
        """What the module returns for (N,C,h,w) or (N,T,C,h,w), padded as the facts say; unpadded without facts."""
        rows, columns = padding_to(x, facts.multiple, facts.minimum, facts.square) if facts else (0, 0)
        value = reflect_pad(x, 0, rows, 0, columns) if rows or columns else x
        value = self.pixels.inside(value).to(dtype_of(self.module))
        value = value.contiguous() if x.ndim == 5 else value
        value = x.clone() if value is x else value  # some networks write into their input
        cloning = cloning_outputs(self.module) if self.clones_outputs else nullcontext()
        with cloning, frozen_streams(self.frozen_seed, x.device):
            return call_module(self.module, value, forward=self.forward, weights=self.weights, name=self.name)

    def image(self, x: torch.Tensor, facts: NetworkFacts | None) -> torch.Tensor:
        """(N,C,H,W) in the range where white is 1, cropped to the input's size times the scale; not clipped.

        Without facts the output is neither padded, nor cropped, nor checked for its size.

        Raises:
            NetworkError: the module returns no image, or one of another size than the scale says.
            ForwardError: its own code fails on this input.
        """
        image = pick_image(self.raw_output(x, facts), self.output, self.name, frames=x.ndim == 5)
        if facts is not None:
            image = stretched(image, facts.stretch)
            height, width = x.shape[-2:]
            rows, columns = padding_to(x, facts.multiple, facts.minimum, facts.square)
            padded = (height + rows, width + columns)
            expected = facts.output_size(*padded)
            if tuple(image.shape[-2:]) != expected:
                raise NetworkError(
                    f"{self.name} returned {image.shape[-2]}x{image.shape[-1]} pixels for an input of "
                    f"{padded[0]}x{padded[1]}, where scale {facts.scale:g} gives {expected[0]}x{expected[1]}: "
                    "set Network(module, scale=..., multiple=...)"
                )
            height, width = facts.output_size(height, width)
            image = image[..., :height, :width]
        image = one_frame(image, self.frame, self.name) if x.ndim == 5 else image
        return self.pixels.outside(image)

    def with_failing_part(self, error: ForwardError, x: torch.Tensor, facts: NetworkFacts) -> ForwardError:
        """The same error, with the name of the part of the module that failed."""
        if type(x) is not torch.Tensor:
            return error
        part = failing_part(self.module, lambda: self.image(x, facts))
        return ForwardError(f"{error}, in its part {part}") if part else error


def pick_image(out: Any, selector: Selector | None, name: str, *, frames: bool = False) -> torch.Tensor:
    """The (N,C,H,W) image that a network called `name` returned; of one over `frames` also (N,T,C,H,W).

    Without a selector, of several outputs the only one that can be an image, (N,1 or 3,H,W), is taken.

    Raises:
        NoImage: several images and no selector, a selector that picks nothing, or no image.
    """
    if selector is not None:
        try:
            out = selector(out) if callable(selector) else out[selector]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise NoImage(f"{name} returned {_kind(out)}; output={selector!r} is not in it") from error
    elif not isinstance(out, torch.Tensor):
        images = [tensor for _, tensor in _tensors(out) if tensor.ndim == 4 and tensor.shape[1] in _IMAGE_CHANNELS]
        out = images[0] if len(images) == 1 else out
    if not isinstance(out, torch.Tensor):
        raise NoImage(
            f"{name} returned {_kind(out)}, not one image: say which with Network(module, output=0), "
            "an index, a key or a function" + _listed(out)
        )
    if out.ndim != 4 and not (frames and out.ndim == 5):
        expected = "(N,T,C,H,W) or (N,C,H,W)" if frames else "(N,C,H,W)"
        raise NoImage(f"{name} returned a tensor of shape {tuple(out.shape)}, not {expected}")
    return out


def _tensors(out: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in tuples, lists and mappings, each with the indices and keys that lead to it."""
    if isinstance(out, torch.Tensor):
        yield path, out
    elif isinstance(out, Mapping):
        for key, value in out.items():
            yield from _tensors(value, f"{path}[{key!r}]")
    elif isinstance(out, (tuple, list)):
        for index, value in enumerate(out):
            yield from _tensors(value, f"{path}[{index}]")


def _listed(out: Any) -> str:
    rows = [f"{path} {tuple(tensor.shape)}" for path, tensor in _tensors(out)]
    more = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
    return f". There is {', '.join(rows[:6])}{more}" if rows else ""


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {', '.join(map(repr, list(value)[:6]))}"
    return f"a {type(value).__name__}"
