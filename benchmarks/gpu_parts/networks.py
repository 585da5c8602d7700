"""The networks of benchmarks/gpu.py, with random weights from a seed where no weights are at hand, and photographs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image

REPOSITORY = Path(__file__).resolve().parents[2]

_SWINIR = {
    "upscale": 4, "img_size": 64, "window_size": 8, "embed_dim": 60, "mlp_ratio": 2,
    "upsampler": "pixelshuffledirect",
}  # fmt: skip
_HAT = {
    "upscale": 4, "in_chans": 3, "img_size": 64, "window_size": 16, "squeeze_factor": 24, "compress_ratio": 24,
    "conv_scale": 0.01, "overlap_ratio": 0.5, "mlp_ratio": 2, "upsampler": "pixelshuffle",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network of the table: how it is built, as it is and small for a quick run."""

    name: str
    architecture: str
    arguments: Mapping[str, Any]
    small: Mapping[str, Any]


CASES = (
    Case("MSRResNet x2", "MSRResNet", {"upscale": 2}, {"num_feat": 16, "num_block": 3}),
    Case("MSRResNet x4", "MSRResNet", {"upscale": 4}, {"num_feat": 16, "num_block": 3}),
    Case(
        "EDSR-M",
        "EDSR",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 4},
        {"num_feat": 16, "num_block": 3},
    ),
    Case(
        "RCAN",
        "RCAN",
        {"num_in_ch": 3, "num_out_ch": 3, "num_group": 10, "num_block": 20, "upscale": 4},
        {"num_group": 2, "num_block": 2, "num_feat": 16},
    ),
    Case(
        "SwinIR light",
        "SwinIR",
        {**_SWINIR, "depths": [6] * 4, "num_heads": [6] * 4},
        {"depths": [2] * 2, "num_heads": [2] * 2, "embed_dim": 12},
    ),
    Case(
        "RRDBNet",
        "RRDBNet",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23, "scale": 4},
        {"num_feat": 16, "num_block": 2, "num_grow_ch": 8},
    ),
    Case(
        "HAT-S-like",
        "HAT",
        {**_HAT, "embed_dim": 144, "depths": [6] * 6, "num_heads": [6] * 6},
        {"depths": [2], "num_heads": [2], "embed_dim": 24, "window_size": 8, "squeeze_factor": 4, "compress_ratio": 4},
    ),
)


def data_folder() -> Path | None:
    """The development data (SR_HOOKS_DATA, or shared/data beside or in the repository), where it is at hand."""
    named = os.environ.get("SR_HOOKS_DATA")
    for folder in [Path(named)] if named else [REPOSITORY.parent / "shared/data", REPOSITORY / "shared/data"]:
        if (folder / "weights").is_dir():
            return folder
    return None


def build(case: Case, device: torch.device, *, quick: bool) -> sr_hooks.Network:
    """The network on the device, under its name in the table."""
    arguments = {**case.arguments, **(case.small if quick else {})}
    torch.manual_seed(0)
    folder = data_folder()
    if case.name == "MSRResNet x2" and not quick and folder is not None:
        network = msrresnet(arguments, folder / "weights/msrresnet_x2_baseline.pth")
    elif case.architecture == "HAT":
        network = _hat(arguments)
    elif case.architecture == "MSRResNet":
        network = msrresnet(arguments, None)
    else:
        network = sr_hooks.Network.from_basicsr(case.architecture, arguments)
    network.name = case.name
    network.module.eval()
    return network.to(device)


def msrresnet(arguments: Mapping[str, Any], weights: Path | None) -> sr_hooks.Network:
    """BasicSR's MSRResNet, or its twin where BasicSR is not installed."""
    if find_spec("basicsr") is not None:
        return sr_hooks.Network.from_basicsr("MSRResNet", dict(arguments), weights=weights)
    target = f"{Path(__file__).with_name('msrresnet.py')}:MSRResNet"
    return sr_hooks.Network.from_import(target, dict(arguments), weights=weights)


def _hat(arguments: Mapping[str, Any]) -> sr_hooks.Network:
    from spandrel.architectures.HAT import HAT

    window = int(arguments["window_size"])
    return sr_hooks.Network(HAT(**arguments), scale=4, multiple=window, channels=3, input_range=1)


def pair(device: torch.device, *, quick: bool) -> tuple[sr_hooks.Network, sr_hooks.Network, str]:
    """Two states of MSRResNet x2 for FAIG, and where their weights are from."""
    folder = data_folder()
    arguments = {"upscale": 2, **({"num_feat": 16, "num_block": 3} if quick else {})}
    if folder is not None and not quick:
        files = [folder / f"weights/msrresnet_x2_{state}.pth" for state in ("baseline", "target")]
        networks = [msrresnet(arguments, file).to(device) for file in files]
        return networks[0], networks[1], "shared weights"
    torch.manual_seed(0)
    first, second = msrresnet(arguments, None), msrresnet(arguments, None)
    second.module.load_state_dict(
        {k: v + 0.05 * v.std() * torch.randn_like(v) for k, v in first.module.state_dict().items()}
    )
    return first.to(device), second.to(device), "random weights"


def photo(side: int, number: int = 0) -> torch.Tensor:
    """(1,3,side,side) of a shipped photograph, shifted by the number so that many differ."""
    files = photographs()
    image = read_image(files[number % len(files)])
    room = min(image.shape[-2:]) - side
    top, left = (37 * number) % (room + 1), (53 * number) % (room + 1)
    return image[..., top : top + side, left : left + side].contiguous()


def lr_photo(network: sr_hooks.Network, side: int, number: int = 0) -> torch.Tensor:
    """A network's input of side x side pixels; from a photograph shrunk by the scale where one is large enough."""
    scale = int(network.scale)
    if side * scale > 256:
        return photo(side, number)
    return downsample(photo(side * scale, number), scale)
