"""Networks of windowed attention have a cone that is theirs to rounding, or say what keeps it from them."""

from __future__ import annotations

import dataclasses
from importlib import import_module

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.analyses.lam import integration
from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT

SWIN = {"upscale": 2, "depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2}
DIRECT = {**SWIN, "upsampler": "pixelshuffledirect", "img_size": 16}
FINITE = {
    "SwinIR, windows of 5": ("SwinIR", {**DIRECT, "window_size": 5, "img_size": 10}, (61, 53)),
    "SwinIR, windows of 7": ("SwinIR", {**DIRECT, "window_size": 7, "img_size": 14}, (63, 53)),
    "SwinIR, windows of 8": ("SwinIR", {**DIRECT, "window_size": 8}, (61, 72)),
    "SwinIR, windows of 9": ("SwinIR", {**DIRECT, "window_size": 9, "img_size": 18}, (73, 65)),
    "Swin2SR": ("Swin2SR", {**DIRECT, "window_size": 8}, (61, 72)),
    "SRFormer": ("SRFormer", {**DIRECT, "window_size": 8}, (61, 72)),
    "DRCT": ("DRCT", {**DIRECT, "window_size": 8, "upsampler": "pixelshuffle", "gc": 4}, (93, 96)),
    "GRL": (
        "GRL",
        {
            "upscale": 2, "depths": [2], "embed_dim": 12, "img_size": 16, "mlp_ratio": 2, "window_size": 8,
            "num_heads_window": [1], "num_heads_stripe": [1], "stripe_size": [8, 8], "stripe_groups": [None, None],
            "anchor_window_down_factor": 2, "upsampler": "pixelshuffledirect",
        },
        (61, 72),
    ),
}  # fmt: skip
GLOBAL = {
    "HAT": (
        "HAT",
        {
            **SWIN, "img_size": 16, "window_size": 8, "compress_ratio": 3, "squeeze_factor": 6,
            "upsampler": "pixelshuffle",
        },
        "mean",
    ),
    "RGT": (
        "RGT",
        {
            "upscale": 2, "depth": [2], "embed_dim": 12, "num_heads": [2], "img_size": 16, "split_size": [8, 8],
            "mlp_ratio": 2.0, "c_ratio": 0.5,
        },
        "bmm",
    ),
    "CRAFT": ("CRAFT", {"embed_dim": 24, "depths": [2], "num_heads": [6], "upscale": 2}, "bmm"),
    "DAT": (
        "DAT",
        {
            "upscale": 2, "depth": [2], "embed_dim": 24, "num_heads": [2], "img_size": 16, "split_size": [8, 8],
            "upsampler": "pixelshuffledirect",
        },
        "",
    ),
    "OmniSR": ("OmniSR", {"num_feat": 16, "up_scale": 2}, "custom_function"),
}  # fmt: skip


def network_of(name: str, arguments: dict) -> sr_hooks.Network:
    extra = name == "SRFormer"
    package = "spandrel_extra_arches" if extra else "spandrel"
    pytest.importorskip(package)
    torch.manual_seed(0)
    module = getattr(import_module(f"{package}.architectures.{name}"), name)(**arguments)
    return sr_hooks.Network(module)


def both(name: str, arguments: dict, size: tuple[int, int], window: tuple[int, int, int]):
    """A LAM with the cone and one without, and how far they are apart."""
    network = network_of(name, arguments)
    lr = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    near, whole = (sr_hooks.lam(network, lr, window=window, steps=3, cone=cone) for cone in ("auto", "off"))
    return near.scalars["cone"], np.linalg.norm(near.attribution - whole.attribution) / np.linalg.norm(
        whole.attribution
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", FINITE)
def test_windows_of_attention_are_followed(case):
    name, arguments, size = FINITE[case]
    cone, off = both(name, arguments, size, (50, 60, 8))
    assert off < AGREEMENT
    assert cone["stops_at"] is None and cone["work"] < 0.7
    assert cone["input"]["height"] < size[0] and cone["input"]["width"] < size[1]


@pytest.mark.slow
@pytest.mark.parametrize("case", GLOBAL)
def test_what_pools_globally_says_so(case):
    name, arguments, reason = GLOBAL[case]
    cone, off = both(name, arguments, (48, 64), (40, 60, 8))
    assert off < AGREEMENT
    if isinstance(cone, str):
        assert cone.startswith("off: ") and (reason in cone or "nearly everything" in cone)
    else:
        assert reason in (cone["stops_at"] or "") and cone["input"] == {"top": 0, "left": 0, "height": 48, "width": 64}


@pytest.mark.slow
def test_a_window_at_the_border_costs_no_more_than_one_inside():
    """Shifted windows continue on the opposite side, of which a few rows are taken."""
    name, arguments, _ = FINITE["SwinIR, windows of 8"]
    inside, _ = both(name, arguments, (96, 96), (92, 92, 8))
    border, off = both(name, arguments, (96, 96), (0, 92, 8))
    assert off < AGREEMENT and border["work"] < 1.1 * inside["work"] < 0.5


@pytest.mark.slow
def test_views_of_weights_that_lie_channels_last(monkeypatch):
    """A calibration that finds channels last faster moves weights after a network's views were recorded."""
    name, arguments, size = FINITE["Swin2SR"]
    calibrated = integration.calibrate

    def channels_last(*args, **kwargs):
        return dataclasses.replace(calibrated(*args, **kwargs), channels_last=True)

    monkeypatch.setattr(integration, "calibrate", channels_last)
    cone, off = both(name, arguments, size, (50, 60, 8))
    assert off < AGREEMENT and cone["work"] < 0.7
