"""Small pictures in the HTML report: maps on the overview, and the patches of DDR below the pointer."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np

from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.figures.data_uri import overlay_uri, photo_uri
from sr_hooks.grid.report.rows import MapImages

__all__ = ["MOST_BYTES", "PatchSheets", "Sheet", "map_thumbnail"]

_SIDE = 144  # pixels of the longer side of a thumbnail on the overview
MOST_BYTES = 3_000_000
"""Bytes of the page that all patches of DDR may take together. Beyond, a scatter plot has no thumbnails."""
_QUALITIES = (90, 75, 60, 40)


def map_thumbnail(shown: MapImages, *, published: bool = False) -> str:
    """The map over its grey input, as a small JPEG."""
    return overlay_uri(shown.map, shown.lr, longest=_SIDE, published=published)


@dataclass(frozen=True)
class Sheet:
    """One picture with the patches of a DDR side by side, row by row, in the order of the points.

    Attributes:
        anchor: the id of the picture on the page.
        side: pixels of a patch.
        columns: patches in a row.
    """

    anchor: str
    uri: str
    side: int
    columns: int


@dataclass
class PatchSheets:
    """The sheets of a page. Networks that saw the same patches share a sheet; all sheets have `most` bytes together."""

    most: int = MOST_BYTES
    sheets: dict[str, Sheet] = field(default_factory=dict)
    _bytes: int = 0

    def of(self, result: DdrResult) -> Sheet | None:
        """The sheet of a result's patches; None if the result has no thumbnails or there is no room for them."""
        patches = result.arrays.get("thumbnails")
        if not _are_pictures(patches, len(result.arrays["labels"])):
            return None
        assert patches is not None
        key = hashlib.sha256(patches.tobytes()).hexdigest()
        if key not in self.sheets:
            whole, columns = _joined(patches)
            uri = self._fitting(whole)
            if uri is None:
                return None
            self.sheets[key] = Sheet(f"patches-{len(self.sheets)}", uri, patches.shape[-1], columns)
            self._bytes += len(uri)
        return self.sheets[key]

    def _fitting(self, whole: np.ndarray) -> str | None:
        """The picture in the best quality that there is room for."""
        for quality in _QUALITIES:
            uri = photo_uri(whole, longest=None, quality=quality)
            if self._bytes + len(uri) <= self.most:
                return uri
        return None


def _are_pictures(patches: np.ndarray | None, count: int) -> bool:
    return (
        patches is not None
        and patches.dtype == np.uint8
        and patches.ndim == 4
        and patches.shape[:2] == (count, 3)
        and 0 < patches.shape[-2] == patches.shape[-1] <= 64
    )


def _joined(patches: np.ndarray) -> tuple[np.ndarray, int]:
    """(n,3,s,s) uint8 as one picture (3,H,W) in [0, 1], and its columns."""
    count, channels, side, _ = patches.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    padded = np.zeros((rows * columns, channels, side, side), np.float32)
    padded[:count] = patches / 255
    laid = padded.reshape(rows, columns, channels, side, side).transpose(2, 0, 3, 1, 4)
    return laid.reshape(channels, rows * side, columns * side), columns
