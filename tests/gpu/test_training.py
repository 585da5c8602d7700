"""A watched training is, bit for bit, the training without a watch: float32, mixed precision, compiled."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from shutil import which
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.demo.assets import demo_network
from tests.conftest import hooks_on

SIDE = 16


def train(device: torch.device, precision: str, compiled: bool, watch: dict[str, Any] | None) -> dict[str, str]:
    """SHA-256 of weights, optimizer and random streams after some steps."""
    torch.manual_seed(5)
    net = demo_network("baseline").module.train().to(device)
    run = torch.compile(net, backend=_backend(device)) if compiled else net
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    dtype = {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision, torch.float32)

    def steps() -> None:
        for _ in range(5):
            x = torch.rand(2, 3, SIDE, SIDE, device=device)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=dtype, enabled=precision != "float32"):
                loss = F.l1_loss(run(x), F.interpolate(x, scale_factor=4.0))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

    if watch is None:
        steps()
    else:
        with sr_hooks.watch(run, optimizer, sinks=["log"], **watch):
            steps()
    state = {
        "weights": list(net.state_dict().values()),
        "optimizer": [value for entry in optimizer.state.values() for value in entry.values()],
        "gradients": [parameter.grad for parameter in net.parameters()],
        "streams": [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])],
    }
    assert hooks_on(net) == 0
    return {name: hashlib.sha256(b"".join(_bytes(v) for v in values)).hexdigest() for name, values in state.items()}


def _backend(device: torch.device) -> str:
    """What compiles on this machine: inductor needs triton and a C compiler."""
    has_triton = find_spec("triton") is not None and which("gcc") is not None
    return "inductor" if device.type == "cuda" and has_triton else "aot_eager"


def _bytes(value: Any) -> bytes:
    return (
        value.detach().cpu().contiguous().numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
    )


@pytest.mark.parametrize(
    ("precision", "compiled"), [("float32", False), ("float16", False), ("bfloat16", False), ("bfloat16", True)]
)
def test_identical(device, deterministic, caplog, precision, compiled):
    if device.type == "cpu" and precision == "float16":
        pytest.skip("float16 convolutions are for a card")
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    every = {"every": 2, "budget": "off"}
    watch = {
        "lam": {"windows": [[20, 20, 16]], "steps": 5, **every},
        "ddr": {"patch": 32, "patches": 4, "tsne": 0, **every},
        "images": torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(2)),
    }
    watch["lam"] |= {"image": image}
    plain = train(device, precision, compiled, None)
    assert train(device, precision, compiled, None) == plain, "the training itself is repeatable"
    with caplog.at_level("INFO", logger="sr_hooks"):
        assert train(device, precision, compiled, watch) == plain
    assert "failed at" not in caplog.text and "disabled" not in caplog.text
