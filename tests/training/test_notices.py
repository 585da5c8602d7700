"""Who asks for a watch and gets none is told, and no host is stopped by what it is not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.cli import train
from sr_hooks.errors import RunStopped
from tests.conftest import REPOSITORY
from tests.support.training import IMAGE, Net

pytestmark = pytest.mark.slow

LAM = {"windows": [[8, 8, 8]], "every": 2, "steps": 3, "image": IMAGE, "budget": "off"}


def told(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


# -- nobody met


def test_a_bare_decorator_that_meets_no_model(caplog: pytest.LogCaptureFixture) -> None:
    @sr_hooks.analyze
    def main() -> int:
        return 3

    assert main() == 3
    assert told(caplog, "nothing was watched: no model of BasicSR")


def test_a_script_that_ends_by_exit(caplog: pytest.LogCaptureFixture) -> None:
    @sr_hooks.analyze
    def main() -> None:
        sys.exit()

    with pytest.raises(SystemExit):
        main()
    assert told(caplog, "nothing was watched")


def test_a_function_that_fails_says_why_itself(caplog: pytest.LogCaptureFixture) -> None:
    @sr_hooks.analyze
    def main() -> None:
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        main()
    assert not told(caplog, "nothing was watched")


def test_a_program_that_logs_no_warnings_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    @sr_hooks.analyze
    def main() -> None:
        """Train nothing."""

    logging.disable(logging.CRITICAL)
    try:
        main()
    finally:
        logging.disable(logging.NOTSET)
    assert "nothing was watched" in capsys.readouterr().err


def test_an_optimizer_that_is_never_stepped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, folder=tmp_path, lam=LAM):
        pass
    assert told(caplog, "nothing was watched: no training step was seen")


def test_an_analysis_that_was_never_due(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, folder=tmp_path, lam={**LAM, "every": 5000}):
        net(IMAGE).sum().backward()
        optimizer.step()
    assert told(caplog, "lam never ran: it was to run every 5000, and the run ended at iteration 1")


def test_a_watch_that_did_run_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with sr_hooks.watch(net, optimizer, folder=tmp_path, lam={**LAM, "every": 1}):
        net(IMAGE).sum().backward()
        optimizer.step()
    assert not told(caplog, "never ran") and not told(caplog, "nothing was watched")


def process(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *(arguments or [str(script)])], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_watch_that_is_never_closed_is_told_of_as_the_process_ends(tmp_path: Path) -> None:
    done = process(
        """
        import torch, sr_hooks
        net = torch.nn.Conv2d(3, 3, 3, padding=1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        lam = {"windows": [[4, 4, 4]], "every": 10, "image": torch.rand(1, 3, 16, 16)}
        watch = sr_hooks.watch(net, optimizer, lam=lam)
        other = torch.optim.SGD(net.parameters(), 0.1)
        net(torch.rand(1, 3, 8, 8)).sum().backward()
        other.step()
        """,
        tmp_path,
    )
    assert done.returncode == 0 and "no training step was seen" in done.stderr, done.stderr


@pytest.mark.parametrize("end", ["", "import sys; sys.exit(0)", "import sys; sys.exit()"])
def test_the_train_command_ends_with_2(end: str, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("name: x\nsr_hooks:\n  lam: {windows: [[8, 8, 8]], every: 10}\n")
    done = process(
        f"print('trained')\n{end}", tmp_path, "-m", "sr_hooks", "train", "script.py", "-opt", str(tmp_path / "x.yml")
    )
    assert done.returncode == 2 and "trained" in done.stdout, done.stderr
    assert "nothing was watched: no model of BasicSR" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("nothing was watched") == 1


def test_the_train_command_keeps_a_scripts_own_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yml").write_text("name: x\n")
    Path("script.py").write_text("raise SystemExit(7)\n")
    with pytest.raises(SystemExit) as ended:
        train.main(["script.py", "-opt", "x.yml"])
    assert ended.value.code == 7


# -- hosts that are not understood


class Options:
    """An option struct without `get`, and with attributes that are no options at all."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError("options are read by index here")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """A package of a training framework with a base class of models."""

    class BaseModel:
        def __init__(self, *args: Any, opt: Any = None, **kwargs: Any) -> None:
            self.opt = args[0] if args else opt
            self.net_g: Any = Net()
            self.optimizer_g = torch.optim.SGD(self.net_g.parameters(), 0.01)
            self.calls: list[str] = []

        def feed_data(self, data: Any) -> None:
            self.lq = data

        def optimize_parameters(self, current_iter: int) -> None:
            self.calls.append(f"optimize {current_iter}")
            self.optimizer_g.zero_grad()
            self.net_g(self.lq).sum().backward()
            self.optimizer_g.step()

        def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
            self.calls.append(f"rate {current_iter}")

    BaseModel.__module__ = "strange.models.base_model"
    module = ModuleType("strange.models.base_model")
    module.BaseModel = BaseModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield BaseModel


def run(model_class: type, *args: Any, optimise_first: bool = False, steps: int = 4, **kwargs: Any) -> Any:
    model: Any = model_class(*args, **kwargs)
    for iteration in range(1, steps + 1):
        model.feed_data(IMAGE)
        for event in ("optimize_parameters", "update_learning_rate")[:: 1 if optimise_first else -1]:
            getattr(model, event)(iteration)
    return model


@pytest.mark.parametrize("optimise_first", [False, True])
@pytest.mark.parametrize("options", [None, Options(), 7, ["a"], SimpleNamespace(name=3, path=7)])
def test_options_of_any_kind_do_not_stop_the_host(
    host: type, options: Any, optimise_first: bool, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    @sr_hooks.analyze(lam=LAM)
    def main() -> Any:
        return run(host, options, optimise_first=optimise_first)

    model = main()
    assert len(model.calls) == 8
    assert not {"optimize_parameters", "update_learning_rate"} & vars(model).keys(), "nothing of ours is left"
    assert not model.optimizer_g._optimizer_step_post_hooks
    assert told(caplog, "nothing was watched") == isinstance(options, Options)


def test_a_host_that_is_left_alone_is_named_at_the_end(host: type, caplog: pytest.LogCaptureFixture) -> None:
    @sr_hooks.analyze(lam=LAM)
    def main() -> Any:
        return run(host, Options())

    main()
    told_last = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING][-1]
    assert "nothing was watched" in told_last and "BaseModel is not understood" in told_last
    assert "options are read by index" in told_last


@pytest.mark.parametrize("change", ["net_g is a function", "no net_g", "net_g fails", "options by keyword"])
def test_models_of_another_shape_do_not_stop_the_host(
    host: type, change: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    class Other(host):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if change == "no net_g":
                self.network, self.net_g = self.net_g, None
                del self.net_g

        def optimize_parameters(self, current_iter: int) -> None:
            self.calls.append(str(current_iter))

        @property
        def net_g_ema(self) -> Any:
            if change == "net_g fails":
                raise KeyError("no average")
            return None

    @sr_hooks.analyze(lam=LAM)
    def main() -> Any:
        return run(Other, opt={"name": "x"}) if change == "options by keyword" else run(Other, {"name": "x"})

    assert len(main().calls) == 8


def test_a_users_mistake_still_stops_before_the_first_step(host: type) -> None:
    @sr_hooks.analyze(lam={**LAM, "windows": [[900, 900, 8]]})
    def main() -> Any:
        return run(host, {"name": "x"})

    with pytest.raises(RunStopped, match="900"):
        main()


@pytest.mark.parametrize("optimise_first", [False, True])
def test_one_session_whatever_comes_first(
    host: type, optimise_first: bool, tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    @sr_hooks.analyze(lam=LAM)
    def main() -> Any:
        return run(host, {"name": "x"}, optimise_first=optimise_first)

    with caplog.at_level(logging.INFO):
        model = main()
    assert sum("watching lam" in message for message in caplog.messages) == 1
    assert sum("lam at iteration" in message for message in caplog.messages) == 2
    assert not {"optimize_parameters", "update_learning_rate"} & vars(model).keys()
    assert not model.optimizer_g._optimizer_step_post_hooks and not model.optimizer_g._optimizer_step_pre_hooks


def test_a_plain_loop_whose_frames_are_odd(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(nn.Module):
        """A module whose parameters cannot be listed."""

        def parameters(self, recurse: bool = True) -> Any:
            raise RuntimeError("not yet")

    @sr_hooks.analyze(lam=LAM)
    def main() -> int:
        odd, net = Odd(), Net()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net(IMAGE).sum().backward()
        optimizer.step()
        return 5 if odd is not None else 0

    assert main() == 5
    assert told(caplog, "the training loop is not understood")
