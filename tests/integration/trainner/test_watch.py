"""traiNNer-redux is watched by the bare decorator and by a file beside its option file; not one bit changes."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sr_hooks
from sr_hooks.cli import train as command
from tests.integration import hosts
from tests.integration.basicsr import runs

STANDIN = Path(__file__).parent / "standin"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"train": {"ema_decay": 0.9}},
    "AMP": {"use_amp": True, "amp_bf16": True},
    "accumulation": {"datasets": {"train": {"accum_iter": 3}}, "train": {"ema_decay": 0.9}},
    "two optimizers": {"network_d": {"type": "unet"}, "train": {"optim_d": {"type": "Adam", "lr": 1e-3}}},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def _redux() -> Iterator[None]:
    with hosts.importable(STANDIN, "traiNNer"):
        yield


def options(data: Path, **changes: Any) -> dict[str, Any]:
    content = {
        "name": "tiny",
        "scale": 2,
        "manual_seed": 7,
        "datasets": {
            "train": hosts.dataset(data, "train", "PairedImageDataset", batch_size_per_gpu=2, lq_size=12),
            "val": hosts.dataset(data, "val", "PairedImageDataset"),
        },
        "network_g": {"type": "net"},
        "path": {},
        "train": {"total_iter": 7, "optim_g": {"type": "Adam", "lr": 1e-3}},
        "logger": {"save_checkpoint_freq": 4},
        "val": {"val_freq": 4},
    }
    return runs.deep(content, changes)


write = hosts.write_with_block_beside
trained = functools.partial(hosts.trained, STANDIN / "train.py", "traiNNer")
"""The state at the end of the host's own pipeline."""


@pytest.mark.parametrize("kind", KINDS)
def test_bit_for_bit_by_the_bare_decorator(kind: str, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, **KINDS[kind])
    without = trained(write(content, tmp_path / "a"), tmp_path / "a")
    watched = write(content, tmp_path / "b", {"lam": hosts.LAM, "sinks": ["folder"]})
    assert trained(watched, tmp_path / "b", decorate=sr_hooks.analyze) == without
    which = "ema" if "ema_decay" in content["train"] else "raw"
    assert hosts.looked_at(tmp_path / "b") == [(3, which), (6, which)]


def test_the_average_that_is_analysed_is_the_network_inside(pictures: Path, tmp_path: Path) -> None:
    block = {"lam": {**hosts.LAM, "every": None, "at": [7]}, "sinks": ["folder"]}
    file = write(options(pictures, **KINDS["EMA"]), tmp_path, block)
    trained(file, tmp_path, decorate=sr_hooks.analyze)
    result = sr_hooks.load(tmp_path / "experiments/tiny/sr_hooks/7/lam")
    model = sys.modules["traiNNer.models"].BUILT[-1]
    average = sr_hooks.Network(model.net_g_ema.ema_model, scale=2)
    assert result.provenance["network"]["sha256"] == average.sha256()


def test_by_keywords_and_by_a_config(pictures: Path, tmp_path: Path) -> None:
    file = write(options(pictures), tmp_path / "a")
    trained(file, tmp_path / "a", decorate=sr_hooks.analyze(lam=hosts.LAM, sinks=["folder"]))
    assert hosts.looked_at(tmp_path / "a") == [(3, "raw"), (6, "raw")]
    config = tmp_path / "watch.yml"
    config.write_text(yaml.safe_dump({"sr_hooks": {"lam": hosts.LAM, "sinks": ["folder"]}}))
    trained(write(options(pictures), tmp_path / "b"), tmp_path / "b", decorate=sr_hooks.analyze(config=config))
    assert hosts.looked_at(tmp_path / "b") == [(3, "raw"), (6, "raw")]


def test_by_the_command_on_an_unedited_script(pictures: Path, tmp_path: Path) -> None:
    """The script imports traiNNer only after the watch has begun."""
    file = write(options(pictures), tmp_path, {"lam": {**hosts.LAM, "on_validation": True}, "sinks": ["folder"]})
    status: list[int] = []
    hosts.run(lambda: status.append(command.main([str(STANDIN / "train.py"), "-opt", str(file)])), tmp_path)
    assert status == [0]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path)] == [3, 4, 6, 7]
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("sr_hooks")]
    base = sys.modules["traiNNer.models.base_model"].BaseModel
    assert not hasattr(base.__init__, "__wrapped__")


def test_a_mistake_in_the_file_beside_stops_the_run_before_its_first_step(pictures: Path, tmp_path: Path) -> None:
    file = write(options(pictures), tmp_path, {"lam": {"windowz": [[8, 8, 8]]}})
    with pytest.raises(sr_hooks.errors.RunStopped, match=r"sr_hooks\.yml: lam: unknown key 'windowz'"):
        trained(file, tmp_path, decorate=sr_hooks.analyze)
    assert sys.modules["traiNNer.models"].BUILT[-1:] == [] or not list((tmp_path).rglob("*.state"))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resumed_runs_go_on_from_the_host_s_iteration(accumulate: int, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, datasets={"train": {"accum_iter": accumulate}})
    block = {"lam": {**hosts.LAM, "every": 1}, "sinks": ["folder"]}
    trained(write({**content, "train": {**content["train"], "total_iter": 4}}, tmp_path, block), tmp_path,
            decorate=sr_hooks.analyze)  # fmt: skip
    state = tmp_path / "experiments/tiny/models/4.state"
    states = []
    for name, decorate in (("a", None), ("b", sr_hooks.analyze)):
        again = {**content, "path": {"resume_state": str(state)}}
        states.append(trained(write(again, tmp_path / name, block), tmp_path / name, decorate=decorate))
    assert states[0] == states[1]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path / "b")] == [5, 6, 7]


def test_messages_go_to_the_host_s_own_logger(pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = write(options(pictures), tmp_path, {"lam": hosts.LAM, "sinks": ["folder"]})
    trained(file, tmp_path, decorate=sr_hooks.analyze)
    names = {record.name for record in caplog.records if "watching lam" in record.getMessage()}
    assert names == {"traiNNer.sr_hooks"}
