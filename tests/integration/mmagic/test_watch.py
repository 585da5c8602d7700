"""Watching a real mmagic training: doors, what is written where, averages, resuming, faults, messages."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks import Network
from sr_hooks.cli.app import main as command_line
from sr_hooks.errors import RunStopped
from sr_hooks.networks.loading.checkpoints import sha256_of_weights
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on
from tests.integration.mmagic import mm_runs

pytestmark = mm_runs.needs_mmagic

LAM = {"windows": [[10, 12, 8]], "steps": 5, "budget": "off"}
DDR = {**mm_runs.WATCHED["ddr"], "budget": "off"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mm_runs.load_mmagic()
    return mm_runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def content(pictures: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def make(*hooks: Any, work: str = "run", **changes: Any) -> dict[str, Any]:
        made = mm_runs.config(pictures, tmp_path / work, **changes)
        made["custom_hooks"] = list(hooks)
        return made

    return make


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time, and is looked at in one test."""
    if request.node.name != "test_visualizer":
        monkeypatch.setattr(sr_hooks.Result, "_draw", lambda self, path: False)


def hook(**block: Any) -> dict[str, Any]:
    return mm_runs.hook(**{"sinks": ["folder", "log"], **block})


def seen(folder: Path) -> list[tuple[int, str, str]]:
    return [(entry["iteration"], entry["analysis"], entry["network"]) for entry in read_index(folder / "sr_hooks")]


def test_all_doors_one_answer(content: Callable[..., Any], tmp_path: Path, pictures: Path) -> None:
    """Of a network that is taught on BGR, mean and std: the map is in the image's pixels through every door."""
    lam = {**LAM, "at": 20}
    numbers = {"mean": [103.5, 116.3, 123.7], "std": [57.4, 57.1, 58.4]}
    content = functools.partial(content, order="bgr", model={"data_preprocessor": numbers})
    runner = mm_runs.train(content(hook(lam=lam), work="hook"), tmp_path / "with_hook.py")
    mm_runs.train(content(mm_runs.hook(), work="cfg", sr_hooks={"lam": lam}))
    sr_hooks.analyze(mm_runs.train)(content(work="decorator", sr_hooks={"lam": {**LAM, "at": 7}, "seed": 3}))
    sr_hooks.analyze(lam=lam)(mm_runs.train)(content(work="keywords", sr_hooks={"lam": {"steps": 9}}))
    assert seen(tmp_path / "decorator") == [(7, "lam", "raw")]
    answers = {door: sr_hooks.load(tmp_path / door / "sr_hooks/20/lam") for door in ("hook", "cfg", "keywords")}

    image = str(pictures / "x2/val/lq/004.png")
    checkpoint = str(tmp_path / "hook/iter_20.pth")
    asked = ["--window", "10", "12", "8", "--steps", "5", "--out", str(tmp_path / "cli")]
    model = ["--model", str(tmp_path / "with_hook.py"), "--weights", checkpoint]
    assert command_line(["lam", *model, "--image", image, *asked]) == 0
    answers["command line"] = sr_hooks.load(tmp_path / "cli")
    network = Network.from_mmagic(tmp_path / "with_hook.py", checkpoint)
    answers["python"] = sr_hooks.lam(network, sr_hooks.images.read_image(image), window=(10, 12, 8), steps=5)
    for door, answer in answers.items():
        for name, array in answers["hook"].arrays.items():
            np.testing.assert_array_equal(answer.arrays[name], array, err_msg=f"{name} through {door}")
        found = answer.provenance["network"]
        assert found["sha256"] == sha256_of_weights(runner.model.generator), door
        assert found["bgr"] is True and found["mean"] == pytest.approx([v / 255 for v in numbers["mean"]]), door
    assert not hasattr(type(runner).train, "__wrapped__"), "the decorator has put Runner.train back"


def test_other_analyses_on_the_command_line(content: Callable[..., Any], tmp_path: Path, pictures: Path) -> None:
    mm_runs.train(mm_runs.adversarial(content(), "SRGAN"), tmp_path / "x.py")
    first, last = (str(tmp_path / f"run/iter_{i}.pth") for i in (10, 20))
    photos = [str(pictures / f"x2/val/gt/{number}.png") for number in ("004", "005")]
    model = ["--model", str(tmp_path / "x.py"), "--weights", last, "--image", *photos]
    small = ["--patch", "16", "--patches", "8", "--components", "4", "--permutations", "9", "--tsne", "0"]
    assert command_line(["ddr", *model, *small, "--out", str(tmp_path / "ddr")]) == 0
    assert command_line(["faig", *model, "--baseline", first, "--crop", "24", "--out", str(tmp_path / "faig")]) == 0
    faig = sr_hooks.load(tmp_path / "faig")
    shas = [Network.from_mmagic(tmp_path / "x.py", file).sha256() for file in (first, last)]
    assert [faig.provenance[name]["sha256"] for name in ("baseline", "network")] == shas and shas[0] != shas[1]
    assert command_line(["layers", *model[:4]]) == 0


def test_visualizer(content: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    backends = [{"type": "mmengine.LocalVisBackend"}, {"type": "mmengine.TensorboardVisBackend"}]
    visualizer = {"type": "mmengine.Visualizer", "vis_backends": backends}
    runner = mm_runs.train(content(mm_runs.hook(lam={**LAM, "every": 10}), visualizer=visualizer))
    place = Path(runner.log_dir) / "vis_data"
    stored = {i: sr_hooks.load(tmp_path / f"run/sr_hooks/{i}/lam").diffusion_index for i in (10, 20)}
    lines = [json.loads(line) for line in (place / "scalars.json").read_text().splitlines()]
    name = "sr_hooks/lam/diffusion_index"
    assert {line["step"]: line[name] for line in lines if name in line} == pytest.approx(stored)
    assert sorted(path.name for path in (place / "vis_image").glob("sr_hooks*")) == [
        "sr_hooks_lam_figure_10.png",
        "sr_hooks_lam_figure_20.png",
    ]
    events = EventAccumulator(str(next(place.glob("events*"))), size_guidance={"images": 0})
    events.Reload()
    assert {event.step: event.value for event in events.Scalars(name)} == pytest.approx(stored)
    pictures = events.Images("sr_hooks_lam_figure")
    assert [event.step for event in pictures] == [10, 20] and pictures[0].width > 500
    assert "loss" in events.Tags()["scalars"], "the run's own are there as well"


class Witness:
    """Notes, independently of us, which weights stand where at each event of the run."""

    @staticmethod
    def make() -> Any:
        from mmengine.hooks import Hook

        class Noting(Hook):
            priority = "VERY_LOW"
            average: Callable[[Any], torch.nn.Module]

            def __init__(self) -> None:
                self.raw: dict[int, str] = {}
                self.ema: dict[int, str] = {}
                self.validating: dict[int, str] = {}

            def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
                self.raw[runner.iter + 1] = sha256_of_weights(runner.model.generator)
                self.ema[runner.iter + 1] = sha256_of_weights(self.average(runner))

            def before_val_iter(self, runner: Any, *_: Any, **__: Any) -> None:
                self.validating[runner.iter] = sha256_of_weights(runner.model.generator)

        return Noting()


@pytest.mark.parametrize("kind", ["EMAHook", "generator_ema"])
def test_which_weights_were_seen(content: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    always = {"every": 4, "on_validation": True}
    asked = hook(lam={**LAM, **always}, ddr={**DDR, **always, "network": "raw"})
    witness = Witness.make()
    if kind == "EMAHook":
        average: Any = {"type": "EMAHook", "momentum": 0.3, "begin_iter": 3}
        type(witness).average = lambda self, runner: next(
            each.ema_model.module.generator for each in runner.hooks if hasattr(each, "ema_model")
        )
    else:
        average = {"type": "ExponentialMovingAverageHook", "module_keys": "generator_ema", "interval": 1}
        type(witness).average = lambda self, runner: runner.model.generator_ema
    runner = mm_runs.build(content(asked, average))
    runner.register_hook(witness)
    runner.train()
    entries = read_index(tmp_path / "run/sr_hooks")
    assert {entry["iteration"] for entry in entries} == {4, 8, 10, 12, 16, 20}
    for entry in entries:
        result = sr_hooks.load(tmp_path / "run/sr_hooks" / entry["folder"])
        which = {"lam": "ema", "ddr": "raw"}[entry["analysis"]]
        assert entry["network"] == result.provenance["watch"]["network"] == which
        assert result.provenance["network"]["sha256"] == getattr(witness, which)[entry["iteration"]], entry
    assert witness.ema[20] != witness.raw[20]
    used = witness.ema if kind == "EMAHook" else witness.raw
    assert witness.validating == {i: used[i] for i in (10, 20)}, "EMAHook exchanges them while it validates"


def test_averages_in_a_checkpoint(content: Callable[..., Any], tmp_path: Path) -> None:
    witness = Witness.make()
    type(witness).average = lambda self, runner: runner.hooks[3].ema_model.module.generator
    runner = mm_runs.build(content({"type": "EMAHook", "momentum": 0.3}), tmp_path / "x.py")
    runner.register_hook(witness)
    runner.train()
    checkpoint = tmp_path / "run/iter_20.pth"
    assert Network.from_mmagic(tmp_path / "x.py", checkpoint).sha256() == witness.ema[20]
    assert Network.from_mmagic(tmp_path / "x.py", checkpoint, ema=False).sha256() == witness.raw[20]
    network = Network.from_mmagic(tmp_path / "x.py", tmp_path / "run/iter_10.pth")
    assert network.sha256() == witness.ema[10]
    network.save(tmp_path / "saved.pth")
    saved = torch.load(tmp_path / "saved.pth")
    assert saved["state_dict"].keys() == runner.model.state_dict().keys(), "in the layout that mmengine loads"
    assert Network.from_mmagic(tmp_path / "x.py", tmp_path / "saved.pth").sha256() == witness.ema[10]


def test_resuming(content: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # mmengine's own loading needs it since torch 2.6
    faig = {**mm_runs.WATCHED["faig"], "budget": "off", "every": 5, "probes": False}
    mm_runs.train(content(hook(faig=faig), train_cfg={"max_iters": 10}))
    mm_runs.train(content(hook(faig=faig), resume=True))
    assert seen(tmp_path / "run") == [(i, "faig", "raw") for i in (5, 10, 15, 20)]
    runs = [entry["run"] for entry in read_index(tmp_path / "run/sr_hooks")]
    steps = [sr_hooks.load(tmp_path / f"run/sr_hooks/{i}/faig").steps for i in (5, 10, 15, 20)]
    assert runs == [0, 0, 1, 1] and steps == [5, 10, 15, 20], "the sums go on from the checkpoint's"


def test_epochs(content: Callable[..., Any], tmp_path: Path) -> None:
    made = content(hook(lam={**LAM, "every": 3, "on_validation": True, "at_end": True}))
    made["train_cfg"] = {"type": "EpochBasedTrainLoop", "max_epochs": 4, "val_interval": 2}
    made["default_hooks"]["checkpoint"] = {"type": "CheckpointHook", "interval": 2}
    made["train_dataloader"]["sampler"]["type"] = "DefaultSampler"
    mm_runs.train(made)  # 4 images, batches of 2: 2 iterations an epoch
    assert [iteration for iteration, _, _ in seen(tmp_path / "run")] == [3, 4, 6, 8]


class TestFaults:
    def test_an_exception_inside_an_analysis(
        self, content: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sr_hooks.analyses.lam.analysis import Lam

        def broken(*_: Any) -> None:
            raise TypeError("a fault in the analysis")

        plain = mm_runs.fingerprint(mm_runs.train(content(work="plain")))
        monkeypatch.setattr(Lam, "run", broken)
        said: list[str] = []
        runner = mm_runs.build(content(hook(lam={**LAM, "every": 5}, ddr={**DDR, "at": 20})))
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        runner.logger.addHandler(handler)
        runner.train()
        assert mm_runs.fingerprint(runner) == plain
        assert seen(tmp_path / "run") == [(20, "ddr", "raw")]
        faults = [line for line in said if "a fault in the analysis" in line]
        assert len(faults) == 3 and "disabled" in faults[-1], "and not called again"

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_nothing_is_left_when_training_breaks(
        self, content: Callable[..., Any], error: type[BaseException]
    ) -> None:
        from mmengine.hooks import Hook

        class Breaking(Hook):
            def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
                if runner.iter == 6:
                    raise error

        faig = {**mm_runs.WATCHED["faig"], "budget": "off", "every": 5}
        runner = mm_runs.build(content(hook(lam={**LAM, "every": 5}, faig=faig)))
        runner.register_hook(Breaking())
        with pytest.raises(error):
            runner.train()
        optimizer = runner.optim_wrapper.optimizer
        assert hooks_on(runner.model) == 0 and "save_checkpoint" not in vars(runner)
        assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks

    @pytest.mark.parametrize(
        ("block", "words"),
        [
            ({"lamm": {}}, ["x.py: custom_hooks: SRHooks", "'lamm'", "lam"]),
            ({"lam": {**LAM, "evry": 4}}, ["SRHooks: lam", "'evry'", "every"]),
            ({"lam": {**LAM, "windows": [[90, 0, 8]]}}, ["SRHooks: lam", "window", "48 pixels high"]),
            ({"lam": {**LAM, "network": "ema"}}, ["SRHooks: lam", "ema", "raw"]),
            ({"lam": LAM, "network": "generater"}, ["'generater'", "generator", "path.to.submodule"]),
            ({"lam": LAM, "facts": {"rgb": True}}, ["facts", "'rgb'", "bgr"]),
            ({"ddr": {**DDR, "layers": ["trunk.0"]}}, ["SRHooks: ddr", "'trunk.0'", "trunk_net.0"]),
        ],
    )
    def test_a_malformed_block_stops_before_training(
        self, content: Callable[..., Any], tmp_path: Path, block: Any, words: list[str]
    ) -> None:
        runner = mm_runs.build(content(hook(**block)), tmp_path / "x.py")
        with pytest.raises(RunStopped) as caught:
            runner.train()
        for word in words:
            assert word in str(caught.value)
        assert "\n" not in str(caught.value) and not (tmp_path / "run/sr_hooks").exists()
        assert runner.iter == 0 and not runner.optim_wrapper.optimizer.state, "no step was taken"

    def test_an_average_that_comes_late_is_refused(self, content: Callable[..., Any]) -> None:
        runner = mm_runs.build(content({"type": "EMAHook", "priority": "VERY_LOW"}, hook(lam=LAM)))
        with pytest.raises(RunStopped, match=r"EMAHook \(priority VERY_LOW\) would update the average only after"):
            runner.train()

    def test_asked_twice(self, content: Callable[..., Any]) -> None:
        with pytest.raises(RunStopped, match="keywords: the config's custom_hooks have SRHooks already"):
            sr_hooks.analyze(lam=LAM)(mm_runs.train)(content(hook(lam=LAM)))


def test_any_model_of_mmengine(content: Callable[..., Any], tmp_path: Path) -> None:
    """Not mmagic's: another model, no preprocessor of images, a dataset in [0, 1], the network deep inside."""
    from mmengine.model import BaseModel
    from mmengine.registry import DATASETS, MODELS
    from torch.nn import functional as F

    from tests.support.networks import Tiny

    @MODELS.register_module(force=True)
    class Restorer(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.ModuleDict({"body": Tiny()})

        def forward(self, inputs: torch.Tensor, gt: torch.Tensor, mode: str) -> Any:
            out = self.inner["body"](inputs)
            return {"loss": F.l1_loss(out, gt)} if mode == "loss" else out

    @DATASETS.register_module(force=True)
    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            lr = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(index))
            return {"inputs": lr, "gt": F.interpolate(lr[None], scale_factor=2)[0]}

    made = content(hook(network="inner.body", lam={**LAM, "windows": [[1, 1, 4]], "every": 5}, facts={"bgr": True}))
    made["default_scope"] = "mmengine"
    made["model"] = {"type": "Restorer"}
    made["train_dataloader"]["dataset"] = made["val_dataloader"]["dataset"] = {"type": "Pairs"}
    made["train_dataloader"]["collate_fn"] = {"type": "default_collate"}
    del made["val_dataloader"], made["val_evaluator"], made["val_cfg"]
    made["custom_hooks"][0]["image"] = str(tmp_path / "x.png")
    sr_hooks.images.write_image(torch.rand(3, 12, 12), tmp_path / "x.png")
    runner = mm_runs.train(made)
    assert seen(tmp_path / "run") == [(i, "lam", "raw") for i in (5, 10, 15, 20)]
    found = sr_hooks.load(tmp_path / "run/sr_hooks/20/lam").provenance["network"]
    assert found["class"].endswith("Tiny") and found["sha256"] == sha256_of_weights(runner.model.inner["body"])
    assert found["input_range"] == 1 and found["bgr"] is True, "inferred, and as stated"
