"""What a grid found, read back: a row a cell with the numbers that tables and pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.base import find_analysis
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.grid.folder import Place
from sr_hooks.grid.plan import Cell, Plan, image_of
from sr_hooks.images.metrics import psnr, quantise
from sr_hooks.results.result import Result

__all__ = ["Gathered", "Row", "Shown", "better", "is_map", "shown_of"]


@dataclass(frozen=True)
class Row:
    """One cell for tables.

    Attributes:
        number: the cell's place in the plan.
        network, image: their names; no image where all are taken together.
        numbers: the result's headline, and psnr_y where there is a ground truth.
        verdict: of the result; "" where there is none.
        failure: why there is none.
        card: of the checks of faithfulness, where they were asked for.
    """

    number: int
    cell: Cell
    network: str
    image: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""
    scalars: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    card: Any = None

    @property
    def window(self) -> str:
        """As it is typed; "" for none."""
        return ",".join(map(str, self.cell.window)) if self.cell.window else ""


class Gathered:
    """All rows of a plan; results with their arrays are read when they are asked for."""

    def __init__(self, plan: Plan, place: Place, since: float = 0.0) -> None:
        self.plan, self.place = plan, place
        self.result = lru_cache(maxsize=16)(self._read)
        self.rows = [self._row(number, cell, since) for number, cell in enumerate(plan.cells)]

    def of(self, analysis: str) -> list[Row]:
        """The rows of one analysis."""
        return [row for row in self.rows if row.cell.analysis == analysis]

    def truth(self, cell: Cell) -> torch.Tensor | None:
        """(1,C,H,W) ground truth of the cell's image; None where images are inputs."""
        if cell.image is None or not self.plan.asked.hr:
            return None
        return image_of(self.plan.asked.images[cell.image].file)

    def _read(self, key: str) -> Result | None:
        return self.place.cache.get(key)

    def _row(self, number: int, cell: Cell, since: float) -> Row:
        asked = self.plan.asked
        image = asked.images[cell.image].name if cell.image is not None else ""
        names = (number, cell, asked.networks[cell.network].name, image)
        result = self.result(cell.key)
        if result is None:
            return Row(*names, failure=self.place.failure(cell.key, since) or "not computed")
        numbers = dict(result.headline())
        quality = self._psnr(cell, result)
        if quality is not None:
            numbers["psnr_y"] = quality
        return Row(
            *names,
            numbers=numbers,
            verdict=result.verdict,
            scalars=result.scalars,
            provenance=result.provenance,
            card=getattr(result, "card", None),
        )

    def _psnr(self, cell: Cell, result: Result) -> float | None:
        """Of the whole output against the ground truth as papers give it: 8 bits, luma, a border of the scale off."""
        truth = self.truth(cell)
        if truth is None or "output" not in result.arrays:
            return None
        output = torch.from_numpy(result.arrays["output"])[None]
        if not torch.isfinite(output).all():
            return None  # only a part of it was asked for
        height, width = output.shape[-2:]
        border = max(round(float(self.plan.networks[cell.network]["scale"])), 0)
        if truth.shape[1] != output.shape[1] or min(height, width) <= 2 * border:
            return None
        if height > truth.shape[-2] or width > truth.shape[-1]:
            return None
        return float(psnr(quantise(output), quantise(truth[..., :height, :width]), border=border, colour="y"))


def better(analysis: str) -> Mapping[str, str]:
    """Of an analysis's numbers, those of which "higher" or "lower" is the better; psnr_y always."""
    return {"psnr_y": "higher", **getattr(find_analysis(analysis), "better", {})}


def is_map(cell: Cell) -> bool:
    """Whether its answer is an attribution map of a window, as LAM's is."""
    return cell.image is not None and cell.window is not None and _gives_maps(cell.analysis)


@cache
def _gives_maps(analysis: str) -> bool:
    return issubclass(find_analysis(analysis).result_type, LamResult)


@dataclass(frozen=True)
class Shown:
    """What is shown of a map: (h,w) of itself and of its density, the input (C,h,w) and the output (C,H,W)."""

    map: np.ndarray
    density: np.ndarray
    lr: np.ndarray
    output: np.ndarray


def shown_of(result: LamResult) -> Shown:
    """Of a clip, the frame that the window is in, or the middle one of those there are."""
    values, density, lr = result.map, result.kde(), result.arrays["lr"]
    if values.ndim == 3:
        frame = result.frame if result.frame is not None and result.frame < len(values) else len(values) // 2
        values, density, lr = values[frame], density[frame], lr[frame]
    return Shown(values, density, lr, result.picture)
