"""Checkpoints as mmengine writes them, read without mmengine; and what is said where mmengine is not there."""

from __future__ import annotations

import builtins
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr_hooks import Network
from sr_hooks.cli.app import main as command_line
from sr_hooks.errors import CheckpointError, NetworkError
from sr_hooks.networks.loading.checkpoints import read_weights
from sr_hooks.networks.loading.mmengine_preprocessor import facts_of, order_of, transforms_of, white_of
from tests.support.networks import Tiny


@pytest.fixture
def log_buffer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An object that pickles as mmengine's HistoryBuffer does, whose module is gone when the file is read."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.history, self.mean = np.arange(3.0), getattr
            raised.append(True)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    raised: list[bool] = []
    for name in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, name, module if name == module.__name__ else types.ModuleType(name))
    return HistoryBuffer()


def checkpoint(path: Path, state: dict[str, torch.Tensor], **more: Any) -> Path:
    torch.save({"meta": {"iter": 7, "cfg": "text"}, "state_dict": state, **more}, path)
    return path


@pytest.mark.skipif(not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"), reason="torch before 2.6")
def test_the_log_is_passed_over(log_buffer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {f"generator.{name}": value for name, value in Tiny().state_dict().items()}
    path = checkpoint(tmp_path / "x.pth", state, message_hub={"log_scalars": {"loss": log_buffer, "k": np.float64(2)}})
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.delitem(sys.modules, name)
    read = read_weights(path)
    assert (read.key, read.prefix) == ("state_dict", "generator.")
    for name, value in Tiny().state_dict().items():
        assert torch.equal(read.state[name], value)
    assert "mmengine" not in sys.modules, "nothing of the file was imported"


class Hostile:
    def __reduce__(self) -> Any:
        return builtins.eval, ("1 + 1",)


def test_what_else_a_file_asks_for_is_refused(tmp_path: Path, log_buffer: Any) -> None:
    path = checkpoint(tmp_path / "x.pth", {"a": torch.ones(1)}, message_hub=log_buffer, more=Hostile())
    with pytest.raises(CheckpointError, match="refused: its pickle asks for"):
        read_weights(path)


def test_the_generator_of_a_whole_model(tmp_path: Path) -> None:
    raw, average = ({k: torch.full_like(v, fill) for k, v in Tiny().state_dict().items()} for fill in (1.0, 2.0))
    whole = {f"generator.{k}": v for k, v in raw.items()} | {"discriminator.conv.weight": torch.ones(2)}
    read = read_weights(checkpoint(tmp_path / "raw.pth", whole))
    assert read.prefix == "generator." and torch.equal(read.state["head.weight"], raw["head.weight"])
    both = whole | {f"generator_ema.{k}": v for k, v in average.items()} | {"step_counter": torch.tensor(3)}
    read = read_weights(checkpoint(tmp_path / "both.pth", both))
    assert read.prefix == "generator_ema." and torch.equal(read.state["head.weight"], average["head.weight"])
    assert read_weights(tmp_path / "both.pth", parts=["generator."]).state.keys() == raw.keys()
    other = {f"generator.{k}": v for k, v in raw.items()} | {"encoder.weight": torch.ones(2)}
    assert read_weights(checkpoint(tmp_path / "other.pth", other)).prefix == "", "somebody else's generator"


LOADING = [{"type": "LoadImageFromFile", "key": "gt"}, {"type": "mmagic.LoadImageFromFile", "key": "img",
           "channel_order": "rgb"}]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "order", "white"),
    [
        ({}, None, None),
        ({"train_dataloader": {"dataset": {"pipeline": LOADING}}}, "rgb", 255.0),
        ({"train_dataloader": {"dataset": {"type": "Twice", "dataset": {"pipeline": LOADING[:1]}}}}, "bgr", 255.0),
        ({"val_dataloader": [{"dataset": {"pipeline": [*LOADING, {"type": "RescaleToZeroOne"}]}}]}, "rgb", 1.0),
        ({"train_dataloader": {}, "test_dataloader": {"dataset": {"pipeline": LOADING}}}, "rgb", 255.0),
        ({"train_dataloader": {"dataset": {"pipeline": [{"type": "ToTensor"}]}}}, None, None),
    ],
)  # fmt: skip
def test_what_a_pipeline_loads(config: dict[str, Any], order: str | None, white: float | None) -> None:
    transforms = transforms_of(config)
    assert (order_of(transforms), white_of(transforms)) == (order, white)
    facts = facts_of(None, transforms)
    assert facts.get("input_range") == white and facts["bgr"] == (order == "bgr")


def test_datasets_inside_datasets() -> None:
    inner = types.SimpleNamespace(pipeline=types.SimpleNamespace(transforms=LOADING))
    wrapped = types.SimpleNamespace(dataset=types.SimpleNamespace(datasets=[inner]))
    assert transforms_of(wrapped) == LOADING and transforms_of(object()) == []


@pytest.mark.skipif(importlib.util.find_spec("mmengine") is not None, reason="mmengine is installed here")
def test_without_mmengine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "edsr.py"
    config.write_text("model = dict()\n")
    with pytest.raises(NetworkError, match=r"mmengine cannot be imported .*docs/mmagic.md"):
        Network.from_mmagic(config)
    assert command_line(["layers", "--model", str(config)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
