"""The result of LAM: the attribution, its map, the diffusion index and the other numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.images.image import upsample
from sr_hooks.images.regions import region_of_mask
from sr_hooks.images.windows import Window
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.statistics import measures

__all__ = ["LamResult", "Origin"]

_ROUNDING = 1e-4  # of a number's range: what other machines and versions of NumPy round differently stays far below


@dataclass(frozen=True)
class Origin:
    """What a result of this process was computed from; it is not saved. `options` are LAM's, for all its windows."""

    network: Network
    options: Any


class LamResult(Result):
    """A local attribution map. Arrays: `attribution` (C,h,w) signed, `lr` (C,h,w), `output` (C,H,W), `nodes` (K,);
    of a mask also `region` (H,W) bool.

    Of a clip: `attribution` and `lr` are (T,C,h,w), the map is (T,h,w), and `output` is the window's frame.
    Where only the window's surroundings were computed, there is `output_part` (C,height,width) instead of `output`, and
    its place `computed_box`. `window_output`, `output` and `picture` of the result serve both.
    """

    origin: Origin | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles go without the network."""
        return {key: value for key, value in self.__dict__.items() if key != "origin"}

    @property
    def attribution(self) -> np.ndarray:
        """(C,h,w) signed float32, in input pixels: what each contributed to the objective's change along the path."""
        return self.arrays["attribution"]

    @property
    def map(self) -> np.ndarray:
        """(h,w), or (T,h,w) of a clip: |sum of the attribution over channels|."""
        return measures.attribution_map(self.attribution)

    @property
    def computed_part(self) -> np.ndarray:
        """(C,height,width): the part of the output that was computed, at `computed_box`; the whole as a rule."""
        if "output_part" in self.arrays:
            return self.arrays["output_part"]
        top, left, height, width = self.computed_box
        return self.arrays["output"][:, top : top + height, left : left + width]

    @property
    def computed_box(self) -> tuple[int, int, int, int]:
        """(top, left, height, width) of `computed_part` in the output; the whole output as a rule."""
        if "output_part" in self.arrays:
            return cast("tuple[int, int, int, int]", tuple(self.scalars["output_part"]))
        output, (top, left, _, _) = self.arrays["output"], self.window  # earlier versions wrote NaN around the part
        rows, columns = (np.flatnonzero(~np.isnan(line)) for line in (output[0, :, left], output[0, top, :]))
        if not rows.size or not columns.size:
            return 0, 0, *output.shape[-2:]
        return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1

    @property
    def is_whole(self) -> bool:
        """Whether the whole output was computed."""
        return self.computed_box[2:] == self.output_size

    @property
    def output_size(self) -> tuple[int, int]:
        """(H,W) of the whole output."""
        if "output_part" not in self.arrays:
            return cast("tuple[int, int]", self.arrays["output"].shape[-2:])
        return cast("tuple[int, int]", tuple(self.scalars["canvas"]["output"]))

    @property
    def window_output(self) -> np.ndarray:
        """(C,height,width): the output inside the window, or inside a mask's bounding window."""
        (top, left, height, width), (above, before, _, _) = self.window, self.computed_box
        return self.computed_part[:, top - above : top - above + height, left - before : left - before + width]

    @property
    def output(self) -> np.ndarray:
        """(C,H,W): the output, NaN where it was not computed. Of a part, this makes an array of the whole size."""
        part = self.computed_part
        return part if self.is_whole else self._around_part(np.full((len(part), *self.output_size), np.nan, part.dtype))

    @property
    def picture(self) -> np.ndarray:
        """(C,H,W): the output as far as it was computed, and the input's bicubic enlargement elsewhere."""
        if self.is_whole:
            return self.computed_part
        larger = upsample(torch.from_numpy(self.arrays["lr"])[None].float(), self.output_size)[0].numpy()
        return self._around_part(larger[: len(self.computed_part)])

    def _around_part(self, whole: np.ndarray) -> np.ndarray:
        top, left, height, width = self.computed_box
        whole[:, top : top + height, left : left + width] = self.computed_part
        return whole

    @property
    def shown_frame(self) -> tuple[np.ndarray, np.ndarray]:
        """(C,h,w) input and (h,w) map: of a clip those of the window's frame, or of the middle one if that is none."""
        lr, values = self.arrays["lr"], self.map
        if values.ndim == 2:
            return lr, values
        frame = self.frame if self.frame is not None and self.frame < len(values) else len(values) // 2
        return lr[frame], values[frame]

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(top, left, height, width) in output pixels."""
        return cast("tuple[int, int, int, int]", tuple(self.scalars["window"]))

    @property
    def region(self) -> Window:
        """The window as a Window, or as a Region with its mask where a mask was explained."""
        mask = self.arrays.get("region")
        return Window(*self.window) if mask is None else region_of_mask(np.asarray(mask, dtype=bool))

    @property
    def window_psnr(self) -> float | None:
        """PSNR in dB over the window's or mask's pixels, where a ground truth (gt) was given."""
        return cast("float | None", self.scalars.get("window_psnr"))

    @property
    def gini(self) -> float:
        """Gini coefficient of the map; 0 for an all-zero one."""
        return float(self.scalars["gini"])

    @property
    def diffusion_index(self) -> float:
        """DI = (1 - Gini) * 100: the larger, the more is used. Compare only maps of equal canvas and window."""
        return float(self.scalars["diffusion_index"])

    @property
    def effective_pixels(self) -> float:
        """DI/100*h*w: like DI, free of the canvas's area; of a clip, over all its frames' pixels."""
        return float(self.scalars["effective_pixels"])

    @property
    def completeness_gap(self) -> float:
        """|sum of the attribution - change of the objective|, as a share of the sum of |attribution|."""
        return float(self.scalars["completeness_gap"])

    @property
    def error(self) -> float | None:
        """Estimated relative L2 error of the attribution; None for the published procedure, which has no estimate."""
        return cast("float | None", self.scalars["error"])

    @property
    def precision_deviation(self) -> float | None:
        """With bfloat16: the map's relative L2 distance from float32, estimated by three gradients; None in float32."""
        return cast("float | None", self.scalars.get("precision_deviation"))

    @property
    def nonfinite(self) -> int:
        """Gradient entries along the path that were NaN or infinite and were taken as 0."""
        return int(self.scalars["nonfinite"])

    @property
    def steps(self) -> int:
        """Gradients computed; where `scalars["rule"]` is "secants", the number of gradients that cost as much."""
        return int(self.scalars["steps"])

    def kde(self, bandwidth: float = 0.25) -> np.ndarray:
        """(h,w) kernel density of the map, as papers show it; see sr_hooks.statistics.kde. Of a clip frame by frame."""
        if self.is_clip:
            return np.stack([measures.kde(values, bandwidth) for values in self.map])
        return measures.kde(self.map, bandwidth)

    @property
    def is_clip(self) -> bool:
        """Whether it is of a network over clips."""
        return self.attribution.ndim == 4

    @property
    def frame(self) -> int | None:
        """Of a clip: the output frame that the window is in."""
        return cast("int | None", self.scalars.get("frame"))

    @property
    def frame_shares(self) -> np.ndarray | None:
        """Of a clip: (T,), each frame's share of the map's sum."""
        return np.array(self.scalars["frame_shares"]) if self.is_clip else None

    @property
    def temporal_diffusion(self) -> float | None:
        """Of a clip: the effective number of frames, exp of the entropy of their shares; from 1 to T."""
        return cast("float | None", self.scalars.get("temporal_diffusion"))

    def contradictions(self) -> list[str]:
        """Sentences on arrays that fit no LAM, and on numbers that do not follow from its map."""
        output = "output_part" if "output_part" in self.arrays else "output"
        shapes = {name: self.arrays.get(name, np.empty(0)).shape for name in ("attribution", "lr", output)}
        if shapes["attribution"] != shapes["lr"] or len(shapes["lr"]) not in (3, 4) or len(shapes[output]) != 3:
            return [f"its arrays have the shapes {shapes}, and a map needs (C,h,w), (C,h,w) and (C,H,W)"]
        if any(self.arrays[name].dtype.kind != "f" for name in shapes) or not np.isfinite(self.attribution).all():
            return ["the attribution is not of finite numbers"]
        if output == "output_part" and not self._is_part_sound():
            return ["the place of the part of its output does not fit the part, the window and the output"]
        attribution = self.attribution.astype(np.float64)
        change = self.scalars.get("objective_change")
        size = max(np.abs(attribution).sum(), abs(change) if isinstance(change, float) else 0.0)
        concentration = self._concentration()
        computed = {
            "gini": (concentration, 1.0),
            "diffusion_index": (100 * (1 - concentration), 100.0),
            "effective_pixels": ((1 - concentration) * self.map.size, float(self.map.size)),
        }
        if isinstance(change, float) and size > 0:
            computed["completeness_gap"] = (abs(attribution.sum() - change) / size, 1.0)
        return [
            f"{name} is {self.scalars.get(name)!r}, and its arrays give {value:.6g}"
            for name, (value, scale) in computed.items()
            if not _is_near(self.scalars.get(name), value, _ROUNDING * scale)
        ]

    def _is_part_sound(self) -> bool:
        """Whether the part of the output is as large as its place, holds the window, and lies inside the output."""
        try:
            (top, left, height, width), (high, wide) = self.computed_box, self.output_size
            row, column, rows, columns = self.window
            return (
                self.computed_part.shape[-2:] == (height, width)
                and 0 <= top <= row <= row + rows <= top + height <= high
                and 0 <= left <= column <= column + columns <= left + width <= wide
            )
        except (KeyError, TypeError, ValueError):
            return False

    def _concentration(self) -> float:
        """The Gini coefficient of the map, or of the map as the published code normalises it."""
        values = self.map
        if self.provenance.get("options", {}).get("compat") and values.max() > 0:
            values = values / values.max() + 1e-7
        return measures.gini(values)

    def headline(self) -> dict[str, Any]:
        keys = (
            "diffusion_index",
            "effective_pixels",
            "gini",
            "frame",
            "temporal_diffusion",
            "completeness_gap",
            "error",
            "precision_deviation",
            "window_psnr",
            "steps",
            "nonfinite",
        )
        return {key: self.scalars[key] for key in keys if self.scalars.get(key) is not None}


def _is_near(number: Any, value: float, tolerance: float) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number - value) <= tolerance
