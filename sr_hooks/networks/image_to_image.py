"""A module that maps images to images, or clips to frames: its facts, its forward pass and its backward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from sr_hooks.core.seeds import own_streams
from sr_hooks.errors import ForwardError
from sr_hooks.hooks.checkpoints import checkpointed
from sr_hooks.hooks.layer_list import convolutions, layers
from sr_hooks.images.clips import FrameChoice, clip_of
from sr_hooks.networks.backward import Backward
from sr_hooks.networks.calling import Forward, channels_last_weights, device_of, dtype_of, prepared
from sr_hooks.networks.clips import Clips
from sr_hooks.networks.facts import NetworkFacts, StatedFacts, infer_facts, sample_input
from sr_hooks.networks.forward_pass import ForwardPass, Selector
from sr_hooks.networks.pixel_range import PixelValues

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ImageToImage"]

T = TypeVar("T")


class ImageToImage:
    """A module that maps (N,C,h,w) in [0, 1] to (N,C',H,W). `Network` adds where the module is from.

    Attributes:
        module: the module.
        name: for messages and results.
        pixels: the pixel values that it takes.
        forward: how it is called; None for module(image).
        output: which of several outputs is the image.
        backward: how it is differentiated.
        clips: of a network over clips, which output frame a call returns.
        frozen_seed: the seed at which torch's random streams start in every forward; None leaves the streams alone.
        signature: of the module when its facts were inferred, once the network was observed; see `inference.behaviour`.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str,
        stated: StatedFacts,
        pixels: PixelValues,
        forward: Forward | None,
        output: Selector | None,
    ) -> None:
        self.module, self.name, self.pixels = module, name, pixels
        self.forward, self.output = forward, output
        self.backward = Backward()
        self.clips = Clips.of(module)
        self._stated = stated
        self._facts: NetworkFacts | None = None
        self._end_layers: tuple[str, ...] | None = None
        self._other_weights: dict[str, torch.Tensor] = {}
        self.frozen_seed: int | None = None
        self.signature: str | None = None

    @property
    def facts(self) -> NetworkFacts:
        """All facts; those that are not stated are inferred at the first use."""
        if self._facts is None:
            self._facts = infer_facts(self._stated, self._run_trial, self.module, self.name, self.device)
            self.pixels = replace(self.pixels, input_range=self._facts.input_range)
        return self._facts

    def forget_inferred(self) -> None:
        """Infer the facts anew at their next use: the module has changed."""
        self._facts, self._end_layers = None, None

    def _run_trial(self, x: torch.Tensor, facts: NetworkFacts | None) -> torch.Tensor:
        with torch.no_grad(), self.prepared(), own_streams():
            run = self._forward_pass()
            if facts is not None:
                run = replace(run, pixels=replace(self.pixels, input_range=facts.input_range))
            return run.image(x, facts)

    @property
    def input_range(self) -> float:
        """The value that white has inside."""
        return self.facts.input_range if self._stated.range_from_output else self.pixels.input_range

    @property
    def scale(self) -> float:
        """Output pixels per input pixel: a whole number, or a fraction for networks that shrink."""
        return self.facts.scale

    @property
    def multiple(self) -> int:
        """Input height and width are padded to a multiple of this number."""
        return self.facts.multiple

    @property
    def minimum(self) -> int:
        """Smaller inputs are padded to this height and width."""
        return self.facts.minimum

    @property
    def square(self) -> bool:
        """Whether inputs are padded to a square."""
        return self.facts.square

    @property
    def channels(self) -> int:
        """Input channels: 1, 3, or a number of bands."""
        return self.facts.channels

    @property
    def frames(self) -> int:
        """0 for a network of images; for a network over clips, a number of frames on which it runs."""
        return self.facts.frames

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return device_of(self.module)

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return dtype_of(self.module)

    @property
    def end_layers(self) -> tuple[str, ...]:
        """Names of the first and the last convolution that run; none where the network takes no small image."""
        if self._end_layers is None:
            x = self.sample()
            try:
                with self.prepared():
                    ran = convolutions(self.module, layers(self.module, lambda: self.feed(x)))
                self._end_layers = tuple(dict.fromkeys(layer.name for layer in (ran[:1] + ran[-1:])))
            except RuntimeError:
                self._end_layers = ()
        return self._end_layers

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(H,W) of the output for an input of height x width."""
        return self.facts.output_size(height, width)

    def check(self, x: torch.Tensor) -> None:
        """Refuse a batch with another number of channels, and clips for a network of images."""
        self.facts.check(x, self.name)

    def sample(self, side: int = 32) -> torch.Tensor:
        """A small input to try things on: (1,C,side,side), or a clip with at least this side."""
        return sample_input(self.facts, side, self.device)

    def __repr__(self) -> str:
        facts = self._facts or self._stated
        known = f"scale={facts.scale}, channels={facts.channels}" if facts.scale else "not yet probed"
        return f"Network({self.name}, {known}, input_range={self.pixels.input_range:g})"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) in [0, 1] to (N,C',H,W), differentiable; the output is not clipped.

        A network over clips takes (N,T,C,h,w) and gives its `frame`; an image stands still for it.

        Raises:
            NetworkError: the module returns no image, or one of another size than `scale` says.
            ForwardError: its own code fails on this input.
        """
        facts, x = self.facts, self._as_clip(x)
        self.backward.note_input(x)
        run = self._forward_pass()
        try:
            return run.image(x, facts)
        except ForwardError as error:
            raise run.with_failing_part(error, x, facts) from error.__cause__

    def feed(self, x: torch.Tensor) -> Any:
        """Run the module on (N,C,h,w) in [0, 1] for what passes its layers; what it returns, as it returns it.

        Of a network that returns no image (a discriminator, a feature extractor) this and taps are what there is; its
        scale must be stated, `Network(module, scale=1)`.
        """
        facts, x = self.facts, self._as_clip(x)
        self.backward.note_input(x)
        return self._forward_pass().raw_output(x, facts)

    def _as_clip(self, x: torch.Tensor) -> torch.Tensor:
        return clip_of(x, self.frames) if self.frames and x.ndim == 4 else x

    def _forward_pass(self) -> ForwardPass:
        return ForwardPass(
            module=self.module,
            name=self.name,
            pixels=self.pixels,
            forward=self.forward,
            output=self.output,
            weights=self._other_weights,
            clones_outputs=self.backward.clones_outputs,
            frame=self.clips.frame,
            frozen_seed=self.frozen_seed,
        )

    @property
    def clones_outputs(self) -> bool:
        """Whether every layer's output is cloned, because the network writes in place; see `Backward`."""
        return self.backward.clones_outputs

    def differentiate(self, compute: Callable[[], T]) -> T:
        """compute(), which runs the network and a backward; see `Backward.differentiate`."""
        checkpoints = checkpointed(self.module) if self.backward.checkpoints else nullcontext()
        with checkpoints:
            return self.backward.differentiate(compute, self.name)

    def gradients(
        self, value: torch.Tensor, leaves: Sequence[torch.Tensor], *, retain_graph: bool = False
    ) -> list[torch.Tensor | None]:
        """d value / d leaves, for use within `differentiate`; see `Backward.gradients`."""
        return self.backward.gradients(value, leaves, retain_graph=retain_graph)

    @contextmanager
    def channels_last(self, wanted: bool = True) -> Iterator[None]:
        """Run with copies of the weights laid out channels last; the module's own stay as they are, strides and all."""
        before = self._other_weights
        try:
            if wanted:
                self._other_weights = channels_last_weights(self.module) | before
            yield
        finally:
            self._other_weights = before

    def prepared(self) -> AbstractContextManager[None]:
        """Evaluation mode, no parameter gradients and no compiled code; afterwards each part is as it was before."""
        return prepared(self.module)

    # -- views: networks that share the module or the facts with this one

    def with_weights(self, weights: Mapping[str, torch.Tensor]) -> Self:
        """This network at other weights, by parameter name; gradients flow into them. It shares all else."""
        view = self._view()
        view._other_weights = {**self._other_weights, **weights}
        return view

    def with_module(self, module: nn.Module) -> Self:
        """The network with these facts and another module of the same architecture."""
        view = self._view()
        view.module, view.backward = module, replace(self.backward)
        return view

    def with_scale(self, scale: float) -> Self:
        """The network with this scale stated."""
        view = copy.copy(self)
        view._stated, view._facts = replace(self._stated, scale=scale), None
        return view

    def at_frame(self, frame: FrameChoice) -> Self:
        """This network over clips, sharing all with it, of which a call returns that frame.

        Args:
            frame: a number from 0, "middle", or "all" for (N,T,C,H,W).
        """
        view = self._view()
        view.clips = self.clips.at(frame)
        return view

    def whole(self) -> Self:
        """Over clips: with all frames that it returns; of images: as it is."""
        return self.at_frame("all") if self.frames else self

    def _view(self) -> Self:
        _ = self.facts  # inferred once, on this network
        return copy.copy(self)

    @property
    def frame(self) -> FrameChoice:
        """Of a network over clips, which of its output frames a call returns; see `at_frame`."""
        return self.clips.frame

    def frame_index(self, count: int, frame: FrameChoice) -> int:
        """The index of a frame among the output frames for a clip of `count` frames; see `Clips.index`."""
        return self.clips.index(frame, self.returned_frames(count), count, self.name)

    def returned_frames(self, count: int) -> list[float]:
        """The times, in input frames from 0, of the frames that it returns for a clip of `count` frames."""

        def run(clip: torch.Tensor) -> torch.Tensor:
            with torch.no_grad(), self.prepared():
                return self.at_frame("all")(clip.to(self.device))

        return self.clips.positions(count, self.facts, run, self.name)
