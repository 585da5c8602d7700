"""A module with what an analysis must know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sr_hooks.errors import ForwardError, ImageError, NetworkError
from sr_hooks.hooks.interventions import cloning_outputs
from sr_hooks.hooks.layer_list import convolutions, layers
from sr_hooks.images.clips import clip_of, one_frame
from sr_hooks.images.image import missing, reflect_pad
from sr_hooks.networks.backward import NetworkGradients
from sr_hooks.networks.calling import Forward, call_module, check_forward, described, forward_of, place_of_failure
from sr_hooks.networks.clips import NetworkClips
from sr_hooks.networks.constructors import NetworkSources
from sr_hooks.networks.inferred_facts import number, probe, range_of, range_seen
from sr_hooks.networks.loading.checkpoints import Weights, sha256_of_weights, write_weights
from sr_hooks.networks.outputs import Selector, pick_image
from sr_hooks.networks.pixel_range import PixelValues
from sr_hooks.networks.unwrap import as_module, compiled_parts

__all__ = ["Network"]

T = TypeVar("T")


class Network(NetworkSources, NetworkClips, NetworkGradients):
    """Any `torch.nn.Module` that maps an image to an image, with its scale, range, padding and name.

    Call it on (N,C,h,w) in [0, 1]; it pads, scales the range, runs the module, picks the output, crops and
    scales back. The module itself is never changed. What is not given is inferred by a forward pass or two
    on small inputs.

    Args:
        module: the network, out of whatever wraps it; of a `torch.compile`d one the original, in which hooks fire.
        scale: output pixels per input pixel.
        input_range: the value that white has inside, 1 or 255. The border is RGB in [0, 1] either way.
        mean, std: where the network takes (image - mean) / std and gives the like: one value, or one a channel in its
            own order, in units of the image ([0, 1]); input_range multiplies after.
        bgr: whether it takes and gives blue, green, red.
        multiple: input height and width are padded (mirrored) to a multiple of it.
        minimum: smaller inputs are padded (mirrored) to that height and width.
        square: they are padded to a square, for networks that take nothing else.
        channels: of the input, 1 or 3.
        frames: of a network over clips (N,T,C,h,w), how many it is first run on, and how many an image stands still
            for; 0 for a network of images, as one is taken to be whose scale, multiple and channels are all given.
        forward: how the module is called where that is not module(image): further keyword arguments, {"sigma": 0.1},
            in which the value "image" names the one that takes the image; or a function (module, image).
        output: which of several outputs is the image: an index, a key, or a function.
        name: how results call it; the class name by default.
        weights: where the weights came from, for provenance and for writing them back.

    Raises:
        NetworkError: no module, compiled, or it does not map images to images.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        scale: float | None = None,
        input_range: float | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        bgr: bool = False,
        multiple: int | None = None,
        minimum: int = 1,
        square: bool = False,
        channels: int | None = None,
        frames: int | None = None,
        forward: Forward | None = None,
        output: Selector | None = None,
        name: str | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.module = as_module(module)
        self.output = output
        self.forward = check_forward(forward) or forward_of(self.module)
        self.minimum, self.square = max(int(minimum), 1), bool(square)
        self.weights = weights
        self.name = name or type(self.module).__name__
        white = range_of(self.module) if input_range is None else float(input_range)
        self.pixels = PixelValues(white, mean, std, bgr)  # type: ignore[arg-type]
        self._range_open = input_range is None and mean is None and std is None and weights is not None
        if multiple is not None and multiple < 1:
            raise NetworkError(f"multiple is {multiple}; it must be at least 1")
        if frames is not None and frames < 0:
            raise NetworkError(f"frames is {frames}; a clip has at least 1, and 0 says that the network takes images")
        NetworkClips.__init__(self)
        self._ends: tuple[str, ...] | None = None
        self._stand_ins: dict[str, torch.Tensor] = {}
        self._scale = None if scale is None else number(scale)
        self._multiple = multiple
        self._channels = channels
        stated = None not in (scale, multiple, channels)  # then nothing is left to be found out by running it
        self._frames = 0 if frames is None and stated else frames

    # -- what is known of it -----------------------------------------------------------------------

    @property
    def input_range(self) -> float:
        """The value that white has inside; where it was not stated, and weights are from a file, by what they do."""
        if self._range_open:
            self._infer()
        return self.pixels.input_range

    @property
    def scale(self) -> float:
        """Output pixels per input pixel: a whole number, or a fraction for networks that shrink."""
        self._infer()
        assert self._scale is not None
        return self._scale

    @property
    def multiple(self) -> int:
        """What input sizes are padded to."""
        self._infer()
        assert self._multiple is not None
        return self._multiple

    @property
    def channels(self) -> int:
        """Input channels, 1 or 3."""
        self._infer()
        assert self._channels is not None
        return self._channels

    @property
    def frames(self) -> int:
        """0 for a network of images; of one over clips, the frames that it was found, or stated, to run on."""
        self._infer()
        assert self._frames is not None
        return self._frames

    @property
    def device(self) -> torch.device:
        return _first_tensor(self.module).device

    @property
    def dtype(self) -> torch.dtype:
        dtype = _first_tensor(self.module).dtype
        return dtype if dtype.is_floating_point else torch.float32

    @property
    def ends(self) -> tuple[str, ...]:
        """Names of the first and the last convolution that run; none where it takes no small image."""
        if self._ends is None:
            x = self.sample()
            try:
                with self.prepared():
                    ran = convolutions(self.module, layers(self.module, lambda: self.feed(x)))
                self._ends = tuple(dict.fromkeys(layer.name for layer in (ran[:1] + ran[-1:])))
            except RuntimeError:
                self._ends = ()
        return self._ends

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(H,W) of the output for an input of height x width."""
        return round(height * self.scale), round(width * self.scale)

    def sha256(self) -> str:
        """SHA-256 over names, kinds, shapes and bytes of all weights and buffers, in state-dict order."""
        return sha256_of_weights(self.module)

    def describe(self) -> dict[str, Any]:
        """What a result records of the network."""
        return {
            "name": self.name,
            "class": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "sha256": self.sha256(),
            "weights": (self.weights.place or "bare") if self.weights else "as given",
            "file": self.weights.path.name if self.weights else None,
            "scale": self.scale,
            **self.pixels.describe(),
            "multiple": self.multiple,
            "minimum": self.minimum,
            "square": self.square,
            "channels": self.channels,
            **({"frames": self.frames} if self.frames else {}),
            "forward": described(self.forward),
        }

    def save(self, path: str | Path) -> None:
        """Write the weights as a checkpoint in the layout of the file that they came from; whole or not at all.

        That is the same keys, prefix and number formats; `path`'s suffix says whether it is a torch or a safetensors
        file. Weights that came from no file go under `params`, as BasicSR has them.

        Raises:
            CheckpointError: the file cannot be written.
        """
        like = self.weights
        state = {key: value for key, value in self.module.state_dict().items() if isinstance(value, torch.Tensor)}
        if like is not None:
            kinds = {key: value.dtype for key, value in like.state.items()}
            state = {key: value.to(kinds.get(key, value.dtype)) for key, value in state.items()}
        write_weights(state, path, like=like)

    def __repr__(self) -> str:
        known = f"scale={self._scale}, channels={self._channels}" if self._scale else "not yet probed"
        return f"Network({self.name}, {known}, input_range={self.pixels.input_range:g})"

    # -- running it --------------------------------------------------------------------------------

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) in [0, 1] to (N,C',H,W), differentiable; the output is not clipped.

        A network over clips takes (N,T,C,h,w) and gives its `frame`; an image stands still for it.

        Raises:
            NetworkError: the module returns no image, or one of another size than `scale` says.
            ForwardError: its own code fails on this input.
        """
        self._infer()
        x = clip_of(x, self.frames) if self.frames and x.ndim == 4 else x
        try:
            return self._run(x, self.multiple, self.scale)
        except ForwardError as error:
            raise self._placed(error, x) from error.__cause__

    def _placed(self, error: ForwardError, x: torch.Tensor) -> ForwardError:
        """The same with the part that failed."""
        if type(x) is not torch.Tensor:
            return error
        where = place_of_failure(self.module, lambda: self._run(x, self.multiple, self.scale))
        return ForwardError(f"{error}, in its part {where}") if where else error

    def feed(self, x: torch.Tensor) -> Any:
        """Run the module on (N,C,h,w) in [0, 1] for what passes its layers; what it returns, as it returns it.

        Of a network that returns no image (a discriminator, a feature extractor) this and taps are what there is; its
        scale must be stated, `Network(module, scale=1)`.
        """
        self._infer()
        x = clip_of(x, self.frames) if self.frames and x.ndim == 4 else x
        return self._passed(x, *missing(x, self.multiple, self.minimum, self.square))

    def _passed(self, x: torch.Tensor, more_h: int, more_w: int) -> Any:
        inside = reflect_pad(x, 0, more_h, 0, more_w) if more_h or more_w else x
        inside = self.pixels.inside(inside).to(self.dtype)
        inside = inside.contiguous() if x.ndim == 5 else inside
        inside = x.clone() if inside is x else inside  # some networks write into their input
        with cloning_outputs(self.module) if self.clones_outputs else nullcontext():
            return call_module(self.module, inside, forward=self.forward, weights=self._stand_ins, name=self.name)

    def _run(self, x: torch.Tensor, multiple: int, scale: float | None) -> torch.Tensor:
        h, w = x.shape[-2:]
        more_h, more_w = missing(x, multiple, self.minimum, self.square) if scale is not None else (0, 0)
        out = pick_image(self._passed(x, more_h, more_w), self.output, self.name, frames=x.ndim == 5)
        if scale is not None:
            expected = (round((h + more_h) * scale), round((w + more_w) * scale))
            if tuple(out.shape[-2:]) != expected:
                raise NetworkError(
                    f"{self.name} returned {out.shape[-2]}x{out.shape[-1]} pixels for an input of "
                    f"{h + more_h}x{w + more_w}, where scale {scale:g} gives {expected[0]}x{expected[1]}: "
                    "set Network(module, scale=..., multiple=...)"
                )
            out = out[..., : round(h * scale), : round(w * scale)]
        out = one_frame(out, self.frame, self.name) if x.ndim == 5 else out
        return self.pixels.outside(out)

    @contextmanager
    def channels_last(self, wanted: bool = True) -> Iterator[None]:
        """Run with copies of the weights laid out channels last; the module's own stay as they are, strides and all."""
        before = self._stand_ins
        try:
            if wanted:
                self._stand_ins = {
                    name: parameter.detach().contiguous(memory_format=torch.channels_last)
                    for name, parameter in self.module.named_parameters()
                    if parameter.ndim == 4
                } | before
            yield
        finally:
            self._stand_ins = before

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """In evaluation mode, without parameter gradients and uncompiled; all put back as it was, module by module."""
        modes = [(m, m.training) for m in self.module.modules()]
        wanting = [p for p in self.module.parameters() if p.requires_grad]
        try:
            self.module.eval()
            for parameter in wanting:
                parameter.requires_grad_(False)
            with torch.compiler.set_stance("force_eager") if compiled_parts(self.module) else nullcontext():
                yield
        finally:
            for parameter in wanting:
                parameter.requires_grad_(True)
            for module, training in modes:
                module.training = training

    def check(self, x: torch.Tensor) -> None:
        """Refuse a batch whose channel count is not the network's, and clips where it takes images."""
        if x.ndim == 5 and not self.frames:
            raise ImageError(f"{self.name} takes images, and this is a clip of {x.shape[1]} frames")
        if x.shape[-3] != self.channels:
            remedy = "repeat it to 3 (image.expand(-1, 3, -1, -1))" if self.channels == 3 else "give a grey image"
            raise ImageError(f"the image has {x.shape[-3]} channel(s) and {self.name} takes {self.channels}: {remedy}")

    def _infer(self) -> None:
        if None in (self._scale, self._multiple, self._channels, self._frames):
            with torch.no_grad(), self.prepared(), torch.random.fork_rng(devices=[]):
                found = probe(
                    lambda x: self._run(x, 1, None),
                    self.module,
                    self.name,
                    scale=self._scale,
                    multiple=self._multiple,
                    channels=self._channels,
                    frames=self._frames,
                    minimum=self.minimum,
                    square=self.square,
                    device=self.device,
                )
            self._channels, self._multiple, self._scale = found.channels, found.multiple, found.scale
            self._frames = found.frames
            self.minimum, self.square = found.minimum, found.square
        if self._range_open:
            self._range_open = False
            if not self._frames:
                self.pixels = replace(self.pixels, input_range=self._range_seen())

    def _range_seen(self) -> float:
        plain = self.pixels

        def run(x: torch.Tensor, white: float) -> torch.Tensor:
            self.pixels = replace(plain, input_range=white)
            return self(x)

        try:
            with torch.no_grad(), self.prepared(), torch.random.fork_rng(devices=[]):
                return range_seen(run, plain.input_range, self.channels, self.multiple, self.device)
        finally:
            self.pixels = plain


def _first_tensor(module: nn.Module) -> torch.Tensor:
    return next(chain(module.parameters(), module.buffers()), torch.empty(0))
