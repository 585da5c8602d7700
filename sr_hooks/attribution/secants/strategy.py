"""The strategy that takes secants where a network has slopes, and gradients elsewhere."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch

from sr_hooks.attribution.input_gradients import Tally
from sr_hooks.attribution.path_integrals import Integrand, Key, PathIntegral, SmallRounds, is_image
from sr_hooks.attribution.receptive_field.remembered import recording_of
from sr_hooks.attribution.receptive_field.trace import Untraceable, check_hooks
from sr_hooks.attribution.secants.coverage import has_slopes
from sr_hooks.attribution.secants.nodes import Neighbour, PathNode, Unfit, compute
from sr_hooks.attribution.secants.panels import SOON, Midpoint, Panels
from sr_hooks.core.progress import Stopped
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.network import Network

__all__ = ["SecantsOrGradients"]

_STORED = 2**29  # bytes of what operations took at the nodes, beyond which nodes are computed again
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_DOMAIN = (-0.5, 1.5)  # of an output for images in [0, 1]
_STRAIGHT = 0.02  # of a path's length, by which the middle of a straight line may be off
_AT_LEAST = 4  # nodes that must have room

_log = logging.getLogger("sr_hooks")


class SecantsOrGradients:
    """The strategy of a CPU: secants by the tolerance where they hold, else the gradients of `SmallRounds`.

    Secants are taken of networks of linear operations and rectifiers, in float32, with steps="auto". On 256 integrals
    of 14 networks along 10 kinds of paths they took 0.88 times the work of gradients, at 0.4 times the error. 9 had an
    error above the stated one, and 60 by gradients. An interval of which the attributions do not add up to the
    objective's change leaves its integral to gradients, and so does an error within the secants.
    """

    def planned(self, plan: ExecutionPlan, network: Network, shape: tuple[int, ...]) -> ExecutionPlan:
        """The plan as it is."""
        return plan

    def images_at_once(self, plan: ExecutionPlan, shape: tuple[int, ...]) -> int:
        """One image."""
        return 1

    def integrals(self, integrand: Integrand) -> dict[Key, PathIntegral]:
        """All integrals of the integrand."""
        if not _takes_secants(integrand):
            return SmallRounds().integrals(integrand)
        answers: dict[Key, PathIntegral] = {}
        for row, image in enumerate(integrand.images.split(1)):
            alone = replace(integrand, images=image)
            of_windows = _by_secants(alone)
            missing = [index for index in integrand.windows if index not in of_windows]
            if missing:
                rest = SmallRounds().integrals(replace(alone, windows=missing))
                of_windows |= {index: integral for (_, index), integral in rest.items()}
            answers |= {(row, index): of_windows[index] for index in integrand.windows}
        return answers


def _takes_secants(integrand: Integrand) -> bool:
    gradients, images = integrand.gradients, integrand.images
    network = gradients.network
    if integrand.steps is not None or gradients.precision != "float32" or network.frames or images.ndim != 4:
        return False
    if network.backward.checkpoints or network.backward.ran_out:
        return False
    try:
        shape = (1, *images.shape[1:])
        recording = recording_of(network, gradients.objective, gradients.windows, shape, "float32")
    except Untraceable:
        return _is_hooked(network)  # what hooks do is not recorded: whether secants hold, the sums alone tell
    return has_slopes(recording.trace)


def _is_hooked(network: Network) -> bool:
    try:
        check_hooks(network.module)
    except Untraceable:
        return True
    return False


def _by_secants(integrand: Integrand) -> dict[int, PathIntegral]:
    """By window, of one image; without those of which the secants do not hold."""
    try:
        tried = attempt(lambda: _Curve(integrand).integrals())
    except Stopped:
        raise
    except Exception as reason:  # such as a network's own checkpoints and vmap; what fails anyway fails with gradients
        _log.debug("gradients instead of secants: %s", reason)
        return {}
    return {} if tried.ran_out else tried.result()


class _Curve:
    """One image's path: its nodes, which windows share, and each window's panels."""

    def __init__(self, integrand: Integrand) -> None:
        self.integrand, self.image = integrand, integrand.images
        (self.time,) = integrand.times(self.image)
        self.nodes: dict[float, PathNode] = {}
        self.panels = {index: Panels(integrand.tolerance) for index in integrand.windows}
        self.shown: dict[tuple[float, int], torch.Tensor] = {}  # the output in a window at a quarter

    def integrals(self) -> dict[int, PathIntegral]:
        """The integrals of the windows of which the secants hold."""
        self._compute(0.0, [])
        if self.nodes[0.0].size * _AT_LEAST > _STORED:
            raise Unfit("what its operations take is too large to be stored")
        self._compute(1.0, [(0.0, list(self.panels))])
        self._compute(0.5, [])
        for index in list(self.panels):  # of large values, rounding hides how rectifiers turn
            shown = torch.cat([self.shown[position, index] for position in (0.0, 0.5, 1.0)])
            if not (shown.min() >= _DOMAIN[0] and shown.max() <= _DOMAIN[1]):
                del self.panels[index]
        line = _is_straight(*(self.nodes[position].point for position in (0.0, 0.5, 1.0)))
        for panels in self.panels.values():
            panels.line = line
        if _is_flat(self.nodes[0.0].point):  # rectifiers of all places switch together as soon as the path leaves it
            self._compute(SOON, [(0.0, list(self.panels))])
        while requests := self._requests():
            for (position, (start, end)), windows in requests:
                self._compute(position, [(start, windows), (end, windows)])
            for index, panels in list(self.panels.items()):
                if panels.bend == math.inf:
                    panels.bend = self._bend(index)
                    if panels.jumps:
                        _log.debug("gradients instead of secants: window %d jumps right after the start", index)
                        del self.panels[index]
                panels.settle()
        return {index: self._answer(index, panels) for index, panels in self.panels.items()}

    def _requests(self) -> list[tuple[tuple[float, tuple[float, float]], list[int]]]:
        """The midpoints that are wanted, in the path's order, and the windows that want them."""
        wanted: dict[Midpoint, list[int]] = defaultdict(list)
        for index, panels in self.panels.items():
            for midpoint in panels.request():
                wanted[midpoint].append(index)
        ordered = sorted(wanted.items(), key=lambda each: each[0].position)
        return [((midpoint.position, midpoint.ends), windows) for midpoint, windows in ordered]

    def _compute(self, position: float, neighbours: Sequence[tuple[float, Sequence[int]]]) -> None:
        """A node, and the attributions of the intervals to neighbours for some windows each."""
        beside = [
            Neighbour(self._with_inputs(each), [index for index in wanted if index in self.panels])
            for each, wanted in neighbours
        ]
        gradients, windows = self.integrand.gradients, self.integrand.windows
        weighs = position in _QUARTERS[1::2]  # the intervals beside are the quarters
        self.nodes[position], maps = compute(gradients, self._point(position), windows, beside, weighs=weighs)
        if position in _QUARTERS:
            self.shown |= {(position, index): self._in_window(position, index) for index in self.panels}
        self._forget([position, *(each for each, _ in neighbours)])
        for (other, _), attributions in zip(neighbours, maps, strict=True):
            interval = (min(position, other), max(position, other))
            for index, part in attributions.items():
                if part is None:
                    _log.debug("gradients instead of secants: the interval %s does not add up", interval)
                    self.panels.pop(index, None)
                elif index in self.panels:
                    sign = 1 if other > position else -1
                    self.panels[index].take(interval, sign * part.attribution, part.turned)
        self.integrand.progress.update(1)

    def _point(self, position: float) -> torch.Tensor:
        return self.integrand.path(self.image, [self.time(position)])

    def _with_inputs(self, position: float) -> PathNode:
        """A node with what its operations took, computed again where that was forgotten."""
        node = self.nodes[position]
        if node.inputs is None:
            node.inputs = compute(self.integrand.gradients, node.point, self.integrand.windows)[0].inputs
        return node

    def _forget(self, needed: Sequence[float]) -> None:
        """Let go of outputs but the image's own, and of the oldest nodes' inputs until the stored ones are few."""
        for position, node in self.nodes.items():
            if position != 1:
                node.output = None
        stored = sum(node.size for node in self.nodes.values())
        for position, node in self.nodes.items():
            if stored <= _STORED:
                return
            if position not in needed:
                stored, node.inputs = stored - node.size, None

    def _in_window(self, position: float, index: int) -> torch.Tensor:
        """The output in the window's rectangle, which both a cone and the whole network compute."""
        gradients, output = self.integrand.gradients, self.nodes[position].output
        assert output is not None
        window, cone = gradients.windows[index], gradients.window_cone
        top, left = (cone.output.top, cone.output.left) if cone else (0, 0)
        return Window(window.top - top, window.left - left, window.height, window.width).crop(output).double()

    def _bend(self, index: int) -> float:
        """See `Panels.bend`."""
        start, first, middle, last, end = (self.shown[position, index] for position in _QUARTERS)
        span = float((end - start).norm())
        bend = max(float((first - (start + middle) / 2).norm()), float((last - (middle + end) / 2).norm()))
        return bend / span if span > 0 else math.inf

    def _answer(self, index: int, panels: Panels) -> PathIntegral:
        positions = sorted(panels.nodes)
        tally = Tally()
        for position in positions:
            tally.add(self.nodes[position].facts[index])
        end, output = self.nodes[1.0], self.nodes[1.0].output
        at_image = output if is_image(end.point[0], self.image, self.integrand.box) else None
        return PathIntegral(
            panels.total.float(),
            positions,
            end.facts[index].value - self.nodes[0.0].facts[index].value,
            panels.error,
            tally,
            at_image,
            list,
            math.ceil(panels.work),
        )


def _is_straight(start: torch.Tensor, middle: torch.Tensor, end: torch.Tensor) -> bool:
    """Whether a path with these points is a straight line."""
    return bool((middle - (start + end) / 2).norm() <= _STRAIGHT * (end - start).norm())


def _is_flat(point: torch.Tensor) -> bool:
    """Whether all pixels are alike."""
    return float((point.amax(dim=(-2, -1)) - point.amin(dim=(-2, -1))).max()) < 1e-6
