"""neosr is watched by the bare decorator and by its own TOML option files; not one bit changes.

The real neosr 0.1.0 where it is installed, else stand-ins with the same shapes of classes.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

import sr_hooks
from sr_hooks.cli import train as command
from tests.integration import hosts
from tests.integration.basicsr import runs

HERE = Path(__file__).parent
IS_REAL = importlib.util.find_spec("neosr") is not None
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"train": {"ema": 0.9}},
    "AMP": {"use_amp": True, "bfloat16": True},
    "accumulation": {"datasets": {"train": {"accumulate": 4}}, "train": {"ema": 0.9}},
    "two optimizers": {
        "network_d": {"type": "unet", "num_feat": 4},
        "train": {"optim_d": {"type": "adam", "lr": 1e-3}, "gan_opt": {"type": "gan_loss", "gan_type": "bce"}},
    },
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def _neosr() -> Iterator[None]:
    with nullcontext() if IS_REAL else hosts.importable(HERE / "standin", "neosr"):
        yield


def options(data: Path, **changes: Any) -> dict[str, Any]:
    content = {
        "name": "tiny",
        "model_type": "image",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 7,
        "datasets": {
            "train": hosts.dataset(data, "train", "paired", batch_size=2, patch_size=12),
            "val": hosts.dataset(data, "val", "paired"),
        },
        "network_g": {"type": "compact", "num_feat": 8, "num_conv": 2, "upscale": 2},
        "path": {},
        "train": {
            "optim_g": {"type": "adam", "lr": 1e-3},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0},
            "scheduler": {"type": "multisteplr", "milestones": [3], "gamma": 0.5},
        },
        "logger": {"total_iter": 7, "save_checkpoint_freq": 4},
        "val": {"val_freq": 4, "pbar": False, "save_img": False},
    }
    content = runs.deep(content, changes)
    if "ema" not in content["train"]:
        content["val"]["val_freq"] = 100  # 0.1.0 fails at a validation without an average
    return content


def write(content: dict[str, Any], folder: Path, block: Any = None) -> Path:
    """The option file, with the block inside: neosr leaves tables that it does not know alone."""
    file = folder / "options/tiny.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(hosts.toml(content if block is None else {**content, "sr_hooks": block}))
    return file


trained = functools.partial(hosts.trained, HERE / "train.py", "neosr")
"""The state at the end of the host's own pipeline."""


@pytest.mark.parametrize("kind", KINDS)
def test_bit_for_bit_by_the_option_file(kind: str, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, **KINDS[kind])
    without = trained(write(content, tmp_path / "a"), tmp_path / "a")
    watched = write(content, tmp_path / "b", {"lam": hosts.LAM, "sinks": ["folder"]})
    assert trained(watched, tmp_path / "b", decorate=sr_hooks.analyze) == without
    which = "ema" if "ema" in content["train"] else "raw"
    assert hosts.looked_at(tmp_path / "b") == [(3, which), (6, which)]


def test_the_average_that_is_analysed_is_the_network_inside(pictures: Path, tmp_path: Path) -> None:
    block = {"lam": {"windows": [[8, 8, 8]], "steps": 5, "at": [7]}, "sinks": ["folder"]}
    trained(write(options(pictures, **KINDS["EMA"]), tmp_path, block), tmp_path, decorate=sr_hooks.analyze)
    result = sr_hooks.load(tmp_path / "experiments/tiny/sr_hooks/7/lam")
    model = sys.modules["neosr.models"].BUILT[-1]
    assert result.provenance["network"]["sha256"] == sr_hooks.Network(model.net_g_ema.module, scale=2).sha256()


def test_by_keywords_and_by_a_file_beside(pictures: Path, tmp_path: Path) -> None:
    file = write(options(pictures), tmp_path / "a")
    trained(file, tmp_path / "a", decorate=sr_hooks.analyze(lam=hosts.LAM, sinks=["folder"]))
    assert hosts.looked_at(tmp_path / "a") == [(3, "raw"), (6, "raw")]
    file = write(options(pictures), tmp_path / "b")
    file.with_name("sr_hooks.yml").write_text(yaml.safe_dump({"lam": hosts.LAM, "sinks": ["folder"]}))
    trained(file, tmp_path / "b", decorate=sr_hooks.analyze)
    assert hosts.looked_at(tmp_path / "b") == [(3, "raw"), (6, "raw")]


def test_by_the_command_on_an_unedited_script(pictures: Path, tmp_path: Path) -> None:
    block = {"lam": {**hosts.LAM, "on_validation": True}, "sinks": ["folder"]}
    file = write(options(pictures, **KINDS["EMA"]), tmp_path, block)
    status: list[int] = []
    hosts.run(lambda: status.append(command.main([str(HERE / "train.py"), "-opt", str(file)])), tmp_path)
    assert status == [0]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path)] == [3, 4, 6]


def test_the_command_says_what_is_wrong_in_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(options(pictures), tmp_path, {"lam": {"windowz": [[8, 8, 8]]}})
    assert command.main([str(HERE / "train.py"), "-opt", str(file)]) == 2
    assert f"{file}: sr_hooks: lam: unknown key 'windowz'" in capsys.readouterr().err
    assert command.main(["-opt", str(write(options(pictures), tmp_path))]) == 2
    assert "BasicSR reads no TOML: give the training script" in capsys.readouterr().err


@pytest.mark.parametrize("accumulate", [1, 4])
def test_resumed_runs_go_on_from_the_host_s_iteration(accumulate: int, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, datasets={"train": {"accumulate": accumulate}})
    block = {"lam": {**hosts.LAM, "every": 1}, "sinks": ["folder"]}
    states = []
    for folder, first, second in ((tmp_path / "a", None, None), (tmp_path / "b", None, sr_hooks.analyze)):
        short = {**content, "logger": {**content["logger"], "total_iter": 4}}
        trained(write(short, folder, block), folder, decorate=first)
        states.append(trained(write(content, folder, block), folder, "--auto_resume", decorate=second))
    assert states[0] == states[1]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path / "b")] == [5, 6, 7]
