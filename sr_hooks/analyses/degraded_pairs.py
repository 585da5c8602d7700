"""Pairs of degraded input and ground truth, for analyses that compare an output with the right answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sr_hooks.degradations.parsing import make_lr, parse_degradations
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.images.image import sha256_of
from sr_hooks.inference.inputs import prepare_input, read_images
from sr_hooks.networks.network import Network

__all__ = ["Inputs", "make_inputs", "one_input_each"]


@dataclass(frozen=True)
class Inputs:
    """For each of N images the ground truth and its inputs, one a degradation.

    Attributes:
        names: of the D degradations.
        gt: N of (1,C,H,W), in [0, 1]; of clips (1,T',C,H,W), as many frames as the network returns.
        lr: N lists of D (1,C,h,w), or (1,T,C,h,w); noise may have left [0, 1].
    """

    names: tuple[str, ...]
    gt: tuple[torch.Tensor, ...]
    lr: tuple[tuple[torch.Tensor, ...], ...]

    def in_the_middle(self) -> Inputs:
        """The same with the middle frame's ground truth alone, which is what a network over clips gives unasked."""
        return replace(self, gt=tuple(gt if gt.ndim == 4 else gt[:, gt.shape[1] // 2] for gt in self.gt))

    def __len__(self) -> int:
        return len(self.gt)

    def describe(self) -> dict[str, Any]:
        """SHA-256 of all of it, for provenance."""
        return {
            "gt_sha256": [sha256_of(gt) for gt in self.gt],
            "lr_sha256": {name: [sha256_of(row[i]) for row in self.lr] for i, name in enumerate(self.names)},
        }


def make_inputs(
    network: Network,
    images: Any,
    degradations: Any,
    *,
    degraded: Mapping[str, Any] | None = None,
    gt: Any = None,
    crop: int | None = None,
    clip: bool = False,
    seed: int = 0,
    also: Sequence[str] = (),
) -> Inputs:
    """Inputs from HR images and degradations, or ready-made ones, checked against the network.

    Args:
        images: (N,C,H,W) or (C,H,W) in [0, 1], a file's path, or a list of these; sides are cut to whole LR pixels.
            For networks over clips see `sr_hooks.images.as_clips`.
        degradations: as sr_hooks.degradations.parse_degradations takes them.
        degraded: instead of both, name to (N,C,h,w) or a list of (C,h,w), with `gt`.
        crop: side in HR pixels of the centre crop taken of images.
        clip: degraded inputs to [0, 1], as image files are; the paper's noise is not clipped.
        also: further degradations of the same images, for verification.

    Raises:
        OptionError: neither or both ways were taken, or a degradation is not understood.
        ImageError: an image of the wrong kind or range; ground truths and inputs that do not match in number or size.
    """
    if (degraded is None) == (images is None):
        raise OptionError(
            "give either images (HR) with degradations, or degraded={name: LR} with gt; not both, not neither"
        )
    if degraded is not None:
        return _ready_made(network, degraded, gt)
    if gt is not None:
        raise OptionError("gt goes with degraded=; images= are themselves the ground truth")
    chains = parse_degradations(degradations)
    extra = (
        [chain for chain in parse_degradations(list(also)) if chain.name not in {c.name for c in chains}]
        if also
        else []
    )
    chains = (*chains, *extra)
    scale = network.scale
    hrs = [_trim(image, scale, crop) for image in prepare_input(network, images, what="the HR image").images]
    rows = []
    for index, hr in enumerate(hrs):
        rows.append(tuple(make_lr(hr, chain, scale=scale, seed=seed, first=index, clip=clip) for chain in chains))
    truths = tuple(_returned(network, hr) for hr in hrs)
    return Inputs(tuple(chain.name for chain in chains), truths, tuple(rows))


def _returned(network: Network, hr: torch.Tensor) -> torch.Tensor:
    """Of a clip the frames that the network returns for it."""
    if hr.ndim == 4:
        return hr
    positions = network.returned_frames(hr.shape[1])
    if any(position != int(position) for position in positions):
        raise ImageError(
            f"{network.name} returns {len(positions)} frames for {hr.shape[1]}, at times between them, for which there "
            "is no ground truth: give degraded= with gt="
        )
    return hr[:, [int(position) for position in positions]]


def _trim(hr: torch.Tensor, scale: float, crop: int | None) -> torch.Tensor:
    height, width = hr.shape[-2:]
    if crop is not None:
        if crop > min(height, width):
            raise ImageError(
                f"crop is {crop} and the HR image {height}x{width} pixels: choose crop up to {min(height, width)}"
            )
        top, left = (height - crop) // 2, (width - crop) // 2
        hr = hr[..., top : top + crop, left : left + crop]
    sides = [round(int(side / scale) * scale) for side in hr.shape[-2:]]
    if min(sides) < 1:
        raise ImageError(f"an HR image of {height}x{width} pixels is too small for scale {scale:g}")
    return hr[..., : sides[0], : sides[1]].contiguous()


def _ready_made(network: Network, degraded: Mapping[str, Any], gt: Any) -> Inputs:
    if not isinstance(degraded, Mapping) or not degraded:
        raise OptionError("degraded must map a name to its inputs: degraded={'blur': tensor, 'noise': tensor}")
    if gt is None:
        raise OptionError("degraded= needs gt=, the ground truth of the same images")
    truths = read_images(network, gt, "the ground truth")
    columns = []
    for name, images in degraded.items():
        items = list(images) if isinstance(images, (list, tuple)) else [images]
        what = f"degraded[{name!r}]"
        lrs = [lr for item in items for lr in prepare_input(network, item, what=what, noisy=True).images]
        if len(lrs) != len(truths):
            raise ImageError(f"{what} has {len(lrs)} images and gt has {len(truths)}: they must go in pairs")
        for lr, truth in zip(lrs, truths, strict=True):
            expected, got = network.output_size(*lr.shape[-2:]), tuple(truth.shape[-2:])
            if expected != got:
                raise ImageError(
                    f"gt is {got[0]}x{got[1]} pixels, and {network.name} at scale {network.scale:g} makes "
                    f"{expected[0]}x{expected[1]} of {what}, which is {lr.shape[-2]}x{lr.shape[-1]}"
                )
        columns.append(lrs)
    if network.frames:
        counts = [len(network.returned_frames(lr.shape[1])) for lr in columns[0]]
        truths = [
            gt if gt.shape[1] == count else _returned(network, gt) for gt, count in zip(truths, counts, strict=True)
        ]
    return Inputs(tuple(map(str, degraded)), tuple(truths), tuple(zip(*columns, strict=True)))


def one_input_each(
    network: Network, images: Any, degradation: str, *, lr: Any = None, crop: int | None = None, seed: int = 0
) -> Inputs:
    """One input for each ground truth, clipped to [0, 1] as image files are: degraded here, or `lr` where it is given.

    Args:
        images: ground truth, as `make_inputs` takes images.
        degradation: e.g. "clean" or "blur:2"; with `lr` only the name of what that is.
        lr: ready-made inputs, (N,C,h,w) or a list of (C,h,w).
        crop: side in HR pixels of the centre crop taken of images that are degraded here.

    Raises:
        SRHooksError: as `make_inputs`.
    """
    if lr is not None:
        return make_inputs(network, None, (), degraded={degradation: lr}, gt=images)
    return make_inputs(network, images, (degradation,), crop=crop, clip=True, seed=seed)
