"""The real traiNNer-redux, where it is installed: its own train.py, watched; not one bit changes.

traiNNer-redux is on no package index. Clone it, install what its pyproject.toml names, and `pip install -e` the clone.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sr_hooks
from sr_hooks.cli import train as command
from tests.integration import hosts
from tests.integration.basicsr import runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("traiNNer") is None, reason="traiNNer-redux is not installed here (it is on no index)"
    ),
]

SCRIPT = Path(__file__).parent / "real_train.py"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "EMA": {"train": {"ema_decay": 0.9}},
    "AMP": {"use_amp": True, "amp_bf16": True, "train": {"ema_decay": 0.9}},
    "accumulation": {"datasets": {"train": {"accum_iter": 3}}, "train": {"ema_decay": 0.9}},
    "two optimizers": {
        "network_d": {"type": "unetdiscriminatorsn", "num_in_ch": 3, "num_feat": 4},
        "train": {
            "optim_d": {"type": "AdamW", "lr": 1e-3, "betas": [0.9, 0.99]},
            "losses": [
                {"type": "l1loss", "loss_weight": 1.0},
                {"type": "ganloss", "gan_type": "vanilla", "loss_weight": 0.1},
            ],
        },
    },
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    """The stand-ins of the other file have the same name."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)
    for name in [name for name in sys.modules if name.partition(".")[0] == "traiNNer"]:
        del sys.modules[name]


def options(data: Path, **changes: Any) -> dict[str, Any]:
    train = {"lq_size": 12, "batch_size_per_gpu": 2, "num_worker_per_gpu": 1, "dataset_enlarge_ratio": 40}
    content = {
        "name": "tiny",
        "scale": 2,
        "num_gpu": 0,
        "manual_seed": 7,
        "datasets": {
            "train": hosts.dataset(data, "train", "pairedimagedataset", **train),
            "val": hosts.dataset(data, "val", "pairedimagedataset"),
        },
        "network_g": {"type": "compact", "num_feat": 8, "num_conv": 2},
        "path": {},
        "train": {
            "ema_decay": 0,
            "total_iter": 10,
            "warmup_iter": -1,
            "optim_g": {"type": "AdamW", "lr": 1e-3, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [8], "gamma": 0.5},
            "losses": [{"type": "l1loss", "loss_weight": 1.0}],
        },
        "logger": {"print_freq": 5, "save_checkpoint_freq": 4, "use_tb_logger": False},
        "val": {"val_enabled": True, "val_freq": 4, "save_img": False, "metrics_enabled": False},
    }
    return runs.deep(content, changes)


write = hosts.write_with_block_beside
trained = functools.partial(hosts.trained, SCRIPT, "traiNNer")
"""The state at the end of the host's own pipeline."""


@pytest.mark.parametrize("kind", KINDS)
def test_bit_for_bit_by_the_bare_decorator(kind: str, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, **KINDS[kind])
    without = trained(write(content, tmp_path / "a"), tmp_path / "a")
    watched = write(content, tmp_path / "b", {"lam": hosts.LAM, "sinks": ["folder"]})
    assert trained(watched, tmp_path / "b", decorate=sr_hooks.analyze) == without
    which = "ema" if content["train"]["ema_decay"] else "raw"
    assert hosts.looked_at(tmp_path / "b") == [(3, which), (6, which), (9, which)]
    for ours in (tmp_path / "a", tmp_path / "b"):
        assert (ours / "experiments/tiny/models").is_dir()


def test_by_keywords_and_by_the_command_on_an_unedited_script(pictures: Path, tmp_path: Path) -> None:
    trained(write(options(pictures), tmp_path / "a"), tmp_path / "a",
            decorate=sr_hooks.analyze(lam=hosts.LAM, sinks=["folder"]))  # fmt: skip
    assert hosts.looked_at(tmp_path / "a") == [(3, "raw"), (6, "raw"), (9, "raw")]
    block = {"lam": {**hosts.LAM, "on_validation": True}, "sinks": ["folder"]}
    file = write(options(pictures), tmp_path / "b", block)
    status: list[int] = []
    hosts.run(lambda: status.append(command.main([str(SCRIPT), "-opt", str(file)])), tmp_path / "b")
    assert status == [0]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path / "b")] == [3, 4, 6, 8, 9, 10]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_resumed_runs_go_on_from_the_host_s_iteration(accumulate: int, pictures: Path, tmp_path: Path) -> None:
    content = options(pictures, datasets={"train": {"accum_iter": accumulate}}, train={"ema_decay": 0.9})
    block = {"lam": {**hosts.LAM, "every": 1}, "sinks": ["folder"]}
    states = []
    for folder, decorate in ((tmp_path / "a", None), (tmp_path / "b", sr_hooks.analyze)):
        trained(write(runs.deep(content, {"train": {"total_iter": 4}}), folder, block), folder)
        state = str(folder / "experiments/tiny/training_states/4.state")
        again = runs.deep(content, {"train": {"total_iter": 7}, "path": {"resume_state": state}})
        states.append(trained(write(again, folder, block), folder, decorate=decorate))
    assert states[0] == states[1]
    assert [iteration for iteration, _ in hosts.looked_at(tmp_path / "b")] == [5, 6, 7]


def test_the_average_is_the_network_inside_and_mistakes_stop_the_run(pictures: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    block = {"lam": {**hosts.LAM, "every": None, "at": [10]}, "sinks": ["folder"]}
    file = write(options(pictures, **KINDS["EMA"]), tmp_path / "a", block)
    trained(file, tmp_path / "a", decorate=sr_hooks.analyze)
    result = sr_hooks.load(tmp_path / "a/experiments/tiny/sr_hooks/10/lam")
    average = sr_hooks.Network(sys.modules["traiNNer.models"].BUILT[-1].net_g_ema.ema_model, scale=2)
    assert result.provenance["network"]["sha256"] == average.sha256()
    file = write(options(pictures), tmp_path / "b", {"lam": {"windowz": [[8, 8, 8]]}})
    with pytest.raises(sr_hooks.errors.RunStopped, match=r"sr_hooks\.yml: lam: unknown key 'windowz'"):
        trained(file, tmp_path / "b", decorate=sr_hooks.analyze)
    assert not list((tmp_path / "b").rglob("*.state"))
