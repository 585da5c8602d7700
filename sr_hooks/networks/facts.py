"""The facts of a network: stated, read from a file, or inferred by running it on small inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import torch
from torch import nn

from sr_hooks.core.torch_errors import one_line
from sr_hooks.errors import ForwardError, ImageError, NetworkError, NoImage
from sr_hooks.images.image import padding_to, reflect_pad
from sr_hooks.networks.probing.guesses import (
    ENOUGH,
    SMALL,
    channel_guesses,
    confirming_sides,
    frame_guesses,
    own_windows,
    sides_beside,
    sizes_to_try,
    stated_windows,
)
from sr_hooks.networks.probing.input_range import infer_range, range_of_module
from sr_hooks.networks.probing.trial_inputs import trial_input, trial_sides

__all__ = ["NetworkFacts", "Origin", "StatedFacts", "infer_facts", "sample_input"]

Origin = Literal["stated", "file", "inferred", "guessed"]
"""Where a fact is from: the caller, a file, the module and what it did on small inputs, or the usual value."""


_DENOMINATOR = 16  # the largest of a scale that is a fraction
_STRETCHES = range(1, 9)


@dataclass(frozen=True)
class NetworkFacts:
    """What an analysis must know of a network.

    Attributes:
        scale: output pixels per input pixel: a whole number, or a fraction, of networks that shrink or enlarge by 2.5.
        multiple: input height and width are padded to a multiple of this number.
        channels: of the input: 1 (grey), 3 (RGB), 6 (a stereo pair), or a number of bands.
        frames: 0 for a network of images; for a network over clips, a number of frames on which it runs.
        minimum: smaller inputs are padded to this height and width.
        square: whether inputs are padded to a square.
        input_range: the value of white inside the network.
        origins: the name of each fact, and where the fact is from.
        stretch: how often each row and column of the output is repeated, where height and width have two scales: (2, 1)
            becomes scale 2 with every column twice. Windows are stated in these output pixels.
    """

    scale: float
    multiple: int
    channels: int
    frames: int = 0
    minimum: int = 1
    square: bool = False
    input_range: float = 1.0
    origins: tuple[tuple[str, Origin], ...] = ()
    stretch: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(H,W) of the output for an input of height x width."""
        return round(height * self.scale), round(width * self.scale)

    def check(self, x: torch.Tensor, name: str) -> None:
        """Refuse a batch with another number of channels, and clips for a network of images; `name` is its name."""
        if x.ndim == 5 and not self.frames:
            raise ImageError(f"{name} takes images, and this is a clip of {x.shape[1]} frames")
        if x.shape[-3] != self.channels:
            remedy = {
                1: "give a grey image",
                3: "repeat it to 3 (image.expand(-1, 3, -1, -1))" if x.shape[-3] == 1 else "give an RGB image",
                6: "give a pair of RGB images (stereo) as one, torch.cat([left, right], dim=1)",
            }.get(self.channels, f"give all {self.channels} bands as one tensor (N,{self.channels},h,w)")
            raise ImageError(f"the image has {x.shape[-3]} channel(s) and {name} takes {self.channels}: {remedy}")


@dataclass(frozen=True)
class StatedFacts:
    """The facts that the caller or a file states; None for a fact that must be inferred. See `NetworkFacts`.

    Attributes:
        range_from_output: whether the input range is inferred from the output, as a trained network allows.
        documented_range: the input range that the framework of the network documents; it stands where nothing tells
            another one.
        windows: of attention, which the arguments of the network state; they are tried for `multiple`.
        from_file: names of the facts that were read from a file.

    Raises:
        NetworkError: a value that no network has.
    """

    scale: float | None = None
    multiple: int | None = None
    channels: int | None = None
    frames: int | None = None
    minimum: int = 1
    square: bool = False
    input_range: float | None = None
    range_from_output: bool = False
    documented_range: float | None = None
    windows: tuple[int, ...] = ()
    from_file: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.scale is not None:
            object.__setattr__(self, "scale", _whole(self.scale))
        if self.multiple is not None and self.multiple < 1:
            raise NetworkError(f"multiple is {self.multiple}; it must be at least 1")
        if self.frames is not None and self.frames < 0:
            raise NetworkError(
                f"frames is {self.frames}; a clip has at least 1, and 0 says that the network takes images"
            )

    def read_from_file(self, names: Collection[str]) -> StatedFacts:
        """The same facts, with the names of those that were read from a file."""
        return replace(self, from_file=self.from_file | frozenset(names))

    def complete(self) -> NetworkFacts | None:
        """The facts, where they are known without running the network; else None. Without frames, it takes images."""
        if self.scale is None or self.multiple is None or self.channels is None:
            return None
        return NetworkFacts(
            self.scale, self.multiple, self.channels, self.frames or 0, minimum=self.minimum, square=self.square
        )

    def origin(self, name: str, default: Origin) -> Origin:
        """Where the fact of this name is from; `default` where it is not stated."""
        if name in self.from_file:
            return "file"
        usual = {"minimum": 1, "square": False}.get(name)
        return default if getattr(self, name) == usual else "stated"


def infer_facts(
    stated: StatedFacts,
    run: Callable[[torch.Tensor, NetworkFacts | None], torch.Tensor],
    module: nn.Module,
    name: str,
    device: torch.device,
) -> NetworkFacts:
    """The facts of a network: what is stated is taken as it is, the rest is inferred.

    Args:
        run: (x, facts) to the output, padded and scaled as the facts say; None for no padding and no check of the size.
        name: of the network, for messages.

    Raises:
        NoImage: the network returns no image.
        NetworkError: no trial input runs, or the sizes of output and input have no fixed ratio.
    """
    facts = stated.complete()
    default: Origin = "guessed" if facts is not None else "inferred"
    if facts is None:
        facts = _probe(stated, lambda x: run(x, None), module, name, device)
    white, range_origin = stated.input_range, stated.origin("input_range", "inferred")
    if white is None and stated.range_from_output and not facts.frames:
        trial = facts
        white = infer_range(
            lambda x, value: run(x, replace(trial, input_range=value)), facts.channels, facts.multiple, device
        )
    white = white or range_of_module(module)
    if white is None:
        white, range_origin = stated.documented_range or 1.0, "file" if stated.documented_range else "guessed"
    names = ("scale", "multiple", "channels", "frames", "minimum", "square")
    origins = [(fact, stated.origin(fact, default)) for fact in names]
    origins.append(("input_range", range_origin))
    return replace(facts, input_range=white, origins=tuple(origins))


def _probe(
    stated: StatedFacts, run: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, name: str, device: torch.device
) -> NetworkFacts:
    """Channels, multiple, scale, minimum and frames, from the first trial input that runs; images before clips."""
    failures: list[NetworkError] = []
    scale = stated.scale
    for frames in [0, *frame_guesses(module)] if stated.frames is None else [stated.frames]:
        for channels in [stated.channels] if stated.channels else channel_guesses(module):
            for multiple, sides, minimum, square in sizes_to_try(
                module,
                frames,
                multiple=stated.multiple,
                minimum=stated.minimum,
                square=stated.square,
                windows=stated.windows,
            ):
                try:
                    trial = run(trial_input(frames, channels, sides, device))
                    ratio, stretch = _ratio(trial, sides, multiple, name, scale)
                    for others in [] if frames or square else confirming_sides(module, multiple):
                        again = run(trial_input(frames, channels, others, device))
                        if _ratio(again, others, multiple, name, scale)[1] != stretch:
                            raise NetworkError(f"{name} has other scales for {others[0]}x{others[1]} pixels")
                    seen = NetworkFacts(ratio, multiple, channels, frames, minimum, square, stretch=stretch)
                    if frames or square or stated.multiple is not None:
                        return seen
                    return _padding_itself(seen, run, module, device)
                except NoImage:
                    if scale is None:
                        raise
                    return NetworkFacts(scale, multiple, channels, frames, minimum, square)  # its layers can be read
                except NetworkError as error:
                    failures.append(error)
                except Exception as error:
                    failures.append(NetworkError(one_line(error)))
    kind, facts = "images or clips", ", channels= and, of a network over clips, frames="
    if stated.frames is not None:
        kind, facts = (f"clips of {stated.frames} frames" if stated.frames else "images"), " and channels="
    raise NetworkError(
        f"{name} does not run on small test {kind}, or returns sizes that are no multiple of theirs; set scale=, "
        f"multiple={facts} of Network, and forward= where it takes more than an image, or time behind the channels. "
        f"First fault: {_first_failure(failures)}"
    )


def _padding_itself(
    facts: NetworkFacts, run: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, device: torch.device
) -> NetworkFacts:
    """Facts of a network with windows that takes any size above some minimum: that minimum, and the multiple 1.

    The window stays the multiple where the network itself pads by mirroring, too: the output is the same.
    """

    def output(sides: tuple[int, int], mirrored: bool = False) -> torch.Tensor | None:
        x = trial_input(0, facts.channels, sides, device)
        rows, columns = padding_to(x, facts.multiple, facts.minimum, facts.square) if mirrored else (0, 0)
        height, width = facts.output_size(*sides)
        try:
            out = run(reflect_pad(x, 0, rows, 0, columns))[..., :height, :width]
        except Exception:
            return None
        return out if tuple(out.shape[-2:]) == (height, width) else None

    if facts.multiple == 1:
        too_small = stated_windows(module) and facts.minimum < ENOUGH and output(SMALL) is None
        return replace(facts, minimum=ENOUGH) if too_small else facts
    if facts.multiple not in own_windows(module):
        return facts
    above, below = sides_beside(facts.multiple)
    own, mirrored = output(above), output(above, mirrored=True)
    if own is None or mirrored is None or torch.equal(own, mirrored):
        return facts
    if any(output(sides) is None for sides in confirming_sides(module, 1)):
        return facts
    return replace(facts, multiple=1, minimum=facts.minimum if output(below) is not None else facts.multiple)


def _first_failure(failures: list[NetworkError]) -> str:
    """The first failure; of a network that runs on some sizes only, the first on a size where it ran."""
    ran = [error for error in failures if not isinstance(error, ForwardError)]
    return str((ran or failures)[0])


def _ratio(
    out: torch.Tensor, sides: tuple[int, int], multiple: int, name: str, stated: float | None
) -> tuple[float, tuple[int, int]]:
    """The scale that the sizes of output and input show, and the stretch (`NetworkFacts`).

    A scale is whole, one over a whole number, or a fraction like 5/2, whose denominator divides `multiple`.
    """
    ratios = [Fraction(size, side) for size, side in zip(out.shape[-2:], sides, strict=True)]
    largest = max(ratios)
    scale, stretch = _whole(float(largest)), [largest / ratio for ratio in ratios]
    below, above = largest.denominator, largest.numerator
    regular = 1 in (below, above) or (below <= _DENOMINATOR and multiple % below == 0)
    if regular and all(factor in _STRETCHES for factor in stretch) and stated in (None, scale):
        return scale, (int(stretch[0]), int(stretch[1]))
    why = "that is no scale"
    if stated is not None:
        why = f"scale={stated:g} was stated"
    elif max(ratios) > 1.1 * min(ratios):
        height, width = (f"{float(ratio):.3g}" for ratio in ratios)
        why = (
            f"that is no scale, since height becomes {height} times and width {width} times as large. "
            "Resize the output to one scale, Network(module, output=lambda y: ...)"
        )
    raise NetworkError(
        f"{name} returned {out.shape[-2]}x{out.shape[-1]} pixels for an input of {sides[0]}x{sides[1]}: {why}"
    )


def _whole(scale: float) -> float:
    if not scale > 0:
        raise NetworkError(f"scale is {scale}; it must be positive")
    return int(scale) if float(scale).is_integer() else float(scale)


def sample_input(facts: NetworkFacts, side: int, device: torch.device) -> torch.Tensor:
    """A small input to try things on: (1,C,side,side), or a clip with at least this side."""
    if not facts.frames:
        return torch.full((1, facts.channels, side, side), 0.5, device=device)
    side = max(side, trial_sides(facts.multiple, facts.frames)[0])
    return trial_input(facts.frames, facts.channels, (side, side), device)
