"""Clips in a network: which output frame a call returns, and where in time the output frames are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.images.clips import FrameChoice, frame_positions
from sr_hooks.networks.facts import NetworkFacts
from sr_hooks.networks.probing.trial_inputs import trial_input, trial_sides

__all__ = ["Clips"]


@dataclass(frozen=True)
class Clips:
    """What a network over clips (N,T,C,h,w) has beside a network of images.

    Attributes:
        centre: the input frame that the network restores where it returns one frame; None for the middle one.
        frame: which of its output frames a call returns: a number from 0, "middle", or "all" for (N,T,C,H,W).
    """

    centre: int | None = None
    frame: FrameChoice = "middle"
    _positions: dict[int, list[float]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, module: Any) -> Clips:
        """Those of a module, which may state the frame that it restores."""
        centre = getattr(module, "center_frame_idx", None)
        return cls(centre if isinstance(centre, int) else None)

    def at(self, frame: FrameChoice) -> Clips:
        """The same, of which a call returns that frame."""
        return replace(self, frame=frame)

    def positions(
        self, count: int, facts: NetworkFacts, run: Callable[[torch.Tensor], torch.Tensor], name: str
    ) -> list[float]:
        """The times, in input frames from 0, of the frames that the network returns for a clip of `count` frames.

        Args:
            run: a clip (1,T,C,h,w) to all output frames (1,T',C,H,W).
            name: of the network, for messages.

        Raises:
            NetworkError: it takes no clips, or none of so many frames.
        """
        if not facts.frames:
            raise NetworkError(f"{name} takes images, not clips")
        if count not in self._positions:
            try:
                out = run(trial_input(count, facts.channels, trial_sides(facts.multiple, count), torch.device("cpu")))
            except Exception as error:
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                known = f"; it runs on {facts.frames}" if count != facts.frames else ""
                raise NetworkError(f"{name} does not run on a clip of {count} frames ({reason}){known}") from None
            self._positions[count] = frame_positions(count, out.shape[1], self.centre)
        return self._positions[count]

    @staticmethod
    def index(frame: FrameChoice, positions: list[float], count: int, name: str) -> int:
        """The index of a frame among the output frames at these positions, for a clip of `count` frames.

        Where the network returns one frame alone, that frame has the number of the input frame that it restores.

        Raises:
            OptionError: there is no such frame; with those that there are.
        """
        last = len(positions) - 1
        if frame == "middle":
            return len(positions) // 2
        numbers = [round(positions[0])] if not last else list(range(last + 1))
        if not isinstance(frame, int) or frame not in numbers:
            there = f"frames 0 to {last}" if last else f"one, frame {numbers[0]}"
            raise OptionError(f"frame is {frame!r}: of a clip of {count} frames {name} returns {there}")
        return numbers.index(frame)
