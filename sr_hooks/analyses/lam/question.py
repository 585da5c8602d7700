"""What all images of one LAM call have in common: network, windows, options, and the cones of the windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sr_hooks.attribution.image_paths import PerFrame, make_path
from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.attribution.path_integrals import Strategy
from sr_hooks.attribution.receptive_field.proved_cones import WindowCones
from sr_hooks.attribution.secants.strategy import SecantsOrGradients
from sr_hooks.attribution.wide_rounds import WideRounds
from sr_hooks.errors import OptionError
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import calibrate
from sr_hooks.networks.network import Network

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.options import LamOptions

__all__ = ["Question", "strategy_of"]


def strategy_of(device: torch.device) -> Strategy:
    """How nodes are placed and computed on a device."""
    return SecantsOrGradients() if device.type == "cpu" else WideRounds()


class Question:
    """What all images of one call have in common: network, windows, options, strategy and cones."""

    def __init__(self, network: Network, windows: list[Window], options: LamOptions, progress: Any) -> None:
        self.network, self.windows, self.options, self.progress = network, windows, options, progress
        self.objective = make_objective(options.objective, gt=options.gt)
        self._refuse_masks()
        path = make_path(options.path, seed=options.seed)
        self.path = PerFrame(path) if network.frames else path
        self.strategy = strategy_of(network.device)
        self._window_cones: dict[tuple[Any, ...], WindowCones] = {}
        self.saves_memory = False  # whether only what the windows depend on is computed, against the options

    def _refuse_masks(self) -> None:
        """Refuse masks for an objective, or the published procedure, that would look at their bounding windows."""
        masks = [window for window in self.windows if not window.is_rectangle]
        if not masks:
            return
        if self.options.compat:
            raise OptionError("compat='lam_demo' is the published procedure, which explains rectangles: not a mask")
        if not self.objective.takes_regions:
            raise OptionError(
                f"the objective {self.objective.name} looks at rectangles, and the window is a mask of {masks[0].area} "
                "pixels: give a rectangle, or an Objective that says takes_regions and uses sr_hooks.images.inside"
            )

    def window_cones(self, shape: tuple[int, ...], precision: str, *, again: bool = False) -> WindowCones | None:
        """Of the windows, for images of this shape, made anew on request; None where the option `cone` is off."""
        off = self.options.cone == "off" and not self.saves_memory
        if off or self.network.frames or self.network.backward.checkpoints:  # a cone runs no blocks to checkpoint
            return None
        if again or (shape, precision) not in self._window_cones:
            cones = WindowCones(self.network, self.objective, self.windows, shape, precision)
            self._window_cones[shape, precision] = cones
        return self._window_cones[shape, precision]

    def images_at_once(self, shape: tuple[int, ...]) -> int:
        """How many images are explained together, as the strategy says; the published procedure takes one."""
        if self.options.compat:
            return 1
        plan = calibrate(self.network, shape, self.options.precision)
        return self.strategy.images_at_once(self.strategy.planned(plan, self.network, shape), shape)
