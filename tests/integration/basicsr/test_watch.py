"""Watching a real BasicSR training: doors, schedule, sinks, messages, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sr_hooks
from sr_hooks.adapters import basicsr_search
from sr_hooks.cli.app import main as command_line
from sr_hooks.core.registry import registered
from sr_hooks.errors import RunStopped
from sr_hooks.results.run_index import read_index
from tests.conftest import hooks_on
from tests.integration.basicsr import runs
from tests.support.training import Plugin

LAM = {"windows": [[10, 12, 8]], "steps": 5, "budget": "off"}


@pytest.fixture(scope="module")
def pictures(basicsr: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def option_file(pictures: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(block: Any = None, name: str = "x.yml", **changes: Any) -> Path:
        content = runs.options(pictures, runs.NETWORKS["MSRResNet"], **changes)
        return runs.write(content if block is None else {**content, "sr_hooks": block}, tmp_path / name)

    return make


def results(folder: Path) -> Path:
    return folder / "experiments/tiny/sr_hooks"


def seen(folder: Path) -> list[tuple[int, str]]:
    return [(entry["iteration"], entry["analysis"]) for entry in read_index(results(folder))]


@pytest.mark.parametrize("average", [False, True])
def test_five_doors_one_answer(option_file: Callable[..., Path], tmp_path: Path, pictures: Path, average: bool) -> None:
    changes = {
        "train": {"total_iter": 40, "ema_decay": 0.9 if average else 0},
        "logger": {"save_checkpoint_freq": 40},
        "val": {"val_freq": 100},
    }
    lam = {**LAM, "at": 40}
    with_block = option_file({"lam": lam}, "with.yml", **changes)
    without = option_file(None, "without.yml", **changes)
    watch_file = runs.write({"lam": lam}, tmp_path / "watch.yml")

    runs.train(without, tmp_path / "decorator", lambda call: sr_hooks.analyze(call, config=watch_file))
    runs.train(with_block, tmp_path / "option_file", sr_hooks.analyze)
    with runs.inside(tmp_path / "launcher"):
        assert command_line(["train", "-opt", str(with_block)]) == 0
    image = pictures / "val/lq/004.png"
    runs.train(without, tmp_path / "watch", lambda call: watching(call, lam, image, tmp_path / "watch"))
    answers = {
        door: sr_hooks.load(results(tmp_path / door) / "40/lam")
        for door in ("decorator", "option_file", "launcher", "watch")
    }
    with runs.inside(tmp_path / "afterwards"):
        weights = tmp_path / "decorator/experiments/tiny/models/net_g_40.pth"
        flags = ["--weights", str(weights), "--image", str(image), "--window", "10", "12", "8", "--steps", "5"]
        assert command_line(["lam", "--model", str(without), *flags]) == 0
        answers["afterwards"] = sr_hooks.load("lam_result")
    first = answers["decorator"]
    assert first.provenance["watch"]["network"] == ("ema" if average else "raw")
    for door, answer in answers.items():
        for name, array in first.arrays.items():
            np.testing.assert_array_equal(answer.arrays[name], array, err_msg=f"{name} through {door}")
        assert answer.scalars == first.scalars, door
        assert answer.provenance["network"]["sha256"] == first.provenance["network"]["sha256"], door


def watching(call: Callable[[], Any], lam: dict[str, Any], image: Path, folder: Path) -> Callable[[], None]:
    """The training with `sr_hooks.watch` on the network and optimizer of the model as soon as it is built."""

    def run() -> None:
        import basicsr.train as module

        build, watches = module.build_model, []

        def build_model(opt: Any) -> Any:
            model = build(opt)
            ema = getattr(model, "net_g_ema", None)
            given = {"image": image, "ema": ema, "folder": results(folder), "lam": lam}
            watches.append(sr_hooks.watch(model.net_g, model.optimizer_g, **given))
            return model

        module.build_model = build_model
        try:
            call()
        finally:
            module.build_model = build
            watches[0].end()

    return run


def test_schedule_with_validation_and_end(option_file: Callable[..., Path], tmp_path: Path) -> None:
    block = {"lam": {**LAM, "on_validation": True, "at_end": True, "at": [3]}}
    model = runs.train(
        option_file(block, train={"total_iter": 13}, val={"val_freq": 5}), tmp_path / "run", sr_hooks.analyze
    )
    assert seen(tmp_path / "run") == [(3, "lam"), (5, "lam"), (10, "lam"), (13, "lam")]
    assert hooks_on(model.net_g) == 0 and not model.optimizer_g._optimizer_step_post_hooks
    assert not any(callable(value) and name in dir(type(model)) for name, value in vars(model).items())


def test_keywords_and_config_lie_on_top_of_the_block(option_file: Callable[..., Path], tmp_path: Path) -> None:
    file = option_file({"lam": {**LAM, "every": 2}}, train={"total_iter": 7})
    config = runs.write({"lam": {"every": 5, "tolerance": 0.5}}, tmp_path / "watch.yml")
    runs.train(file, tmp_path / "run", lambda call: sr_hooks.analyze(call, config=config, lam={"every": 3}))
    assert seen(tmp_path / "run") == [(3, "lam"), (6, "lam")]
    assert sr_hooks.load(results(tmp_path / "run") / "3/lam").provenance["options"]["tolerance"] == 0.5
    with pytest.raises(RunStopped, match=r"x.yml: sr_hooks [+] keywords: lam: unknown key 'evry'"):
        runs.train(file, tmp_path / "bad", lambda call: sr_hooks.analyze(call, lam={"evry": 3}))


def test_watch_takes_a_model(option_file: Callable[..., Path], tmp_path: Path) -> None:
    def around(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            import basicsr.train as module

            build = module.build_model

            def build_model(opt: Any) -> Any:
                model = build(opt)
                run.attached = sr_hooks.watch(model, lam={**LAM, "every": 4})  # type: ignore[attr-defined]
                return model

            module.build_model = build_model
            try:
                call()
            finally:
                module.build_model = build
                run.attached.close()  # type: ignore[attr-defined]

        return run

    runs.train(option_file(train={"total_iter": 9}), tmp_path / "run", around)
    assert seen(tmp_path / "run") == [(4, "lam"), (8, "lam")]


def test_tensorboard_is_read_back(option_file: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    block = {"lam": {**LAM, "every": 5}}
    runs.train(option_file(block, logger={"use_tb_logger": True}), tmp_path / "run", sr_hooks.analyze)
    files = list((tmp_path / "run/tb_logger/tiny").iterdir())
    assert len(files) == 1, "BasicSR's own event file and no other"
    events = EventAccumulator(str(files[0]), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    scalars = events.Scalars("sr_hooks/lam/diffusion_index")
    assert [event.step for event in scalars] == [5, 10, 15, 20]
    for event in scalars:
        stored = sr_hooks.load(results(tmp_path / "run") / f"{event.step}/lam")
        assert event.value == pytest.approx(stored.diffusion_index, rel=1e-6)
    pictures = events.Images("sr_hooks/lam/figure")
    assert [event.step for event in pictures] == [5, 10, 15, 20] and pictures[0].width > 500
    assert "losses/l_pix" in events.Tags()["scalars"], "BasicSR's own are there as well"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"lamm": {}}, ["x.yml: sr_hooks", "'lamm'", "lam"]),
        ({"lam": {**LAM, "evry": 4}}, ["x.yml: sr_hooks: lam", "'evry'", "every"]),
        ({"lam": {**LAM, "every": "now"}}, ["x.yml: sr_hooks: lam", "every is 'now'"]),
        ({"lam": {**LAM, "windows": [[90, 0, 8]]}}, ["x.yml: sr_hooks: lam", "window", "48 pixels high"]),
        ({"lam": {**LAM, "network": "ema"}}, ["x.yml: sr_hooks: lam", "ema", "raw"]),
        ({"lam": {**LAM, "image": "nowhere.png"}}, ["x.yml: sr_hooks: lam", "nowhere.png"]),
        ({"ddr": {"layers": ["bodi.1"], "images": 2, "patch": 16}}, ["x.yml: sr_hooks: ddr", "'bodi.1'", "body.1"]),
    ],
)
def test_it_stops_before_training(
    option_file: Callable[..., Path], tmp_path: Path, block: Any, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.models.sr_model import SRModel

    steps: list[int] = []
    monkeypatch.setattr(SRModel, "optimize_parameters", lambda self, current_iter: steps.append(current_iter))
    with pytest.raises(RunStopped) as caught:
        runs.train(option_file(block), tmp_path / "run", sr_hooks.analyze)
    for word in words:
        assert word in str(caught.value)
    assert steps == [] and "\n" not in str(caught.value)


def test_a_script_that_is_stopped_shows_one_line(option_file: Callable[..., Path], tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sr_hooks\nfrom sr_hooks.networks.loading.loaders import import_basicsr\nimport_basicsr()\n"
        "from basicsr.train import train_pipeline\n\n"
        "@sr_hooks.analyze\ndef main():\n    train_pipeline('.')\n\nmain()\n"
    )
    file = option_file({"lam": {**LAM, "evry": 4}})
    done = subprocess.run(
        [sys.executable, script, "-opt", file], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("sr_hooks: ")]
    assert len(ours) == 1 and "'evry'" in ours[0] and "did you mean every" in ours[0]


class TestLauncher:
    """`sr-hooks train`."""

    def test_outputs_land_in_the_working_directory(self, option_file: Callable[..., Path], tmp_path: Path) -> None:
        file = option_file({"lam": {**LAM, "at": 2}}, train={"total_iter": 3})
        with runs.inside(tmp_path / "here"):
            assert command_line(["train", "-opt", str(file)]) == 0
        assert seen(tmp_path / "here") == [(2, "lam")]
        assert (tmp_path / "here/experiments/tiny/models/net_g_latest.pth").is_file()

    def test_an_unedited_script(self, option_file: Callable[..., Path], tmp_path: Path) -> None:
        script = tmp_path / "their/train.py"
        script.parent.mkdir()
        (script.parent / "neighbour.py").write_text("ROOT = '.'\n")
        script.write_text(
            "from basicsr.train import train_pipeline\nfrom neighbour import ROOT\n\n"
            "if __name__ == '__main__':\n    train_pipeline(ROOT)\n"
        )
        file = option_file({"lam": {**LAM, "at": 2}}, train={"total_iter": 3})
        with runs.inside(tmp_path / "here"):
            assert command_line(["train", str(script), "-opt", str(file)]) == 0
        assert seen(tmp_path / "here") == [(2, "lam")]

    def test_force_yml_with_the_decorator(self, option_file: Callable[..., Path], tmp_path: Path) -> None:
        from basicsr.train import train_pipeline

        forced = ["sr_hooks:lam:windows=[[10, 12, 8]]", "sr_hooks:lam:at=2", "train:total_iter=3"]
        with runs.inside(tmp_path / "here", "-opt", str(option_file()), "--force_yml", *forced):
            before = list(sys.argv)
            sr_hooks.analyze(train_pipeline)(str(tmp_path / "here"))
            assert sys.argv == before
        assert seen(tmp_path / "here") == [
            (2, "lam"),
        ]

    def test_a_decorated_script_is_watched_once(self, option_file: Callable[..., Path], tmp_path: Path) -> None:
        script = tmp_path / "decorated.py"
        script.write_text(
            "import sr_hooks\nfrom basicsr.train import train_pipeline\n\n@sr_hooks.analyze\ndef main():\n"
            "    train_pipeline('.')\n\nmain()\n"
        )
        forced = ["sr_hooks:lam:windows=[[10, 12, 8]]", "sr_hooks:lam:at=2", "train:total_iter=3"]
        with runs.inside(tmp_path / "here"):
            assert command_line(["train", str(script), "-opt", str(option_file()), "--force_yml", *forced]) == 0
        assert seen(tmp_path / "here") == [(2, "lam")]

    @pytest.mark.parametrize("has_block", [True, False])
    def test_force_yml(self, option_file: Callable[..., Path], tmp_path: Path, has_block: bool) -> None:
        block = {"lam": {**LAM, "every": 2}} if has_block else None
        forced = ["sr_hooks:lam:every=4", "train:total_iter=9", "sr_hooks:lam:tolerance=1e-1"]
        if not has_block:
            forced += ["sr_hooks:lam:windows=[[10, 12, 8]]", "sr_hooks:lam:budget=off"]
        with runs.inside(tmp_path / "here"):
            assert command_line(["train", "-opt", str(option_file(block)), "--force_yml", *forced]) == 0
        assert seen(tmp_path / "here") == [(4, "lam"), (8, "lam")]
        options = sr_hooks.load(results(tmp_path / "here") / "4/lam").provenance["options"]
        assert options["tolerance"] == 0.1 and isinstance(options["tolerance"], float)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], ["-opt"]),
            (["-opt", "no.yml"], ["no.yml"]),
            (["no.py", "-opt", "OPT"], ["no.py"]),
            (["-opt", "OPT", "--force_yml", "sr_hooks:lam:evry=4"], ["'evry'", "every", "x.yml"]),
            (["-opt", "OPT", "--force_yml", "sr_hooks:lam"], ["sr_hooks:lam is not understood"]),
        ],
    )
    def test_mistakes_are_one_line(
        self,
        option_file: Callable[..., Path],
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        words: list[str],
    ) -> None:
        file = str(option_file({"lam": LAM}))
        assert command_line(["train", *[file if text == "OPT" else text for text in arguments]]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and all(word in told[0] for word in words)

    def test_a_copy_without_train_pipeline_needs_its_script(
        self,
        option_file: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        import basicsr.train as module

        pipeline = module.train_pipeline
        monkeypatch.delattr(module, "train_pipeline")
        module.main = lambda: pipeline(".")
        script = tmp_path / "theirs.py"
        script.write_text("from basicsr.train import main\nmain()\n")
        file = option_file({"lam": {**LAM, "at": 2}}, train={"total_iter": 3})
        try:
            with runs.inside(tmp_path / "here"):
                assert command_line(["train", "-opt", str(file)]) == 2
                assert "no train_pipeline" in capsys.readouterr().err
                assert command_line(["train", str(script), "-opt", str(file)]) == 0
        finally:
            del module.main
        assert seen(tmp_path / "here") == [(2, "lam")]

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command_line(["train", "--help"]) == 0
        assert "torchrun" in capsys.readouterr().out


class TestCopies:
    """Vendored copies: other signatures, create_model, feed_train_data, a validation with more arguments."""

    @staticmethod
    def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restormer: bool) -> Callable[[], Any]:
        import types

        import torch

        from tests.support.networks import Tiny

        class BaseModel:
            """Written after the signatures of such copies."""

            def __init__(self, opt: dict[str, Any]) -> None:
                self.opt, self.optimizers = opt, []

            def feed_data(self, data: Any) -> None:
                self.lq = data

            def optimize_parameters(self) -> None: ...

            def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None: ...

            def validation(self, dataloader, current_iter, tb_logger, save_img=False, rgb2bgr=True, use_image=True): ...

            def save(self, epoch: int, current_iter: int, **kwargs: Any) -> None: ...

        class ImageModel(BaseModel):
            """Takes its training data by another name, as Restormer does."""

            def __init__(self, opt: dict[str, Any]) -> None:
                super().__init__(opt)
                self.net_g = Tiny()
                self.optimizer_g = torch.optim.AdamW(self.net_g.parameters(), 1e-3)
                self.optimizers.append(self.optimizer_g)

            def feed_train_data(self, data: Any) -> None:
                self.lq = data["lq"]

            def optimize_parameters(self, current_iter: int, tb_logger: Any = None) -> int:
                self.optimizer_g.zero_grad()
                self.net_g(self.lq).abs().mean().backward()
                self.optimizer_g.step()
                return current_iter

        package = types.ModuleType("copied.models.base_model")
        package.BaseModel = BaseModel  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "copied.models.base_model", package)

        def run() -> Any:
            lam = {**LAM, "every": 2, "image": torch.rand(1, 3, 24, 24)}
            path = {"experiments_root": str(tmp_path / "experiments/tiny")}
            model = ImageModel({"name": "copy", "is_train": True, "path": path, "sr_hooks": {"lam": lam}})
            for i in range(1, 6):
                model.update_learning_rate(i, warmup_iter=-1)
                data = torch.rand(1, 3, 8, 8)
                model.feed_train_data({"lq": data}) if restormer else model.feed_data(data)
                assert model.optimize_parameters(i, None) == i
                if i == 4:
                    model.validation(None, i, None, False, True, use_image=False)
            model.save(-1, -1, best=True)
            return model

        return run

    @pytest.mark.parametrize("restormer", [True, False])
    def test_a_copy(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restormer: bool) -> None:
        run = self.build(monkeypatch, tmp_path, restormer)
        init = sys.modules["copied.models.base_model"].BaseModel.__init__
        model = sr_hooks.analyze(run)()
        assert seen(tmp_path) == [(2, "lam"), (4, "lam")]
        assert sys.modules["copied.models.base_model"].BaseModel.__init__ is init
        assert "optimize_parameters" not in vars(model) and hooks_on(model.net_g) == 0


def test_classes_are_as_they_were(option_file: Callable[..., Path], tmp_path: Path) -> None:
    before = {cls: cls.__init__ for cls in basicsr_search.model_classes()}
    with pytest.raises(ZeroDivisionError):

        @sr_hooks.analyze
        def train() -> None:
            assert any(cls.__init__ is not init for cls, init in before.items())
            raise ZeroDivisionError

        train()
    assert before and all(cls.__init__ is init for cls, init in before.items()) and basicsr_search._searches == []


def test_a_run_that_is_interrupted_leaves_nothing(option_file: Callable[..., Path], tmp_path: Path) -> None:
    built: list[Any] = []

    def around(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            from basicsr.models.sr_model import SRModel

            original = SRModel.validation

            def validation(self: Any, *args: Any, **kwargs: Any) -> None:
                built.append(self)
                raise KeyboardInterrupt

            SRModel.validation = validation
            try:
                call()
            finally:
                SRModel.validation = original

        return sr_hooks.analyze(run)

    with pytest.raises(KeyboardInterrupt):
        runs.train(option_file({"lam": {**LAM, "every": 4}}), tmp_path / "run", around)
    (model,) = built
    assert hooks_on(model.net_g) == 0 and "optimize_parameters" not in vars(model)
    assert seen(tmp_path / "run") == [(4, "lam"), (8, "lam")]


def test_no_block_no_change(option_file: Callable[..., Path], tmp_path: Path) -> None:
    runs.train(option_file(train={"total_iter": 3}), tmp_path / "run", sr_hooks.analyze)
    assert not results(tmp_path / "run").exists()


def test_auto_resume_takes_up_index_and_running_sums(
    option_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BasicSR itself cannot resume without a CUDA device, so its loading of the state is replaced."""
    import basicsr.train as module
    import torch
    from basicsr.utils import check_resume

    def load_resume_state(opt: dict[str, Any]) -> Any:
        states = sorted(Path("experiments/tiny/training_states").glob("*.state"), key=lambda path: int(path.stem))
        if not states:
            return None
        opt["path"]["resume_state"] = str(states[-1])
        state = torch.load(states[-1], weights_only=False)
        check_resume(opt, state["iter"])
        return state

    monkeypatch.setattr(module, "load_resume_state", load_resume_state)
    with registered(Plugin()):
        block = {"lam": {**LAM, "every": 4}, "sums": {"every": 2, "budget": "off", "image": 1}, "poke": False}
        changes = {"logger": {"save_checkpoint_freq": 5}, "val": {"val_freq": 100}}
        for total in (7, 12):  # the first dies at 7, two iterations past its checkpoint
            file = option_file(block, train={"total_iter": total}, **changes)
            runs.train(file, tmp_path / "run", sr_hooks.analyze)
            (tmp_path / "run/experiments/tiny/models/net_g_latest.pth").unlink()
    entries = read_index(results(tmp_path / "run"))
    assert [(e["iteration"], e["run"]) for e in entries if e["analysis"] == "lam"] == [(4, 0), (8, 1), (12, 1)]
    sums = {e["iteration"]: (e["headline"]["steps"], e["run"]) for e in entries if e["analysis"] == "sums"}
    assert sums == {2: (2, 0), 4: (4, 0), 6: (6, 1), 8: (8, 1), 10: (10, 1), 12: (12, 1)}, "every step counted once"
