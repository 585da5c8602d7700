"""Effective receptive field: how far around itself an output pixel looks, on average over images.

Luo et al., Understanding the Effective Receptive Field in Deep Convolutional Neural Networks (arXiv 1701.04128); as
super-resolution papers show it: the gradient of the centre output pixel, its negative part cut off, summed over
channels, averaged over images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.core import progress_bar
from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, open_axes, style
from sr_hooks.inference import calibrate, in_batches, prepare_input

__all__ = ["SHARES", "Erf", "ErfOptions", "register_analyses", "side_of"]

SHARES = (0.2, 0.5, 0.9, 0.99)
TABLE = (0.2, 0.3, 0.5, 0.99)
"""The shares of RepLKNet's table."""

_FIRST = {"replknet": 50, "mambair": 100}  # images that the published scripts stop after
FAULTS = {
    "replknet": (
        "sides are of log10(field + 1), not of the field",
        "odd sides from 3 up",
        "negative outputs of the centre pixel are cut off, so their gradient is left out",
        "images with a gradient that is not a number are skipped",
        "not done: its resizing to 1024 pixels and ImageNet normalisation, which are for classifiers",
    ),
    "mambair": (
        "images are resized by the nearest pixel, not cropped",
        "the picture's fourth root is of (field + 1) - 1 in float32, which loses gradients below 6e-8",
        "images with a gradient that is not a number are skipped",
    ),
}


@dataclass(frozen=True)
class ErfOptions:
    """Options of ERF."""

    size: int = sr_hooks.option(120, "side of the centre crop taken of each image, in input pixels")
    compat: Literal["replknet", "mambair"] | None = sr_hooks.option(
        None, "replknet, mambair: field and table as their public scripts have them, with their faults"
    )

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"size is {self.size}: it must be at least 2 pixels")


class Erf(sr_hooks.Analysis[ErfOptions]):
    """How far around itself does an output pixel look?

    Arrays, for crops of `size` and N images: `field` (size,size), the mean over images; `sides` (N,4), each image's own
    squares, of 20, 50, 90 and 99 %. Scalars `side_20` to `side_99`: of the mean field, in input pixels.

    Sides are shares of the field. `log_sides` has those that RepLKNet's table prints, which are of log10(field + 1) and
    larger. With `compat="replknet"` or "mambair" field, images and `shown` (size,size) are those of the public scripts.
    """

    name = "erf"
    options_type = ErfOptions
    together = True
    figure_options = ("colormap", "scale", "crop", "zoom")

    def run(self, network: sr_hooks.Network, images: Any, options: ErfOptions) -> sr_hooks.Result:
        crops = published_inputs(network, images, options) if options.compat else None
        crops = centre_crops(network, images, options.size) if crops is None else crops
        rectify = options.compat == "replknet"
        fields = np.zeros((len(crops), options.size, options.size), np.float32)
        plan = calibrate(network, (network.channels, options.size, options.size))

        def compute(part: slice) -> np.ndarray:
            x = plan.lay_out(torch.cat(crops[part]).to(network.device)).requires_grad_()
            gradient = network.differentiate(lambda: centre_gradient(network, x, rectify=rectify))
            return gradient.float().clamp(min=0).sum(dim=1).cpu().numpy()

        with network.channels_last(plan.channels_last), progress_bar("ERF", len(crops), unit="images") as bar:
            for part, found in in_batches(len(crops), compute, batch=plan.batch, bar=bar):
                fields[part] = found
        broken = int((~np.isfinite(fields)).sum())
        if options.compat:
            fields = numbers_alone(fields)
        field = np.nan_to_num(fields, nan=0.0, posinf=0.0, neginf=0.0).mean(axis=0, dtype=np.float64)
        sides = np.array([[side_of(each, share) for share in SHARES] for each in fields])
        scalars: dict[str, Any] = {key(share): side_of(field, share) for share in SHARES}
        scalars |= {"images": len(fields), "nonfinite": broken, "log_sides": log_sides(field)}
        arrays = {"field": field.astype(np.float32), "sides": sides}
        if options.compat:
            arrays["shown"] = shown(arrays["field"], options.compat)
            scalars |= {"compat": options.compat, "faults": list(FAULTS[options.compat])}
        return sr_hooks.Result("erf", arrays, scalars, {}, verdict(field, sides, scalars))

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        return erf_figure(result, options or FigureOptions())


def erf_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """The mean field with its squares, and the share of the field inside of a square against the square's side."""
    field = result.arrays["field"]
    view = MapView(field.shape, options)
    title = f"mean of {result.scalars['images']} images, {field.shape[0]}×{field.shape[1]} input pixels"
    most = 2.2 if (options.inches or 9) < 5 else 3.6
    panels = [
        *view.map_panels("map", field, title, "gradient / max", power=0.25, after=partial(_squares, result=result)),
        Panel(
            "shares",
            partial(_shares, result=result),
            aspect=0.8,
            least=2.4,
            most=most,
            extra=0.4,
        ),
    ]
    name = f"{result.provenance['network']['name']}: effective receptive field"
    return compose(panels, options, title=name, notes=result.verdict, width=9.4)


def _squares(slot: Slot, result: sr_hooks.Result) -> None:
    """Outline the squares that hold the shares of the field, and write the shares beside those with room for it."""
    size = result.arrays["field"].shape[0]
    colour = "#222222" if slot.look.is_paper else "white"
    for share in SHARES:
        side = result.scalars[key(share)]
        start = size // 2 - side // 2
        if not 0 < side < size:
            continue
        style.window_box(slot.axes, (start, start, side, side), thin=True, colour=colour)
        (left, right), inches = slot.axes.get_xlim(), slot.width * 0.6
        if inches * side / (right - left) > 0.35 and start - 0.5 >= left:  # within a smaller one there is no room
            slot.axes.text(
                start + side - 1, start, f"{100 * share:.0f} % ", color=colour, fontsize=6, ha="right", va="top",
                clip_on=True,
            )  # fmt: skip


def _shares(slot: Slot, result: sr_hooks.Result) -> None:
    axes, look, field = slot.axes, slot.look, result.arrays["field"]
    sides = np.arange(1, field.shape[0] + 1)
    axes.plot(sides, [100 * share_within(field, int(side)) for side in sides], color=style.COLOURS[0], linewidth=1.4)
    for share in SHARES:
        side = result.scalars[key(share)]
        axes.plot([side, side, 0], [0, 100 * share, 100 * share], color=style.INK, linewidth=0.5, linestyle=":")
        axes.annotate(
            f"{side}", (side, 100 * share), fontsize=look.small, color=style.INK, textcoords="offset points",
            xytext=(4, -9),
        )  # fmt: skip
    axes.set_xlim(0, field.shape[0])
    axes.set_ylim(0, 102)
    names = ["0", *(f"{100 * share:.0f} %" for share in SHARES)]
    axes.set_yticks([0, *(100 * share for share in SHARES)], names)
    axes.set_xlabel("side of the square, pixels", fontsize=look.small, color=style.INK)
    axes.set_ylabel("share of the field inside", fontsize=look.small, color=style.INK)
    open_axes(axes, look)


def key(share: float) -> str:
    """The scalar's name: side_99."""
    return f"side_{100 * share:.0f}"


def centre_crops(network: sr_hooks.Network, images: Any, size: int) -> list[torch.Tensor]:
    """(1,C,size,size) from the middle of each image of a batch or a list of images."""
    crops = []
    for image in prepare_input(network, images, clips=False).images:
        height, width = image.shape[-2:]
        top, left = (height - size) // 2, (width - size) // 2
        if top < 0 or left < 0:
            raise ImageError(f"an image of {height}x{width} pixels is smaller than size {size}: take a smaller size")
        crops.append(image[..., top : top + size, left : left + size])
    return crops


def published_inputs(network: sr_hooks.Network, images: Any, options: ErfOptions) -> list[torch.Tensor]:
    """The images that the public scripts look at: the first 50 (RepLKNet) or 100 (MambaIR, resized by nearest)."""
    prepared = prepare_input(network, images, clips=False).images[: _FIRST[str(options.compat)]]
    if options.compat == "replknet":
        return centre_crops(network, prepared, options.size)
    return [F.interpolate(image, size=(options.size, options.size)) for image in prepared]


def numbers_alone(fields: np.ndarray) -> np.ndarray:
    """The fields without those that have a value that is not a number, as the public scripts skip such images."""
    told = ~np.isnan(fields.sum(axis=(1, 2)))
    if not told.any():
        raise NetworkError("the gradient of every image has values that are not numbers: the public scripts skip all")
    return fields[told]


def shown(field: np.ndarray, compat: str) -> np.ndarray:
    """(size,size) in [0, 1], what the public scripts draw: log10(field + 1), or the fourth root, over its largest."""
    drawn = np.log10(field + 1) if compat == "replknet" else np.power((field + 1) - 1, 0.25)
    return np.asarray(drawn / max(float(drawn.max()), np.finfo(np.float32).tiny))


def log_sides(field: np.ndarray) -> list[dict[str, Any]]:
    """RepLKNet's table: for each share the smallest odd centred side, from 3 up, above that share of log10(field + 1).

    `side` and `area`, the square's share of the image, are None where no square below the image's side reaches it.
    """
    data, rows = np.log10(field.astype(np.float32) + 1), []
    (height, width), whole = data.shape, float(data.sum())
    for share in TABLE:
        row: dict[str, Any] = {"share": share, "side": None, "area": None}
        for i in range(1, height // 2):
            part = data[height // 2 - i : height // 2 + 1 + i, width // 2 - i : width // 2 + 1 + i]
            if whole > 0 and float(part.sum()) / whole > share:
                row |= {"side": 2 * i + 1, "area": (2 * i + 1) ** 2 / (height * width)}
                break
        rows.append(row)
    return rows


def centre_gradient(network: sr_hooks.Network, x: torch.Tensor, *, rectify: bool = False) -> torch.Tensor:
    """d(sum over channels of the centre output pixel) / dx of each image; `rectify` cuts negative outputs off first."""
    with torch.enable_grad():
        output = network(x)
        if not output.requires_grad:
            raise NetworkError(f"no gradient reaches the input of {network.name}: somewhere inside it detaches")
        height, width = output.shape[-2:]
        centre = output[..., height // 2, width // 2]
        return torch.autograd.grad((centre.relu() if rectify else centre).sum(), x)[0]


def share_within(field: np.ndarray, side: int) -> float:
    """The share of the field in the centred square of this side; 0 of an empty field."""
    start, total = field.shape[0] // 2 - side // 2, float(field.sum())
    return float(field[start : start + side, start : start + side].sum()) / total if total > 0 else 0.0


def side_of(field: np.ndarray, share: float) -> int:
    """Side in input pixels of the smallest centred square that holds this share of the field; 0 of an empty one."""
    size = field.shape[0]
    if not field.sum() > 0:
        return 0
    return next((side for side in range(1, size) if share_within(field, side) >= share - 1e-6), size)


def verdict(field: np.ndarray, sides: np.ndarray, scalars: dict[str, Any]) -> str:
    """Whether the field is there, inside the crop, and alike for all images; begins sound, cut off or degenerate."""
    size, last = field.shape[0], scalars["side_99"]
    broken = f"; {scalars['nonfinite']} gradient entries were not finite and count as 0" if scalars["nonfinite"] else ""
    if not field.sum() > 0:
        return f"degenerate: no positive gradient reaches the input{broken}."
    spread = f", {sides[:, -1].min()} to {sides[:, -1].max()} from image to image" if len(sides) > 1 else ""
    table = ", ".join(f"{row['side'] or 'none'} ({100 * row['share']:.0f} %)" for row in scalars["log_sides"])
    table = f"; RepLKNet's table, which is of log10(field + 1), has sides {table}"
    if "compat" in scalars:
        table += f"; published procedure ({scalars['compat']}), faults that stay: {'; '.join(scalars['faults'])}"
    if last >= size - 2:
        return f"cut off: 99 % of the field reaches the border of the {size} pixels; take a larger size{broken}{table}."
    return (
        f"sound: 99 % of the field lies within {last} of {size} pixels{spread}, half of it within "
        f"{scalars['side_50']}{broken}{table}."
    )


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Erf]
