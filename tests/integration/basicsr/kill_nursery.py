"""Train again and again in child processes, each killed with SIGKILL at a random moment, and look at what lies on disk.

Run by test_crash.py: kill_nursery.py OPTION_FILE FOLDER KILLS SEED. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

import sr_hooks
from sr_hooks.core.registry import contributions
from sr_hooks.networks.loading.loaders import import_basicsr
from sr_hooks.results.run_index import read_index

import_basicsr()
import basicsr.train as basicsr_train  # noqa: E402
import matplotlib.figure  # noqa: E402, F401
import pydantic.type_adapter  # noqa: E402, F401
from basicsr.utils import check_resume  # noqa: E402

import sr_hooks.adapters.basicsr  # noqa: E402
import sr_hooks.adapters.watch  # noqa: E402
import sr_hooks.training.session  # noqa: E402

contributions("register_analyses")  # all that a child would import anew, each time in the moments before it is killed


def states(folder: Path) -> list[Path]:
    """The training states that load, oldest first; BasicSR does not write them atomically, so others are removed."""
    sound = []
    for path in sorted((folder / "experiments/tiny/training_states").glob("*.state"), key=lambda p: int(p.stem)):
        try:
            torch.load(path, weights_only=False)
            sound.append(path)
        except Exception:
            path.unlink()
    return sound


def load_resume_state(opt: dict[str, Any]) -> Any:
    """BasicSR's own asks for a CUDA device."""
    found = states(Path.cwd())
    if not found:
        return None
    opt["path"]["resume_state"] = str(found[-1])
    state = torch.load(found[-1], weights_only=False)
    check_resume(opt, state["iter"])
    return state


@sr_hooks.analyze
def main() -> None:
    basicsr_train.train_pipeline(str(Path.cwd()))


def child(option_file: str, folder: Path) -> int:
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        sys.argv = ["train.py", "-opt", option_file, "--auto_resume"]
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(os.open(str(folder / "stderr.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        status = 1
        try:
            main()
            status = 0
        finally:
            os._exit(status)
    return pid


def check(folder: Path) -> int:
    """How many results are listed; every one must load, and nothing else may be wrong."""
    place = folder / "experiments/tiny/sr_hooks"
    if not (place / "index.json").is_file():
        return 0
    entries = read_index(place)
    for entry in entries:
        result = sr_hooks.load(place / entry["folder"])
        assert result.provenance["watch"]["iteration"] == entry["iteration"]
        assert (place / entry["folder"] / "figure.png").stat().st_size > 0
    return len(entries)


def run(option_file: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    basicsr_train.load_resume_state = load_resume_state
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    killed, listed, finished, resumed = 0, [], 0, 0
    while killed < kills:
        if not states(folder):
            shutil.rmtree(folder / "experiments", ignore_errors=True)
        else:
            resumed += 1
        pid = child(option_file, folder)
        time.sleep(rng.uniform(0.05, 2.0))
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, "training failed by itself"
            finished += 1
            shutil.rmtree(folder / "experiments", ignore_errors=True)
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed += 1
        listed.append(check(folder))
    _, status = os.waitpid(child(option_file, folder), 0)
    assert status == 0, "the last resume did not complete"
    check(folder)
    place = folder / "experiments/tiny/sr_hooks"
    return {
        "killed": killed,
        "listed": listed,
        "finished": finished,
        "resumed": resumed,
        "iterations": sorted({entry["iteration"] for entry in read_index(place)}),
        "remains": [path.name for path in place.rglob(".*")],
    }


if __name__ == "__main__":
    print("RESULT " + json.dumps(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
