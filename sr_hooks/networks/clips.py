"""What a network over clips has beside one of images: which output frame a call gives, and where frames stand."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch

from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.images.clips import FrameChoice, frame_positions
from sr_hooks.networks.inferred_facts import trial_input, trial_sides

__all__ = ["NetworkClips"]


class NetworkClips:
    """The part of `Network` that concerns clips (N,T,C,h,w).

    Attributes:
        frame: of a network over clips, which of its output frames a call returns; see `at_frame`.
    """

    def __init__(self) -> None:
        self.frame: FrameChoice = "middle"
        self._returned: dict[int, list[float]] = {}

    def at_frame(self: Any, frame: FrameChoice) -> Any:
        """This network over clips, sharing all with it, of which a call returns that frame.

        Args:
            frame: a number from 0, "middle", or "all" for (N,T,C,H,W).
        """
        _ = self.frames  # inferred on the live network, once
        view = copy.copy(self)
        view.frame = frame
        return cast("Any", view)

    def frame_index(self: Any, count: int, frame: FrameChoice) -> int:
        """The index among its output frames of the frame called so, for a clip of `count` frames.

        Where it returns one frame alone, that frame goes by the number of the input frame that it restores.

        Raises:
            OptionError: there is no such frame; with those that there are.
        """
        positions = self.returned_frames(count)
        last = len(positions) - 1
        if frame == "middle":
            return len(positions) // 2
        known = [round(positions[0])] if not last else list(range(last + 1))
        if not isinstance(frame, int) or frame not in known:
            there = f"frames 0 to {last}" if last else f"one, frame {known[0]}"
            raise OptionError(f"frame is {frame!r}: of a clip of {count} frames {self.name} returns {there}")
        return known.index(frame)

    def sample(self: Any, side: int = 32) -> torch.Tensor:
        """A small input to try things on: (1,C,side,side), or a clip of at least as much."""
        if not self.frames:
            return torch.full((1, self.channels, side, side), 0.5, device=self.device)
        side = max(side, trial_sides(self.multiple, self.frames)[0])
        return trial_input(self.frames, self.channels, (side, side), self.device)

    def whole(self: Any) -> Any:
        """Over clips: with all frames that it returns; of images: as it is."""
        return cast("Any", self.at_frame("all") if self.frames else self)

    def returned_frames(self: Any, count: int) -> list[float]:
        """Where in time, in input frames from 0, the frames stand that it returns for a clip of `count` frames.

        Raises:
            NetworkError: it takes no clips, or none of so many frames.
        """
        if not self.frames:
            raise NetworkError(f"{self.name} takes images, not clips")
        if count not in self._returned:
            x = trial_input(count, self.channels, trial_sides(self.multiple, count), self.device)
            try:
                with torch.no_grad(), self.prepared():
                    out = self.at_frame("all")(x)
            except Exception as error:
                said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                known = f"; it runs on {self.frames}" if count != self.frames else ""
                raise NetworkError(f"{self.name} does not run on a clip of {count} frames ({said}){known}") from None
            centre = getattr(self.module, "center_frame_idx", None)
            self._returned[count] = frame_positions(count, out.shape[1], centre if isinstance(centre, int) else None)
        return cast("list[float]", self._returned[count])
