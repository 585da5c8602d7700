"""The image among what a network returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from sr_hooks.errors import NoImage

__all__ = ["Selector", "pick_image"]

Selector = int | str | Callable[[Any], torch.Tensor]
"""An index, a key, or a function of what the network returns."""

_IMAGE_CHANNELS = (1, 3)


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
        wanted = "(N,T,C,H,W) or (N,C,H,W)" if frames else "(N,C,H,W)"
        raise NoImage(f"{name} returned a tensor of shape {tuple(out.shape)}, not {wanted}")
    return out


def _tensors(out: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in tuples, lists and mappings, with how to reach them."""
    if isinstance(out, torch.Tensor):
        yield place, out
    elif isinstance(out, Mapping):
        for key, value in out.items():
            yield from _tensors(value, f"{place}[{key!r}]")
    elif isinstance(out, (tuple, list)):
        for index, value in enumerate(out):
            yield from _tensors(value, f"{place}[{index}]")


def _listed(out: Any) -> str:
    found = [f"{place} {tuple(tensor.shape)}" for place, tensor in _tensors(out)]
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return f". There is {', '.join(found[:6])}{more}" if found else ""


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {', '.join(map(repr, list(value)[:6]))}"
    return f"a {type(value).__name__}"
