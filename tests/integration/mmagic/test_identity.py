"""Not one bit of a real mmagic training changes: 20 iterations with and without LAM, DDR and FAIG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sr_hooks
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on
from tests.integration.mmagic import mm_runs

pytestmark = mm_runs.needs_mmagic


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mm_runs.load_mmagic()
    return mm_runs.make_data(tmp_path_factory.mktemp("pictures"))


def block(*sinks: str) -> dict[str, Any]:
    common = {"every": 10, "budget": "off", "on_error": "raise"}
    return {"sinks": sinks, **{name: {**common, **own} for name, own in mm_runs.WATCHED.items()}}


AVERAGES: dict[str, list[dict[str, Any]]] = {
    "SRResNet": [{"type": "EMAHook", "momentum": 0.1}],
    "RealESRGAN": [{"type": "ExponentialMovingAverageHook", "module_keys": "generator_ema", "interval": 1,
                    "interp_cfg": {"momentum": 0.1}}],
}  # fmt: skip
CASES = [*mm_runs.GENERATORS, "SRGAN", "ESRGAN", "RealESRGAN"]


@pytest.mark.parametrize("case", CASES)
def test_bit_for_bit(case: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sinks = ["folder", "log"]
    if case == "SRResNet":
        sinks.append("tensorboard")
    else:  # drawing takes most of the time
        monkeypatch.setattr(sr_hooks.Result, "_draw", lambda self, path: False)
    is_gan = case not in mm_runs.GENERATORS

    def content(work: Path, hooks: list[Any]) -> dict[str, Any]:
        made = mm_runs.config(pictures, work, "SRResNet" if is_gan else case)
        made["custom_hooks"] = [*AVERAGES.get(case, []), *hooks]
        if case == "RealESRGAN":
            sharp = {"type": "CopyValues", "src_keys": ["gt"], "dst_keys": ["gt_unsharp"]}
            made["train_dataloader"]["dataset"]["pipeline"].insert(-1, sharp)
        return mm_runs.adversarial(made, case) if is_gan else made

    without = mm_runs.fingerprint(mm_runs.train(content(tmp_path / "plain", [])))
    runner = mm_runs.train(content(tmp_path / "watched", [mm_runs.hook(**block(*sinks))]))
    assert mm_runs.fingerprint(runner) == without
    entries = read_index(tmp_path / "watched/sr_hooks")
    which = "ema" if case in AVERAGES else "raw"
    seen = {(entry["analysis"], entry["iteration"], entry["network"]) for entry in entries}
    assert seen == {(name, iteration, which) for name in ("lam", "ddr", "faig") for iteration in (10, 20)}
    assert hooks_on(runner.model.generator) == 0 and "save_checkpoint" not in vars(runner)
    assert "run" not in vars(runner.train_loop)
