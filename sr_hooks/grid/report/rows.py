"""The rows of a grid: each cell with the numbers, verdict and images that figure, tables and report show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, Literal

import numpy as np
import torch

from sr_hooks.analyses.base import find_analysis
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.core.text import one_line
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.loading import read_cached_image
from sr_hooks.grid.plan import Cell, GridPlan
from sr_hooks.grid.report.html_plots import histogram_of, scatters_of
from sr_hooks.images.metrics.fidelity import SMALLEST_SSIM, luma, psnr, quantise, ssim
from sr_hooks.images.regions import region_psnr
from sr_hooks.images.windows import Window
from sr_hooks.results.result import Result

__all__ = ["GridRows", "MapImages", "MapsOfWindow", "Row", "better", "is_map", "map_images"]


@dataclass(frozen=True)
class Row:
    """One cell with its numbers.

    Attributes:
        number: the cell's index in the plan.
        network, image: names; the image is "" if the analysis takes all images together.
        numbers: the result's headline numbers, and psnr_y and ssim_y of the whole image if there is a ground truth.
        window_numbers: psnr_y and ssim_y of the window alone; empty if there is no ground truth or no window.
        verdict: the result's verdict; "" if the cell failed.
        failure: why the cell failed; None if the cell has a result.
        card: the card of the faithfulness checks; None if they were not requested.
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
    window_numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def window(self) -> str:
        """The window as it is typed, e.g. "96,120,16,16"; "" if the cell has none."""
        return ",".join(map(str, self.cell.window)) if self.cell.window else ""


@dataclass(frozen=True)
class MapsOfWindow:
    """The maps of one window of one image: `cells` are indices of cells in the plan, one for each network.

    The aspect is the height / width of the shown part of the image.
    """

    image: int
    window: tuple[int, int, int, int]
    cells: tuple[int, ...]
    aspect: float


class GridRows:
    """All rows of a plan. Results with their arrays are read from disk when needed."""

    def __init__(self, plan: GridPlan, folder: GridFolder, since: float = 0.0) -> None:
        self.plan, self.folder = plan, folder
        self._misfits: dict[str, str] = {}
        self.result = lru_cache(maxsize=16)(self._read)
        self.rows = [self._row(number, cell, since) for number, cell in enumerate(plan.cells)]

    def of(self, analysis: str) -> list[Row]:
        """The rows of one analysis."""
        return [row for row in self.rows if row.cell.analysis == analysis]

    def truth(self, cell: Cell) -> torch.Tensor | None:
        """(1,C,H,W) ground truth of the cell's image; None if the images are network inputs."""
        if cell.image is None or not self.plan.request.hr:
            return None
        return read_cached_image(self.plan.request.images[cell.image])

    def _read(self, key: str) -> Result | None:
        result = self.folder.cache.get(key)
        if result is None:
            return None
        misfit = _misfit(next(cell for cell in self.plan.cells if cell.key == key), result)
        if misfit is None:
            return result
        self._misfits[key] = misfit
        return None

    def _failure(self, key: str, since: float) -> str:
        return self.folder.failure(key, since) or self._misfits.get(key) or "not computed"

    def _row(self, number: int, cell: Cell, since: float) -> Row:
        request = self.plan.request
        image = request.images[cell.image].name if cell.image is not None else ""
        names = (number, cell, request.networks[cell.network].name, image)
        if cell.network in self.plan.problems:
            return Row(*names, failure=one_line(self.plan.problems[cell.network]))
        result = self.result(cell.key)
        if result is None:
            return Row(*names, failure=self._failure(cell.key, since))
        numbers = dict(result.headline())
        numbers |= self._quality(cell, result)
        return Row(
            *names,
            numbers=numbers,
            verdict=result.verdict,
            scalars=result.scalars,
            provenance=result.provenance,
            card=getattr(result, "card", None),
            window_numbers=self._quality(cell, result, _region_of(cell, result)) if cell.window else {},
        )

    def _quality(self, cell: Cell, result: Result, window: Window | None = None) -> dict[str, float]:
        """PSNR and SSIM as papers give them, with 8 bits and luma (of bands all): of a window, or of the whole output.

        Of the whole output without a border as wide as the scale. SSIM needs a rectangle with 11 pixels a side.
        """
        truth = self.truth(cell)
        if truth is None or not (isinstance(result, LamResult) or "output" in result.arrays):
            return {}
        output, (above, before), (height, width) = _output_of(result)
        border = max(round(float(self.plan.networks[cell.network]["scale"])), 0) if window is None else 0
        if truth.shape[1] != output.shape[1] or min(height, width) <= 2 * border:
            return {}
        if height > truth.shape[-2] or width > truth.shape[-1]:
            return {}
        if window is None and output.shape[-2:] != (height, width):
            return {}
        top, left, high, wide = window.as_tuple() if window else (0, 0, height, width)
        pixels = torch.from_numpy(output[..., top - above : top - above + high, left - before : left - before + wide])
        pair = quantise(pixels), quantise(truth[..., top : top + high, left : left + wide])
        has_luma = truth.shape[1] in (1, 3)
        colour: Literal["y", "rgb"] = "y" if has_luma else "rgb"
        suffix = "_y" if has_luma else ""
        if window is not None and not window.is_rectangle:
            one, two = map(luma, pair) if has_luma else pair
            return {f"psnr{suffix}": region_psnr(one, two, replace(window, top=0, left=0))}
        numbers = {f"psnr{suffix}": float(psnr(*pair, border=border, colour=colour))}
        if min(high, wide) - 2 * border >= SMALLEST_SSIM:
            numbers[f"ssim{suffix}"] = float(ssim(*pair, border=border, colour=colour))
        return numbers


_QUALITY = {
    "psnr_y": ("PSNR-Y", "{:.2f} dB"),
    "ssim_y": ("SSIM-Y", "{:.4f}"),
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
}


def _misfit(cell: Cell, result: Result) -> str | None:
    """Why a result cannot be shown: another cell's, or arrays of other shapes than its kind has; else None."""
    if result.analysis != cell.analysis:
        return f"its result is one of {one_line(result.analysis)}"
    try:
        result.headline()
        if isinstance(result, LamResult):
            return _misfit_of_map(cell, result)
        if isinstance(result, DdrResult):
            scatters_of(result)
        if isinstance(result, FaigResult):
            histogram_of(result)
    except Exception as error:
        return f"its result cannot be shown: {type(error).__name__}: {one_line(str(error))}"
    return None


def _misfit_of_map(cell: Cell, result: LamResult) -> str | None:
    values, lr, output, size = result.map, result.arrays["lr"], result.computed_part, result.output_size
    top, left, height, width = result.window
    if cell.window is not None and result.window != tuple(cell.window):
        return f"its result is of the window {result.window}"
    if values.shape[-2:] != lr.shape[-2:] or lr.ndim != values.ndim + 1 or values.ndim not in (2, 3):
        return f"its result cannot be shown: a map of shape {values.shape} for an input of shape {lr.shape}"
    if output.ndim != 3 or top + height > size[0] or left + width > size[1]:
        return f"its result cannot be shown: a window {result.window} of an output of {size} pixels"
    mask = result.arrays.get("region")
    if mask is not None and (mask.shape != size or result.region.as_tuple() != result.window):
        return f"its result cannot be shown: a mask of shape {mask.shape} that is not of the window {result.window}"
    channels = result.provenance["network"].get("channels")
    if not len(output) or lr.shape[-3] not in (1, 3, channels):
        return f"its result cannot be shown: images of {len(output)} and {lr.shape[-3]} channels"
    return None


def _output_of(result: Result) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """The output (1,C,h,w) as far as it was computed, its top left corner, and (H,W) of the whole output."""
    if isinstance(result, LamResult):
        return result.computed_part[None], result.computed_box[:2], result.output_size
    output = result.arrays["output"][None]
    return output, (0, 0), output.shape[-2:]


def _region_of(cell: Cell, result: Result) -> Window | None:
    if isinstance(result, LamResult):
        return result.region
    return Window(*cell.window) if cell.window else None


def better(analysis: str) -> Mapping[str, str]:
    """Which of an analysis's numbers have a better direction: name to "higher" or "lower"; PSNR and SSIM have."""
    return {**dict.fromkeys(_QUALITY, "higher"), **getattr(find_analysis(analysis), "better", {})}


def quality_texts(row: Row) -> dict[str, str]:
    """PSNR and SSIM of the row's window as figures write them: "PSNR-Y" to "31.20 dB"; of bands there is no luma."""
    numbers = row.window_numbers
    return {name: form.format(numbers[key]) for key, (name, form) in _QUALITY.items() if key in numbers}


def is_map(cell: Cell) -> bool:
    """Whether the cell's result is an attribution map of a window, as LAM's is."""
    return cell.image is not None and cell.window is not None and _gives_maps(cell.analysis)


@cache
def _gives_maps(analysis: str) -> bool:
    return issubclass(find_analysis(analysis).result_type, LamResult)


@dataclass(frozen=True)
class MapImages:
    """The images that show an attribution: map and density (h,w), input (C,h,w), output (C,H,W)."""

    map: np.ndarray
    density: np.ndarray
    lr: np.ndarray
    output: np.ndarray


def map_images(result: LamResult) -> MapImages:
    """Return the images to show. For a clip: the window's frame, or the middle frame if the map lacks that frame."""
    values, density, lr = result.map, result.kde(), result.arrays["lr"]
    if values.ndim == 3:
        frame = result.frame if result.frame is not None and result.frame < len(values) else len(values) // 2
        values, density, lr = values[frame], density[frame], lr[frame]
    return MapImages(values, density, lr, result.picture)
