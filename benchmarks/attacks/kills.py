"""End a watched run and a grid at random lines of our code, as SIGKILL does, and go on.

No figures are drawn: they take most of the time, and are written as all other files are.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch.nn import functional as F

import sr_hooks
from benchmarks.attacks.outcome import Outcome
from sr_hooks.analyses.lam.analysis import Lam
from sr_hooks.grid.report import outputs
from sr_hooks.grid.request import read_request
from sr_hooks.grid.run import run_grid
from sr_hooks.results.run_index import read_index
from tests.support.grids import write_grid
from tests.support.training import Net

_PACKAGE = str(Path(sr_hooks.__file__).parent)
_FOLDERS = tuple(f"{_PACKAGE}/{name}/" for name in ("results", "training", "adapters", "grid"))
_STRANGERS = (".mine.part", ".lam.abc.old", ".index.json.77.part")
_TABLES = ("table.csv", "table.md", "table.tex")


def _lines(work: Callable[[], Any], last: int | None) -> int:
    """Run `work` in a forked process, which dies at line `last` of our code; the number of lines it ran, or -1."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            if not frame.f_code.co_filename.startswith(_FOLDERS):
                return None
            count += event == "line"
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        try:
            with mock.patch.object(Lam, "figure", lambda result: None), mock.patch.object(outputs, "find_spec"):
                outputs.find_spec.return_value = None  # type: ignore[attr-defined]
                sys.settrace(trace)
                work()
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return int(text) if text else -1


def _train(folder: Path) -> None:
    torch.manual_seed(0)
    net = Net().train()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    block: dict[str, Any] = {"lam": {"windows": [[8, 8, 8]], "steps": 2, "every": 2, "budget": "off", "image": image}}
    with sr_hooks.watch(net, optimizer, folder=folder, **block):
        for _ in range(4):
            x = torch.rand(2, 3, 12, 12)
            optimizer.zero_grad()
            F.l1_loss(net(x), F.interpolate(x, scale_factor=2.0)).backward()
            optimizer.step()


def _run_is_sound(folder: Path, listed_before: set[str]) -> str:
    if not (folder / "index.json").exists():
        return "there was an index, and it is gone" if listed_before else ""
    json.loads((folder / "index.json").read_text(), parse_constant=lambda name: 1 / 0)
    for entry in read_index(folder):
        sr_hooks.load(folder / entry["folder"])
    for name in listed_before:
        sr_hooks.load(folder / name)  # listed or not: old or new
    return ""


def _remains(folder: Path) -> str:
    names = sorted(path.name for path in folder.rglob(".*") if path.name not in _STRANGERS)
    return f"{names} was left" if names else ""


def _runs(count: int, seed: int) -> Iterator[Outcome]:
    with TemporaryDirectory() as name:
        total = _lines(lambda: _train(Path(name) / "undisturbed"), None)
        folder = Path(name) / "run"
        (folder / "2").mkdir(parents=True)
        for stranger in _STRANGERS:
            (folder / "2" / stranger).write_text("not ours")
        dice = random.Random(f"{seed} runs")
        for number in range(count):
            before = {e["folder"] for e in read_index(folder)} if (folder / "index.json").exists() else set()
            line = dice.randint(1, total)
            ended = _lines(lambda: _train(folder), line)
            try:
                failure = _run_is_sound(folder, before)
                if number % 5 == 4 and not failure:  # an undisturbed run cleans up, and ends with all results
                    _lines(lambda: _train(folder), None)
                    failure = _run_is_sound(folder, before) or _remains(folder)
                    if {e["folder"] for e in read_index(folder)} != {"2/lam", "4/lam"}:
                        failure = failure or "results are missing"
                if not all((folder / "2" / stranger).exists() for stranger in _STRANGERS):
                    failure = failure or "a file of others is gone"
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            died = "it died" if ended < 0 else "it ended before"
            yield Outcome("watched runs", f"seed {seed}, run {number}, line {line} of {total}: {died}", failure)


def _grids(count: int, seed: int) -> Iterator[Outcome]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = write_grid(folder, networks=2, images=1)
        total = _lines(lambda: run_grid(read_request(file), folder / "undisturbed", jobs=1), None)
        expected = [(folder / "undisturbed" / table).read_bytes() for table in _TABLES]
        dice = random.Random(f"{seed} grids")
        done = 0
        while done < count:
            out = folder / f"out {done}"
            killed = []
            for _ in range(min(dice.randint(1, 4), count - done)):
                killed.append(dice.randint(1, total))
                _lines(lambda out=out, line=killed[-1]: run_grid(read_request(file), out, jobs=1), killed[-1])
            done += len(killed)
            failure = ""
            try:
                _lines(lambda out=out: run_grid(read_request(file), out, jobs=1), None)
                if [(out / table).read_bytes() for table in _TABLES] != expected:
                    failure = "the tables differ"
                failure = failure or _remains(out)
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            for line in killed:
                yield Outcome(
                    "grids", f"seed {seed}, {out.name}: lines {killed} of {total}, among them {line}", failure
                )


def attack(count: int, seed: int) -> Iterator[Outcome]:
    """Half of the kills hit a watched run, half a grid."""
    yield from _runs(count // 2, seed)
    yield from _grids(count - count // 2, seed)
