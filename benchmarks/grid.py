"""Time a grid with one and with two torchrun workers, and the way to a first figure.

    python benchmarks/grid.py [--rounds 2] [--windows 4]

1. A grid of 4 networks x 6 images x some windows (the demo network in four states, corners of the shipped photographs),
   alternately by one and by two workers of `torchrun`, one thread each, into new folders. A worker's time is the CPU
   time of its process from its start to its end, importing torch, planning and drawing included, so that what else the
   machine does is not counted; the grid's time is that of the worker which took longest. Claimed: the ratio of two to
   one is below 0.6. Wall-clock times stand beside it, and mean something where two cores are free.
2. From a folder with two checkpoints and two photographs to the figure, by one command of two processes. Claimed: below
   120 s of CPU time in all, which two free cores need less than 120 s for. The wall-clock time stands beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import yaml

from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.grid.folder import GridFolder
from sr_hooks.images.image import read_image, write_image

CLAIM, FIRST = 0.6, 120.0


def make_grid(folder: Path, windows: int) -> Path:
    """Four states of the demo network, from baseline to target and beyond, and six corners of photographs."""
    baseline, target = demo_network("baseline"), demo_network("target")
    start, end = baseline.module.state_dict(), target.module.state_dict()
    networks = {}
    for run_shared in (0.0, 0.5, 1.0, 1.2):
        state = {key: start[key] + run_shared * (end[key] - start[key]) for key in start}
        target.module.load_state_dict(state)
        target.save(folder / f"state_{run_shared}.safetensors")
        networks[f"state {run_shared}"] = f"state_{run_shared}.safetensors"
    images = []
    for number in range(6):
        top = 32 * (number // 4)
        photo = read_image(photographs()[number % 4])[..., top : top + 192, 32:224]
        write_image(photo, folder / f"photo_{number}.png")
        images.append(f"photo_{number}.png")
    corners = [[32 + 64 * (w // 2), 32 + 64 * (w % 2), 32] for w in range(windows)]
    analyses = {"lam": {"tolerance": 0.01}}  # a quarter of the usual, so that work outweighs starting
    content = {"networks": networks, "images": images, "windows": corners, "analyses": analyses}
    (folder / "grid.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "grid.yml"


def run(arguments: list[str]) -> float:
    """Wall-clock seconds."""
    start = time.perf_counter()
    done = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


def run_shared(file: Path, workers: int) -> tuple[list[float], float]:
    """CPU seconds of each worker, the longest first, and wall-clock seconds of the whole."""
    out = file.parent / f"out_{workers}"
    shutil.rmtree(out, ignore_errors=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={workers}"]
    wall = run([*launch, "-m", "sr_hooks", "grid", str(file), "--out", str(out), "--jobs", "1"])
    return sorted((line["cpu"] for line in GridFolder(out).journal() if line["event"] == "ended"), reverse=True), wall


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--windows", type=int, default=4, help="of each image, up to 4")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        os.environ["SR_HOOKS_CACHE"] = str(Path(name) / "cache")
        file = make_grid(Path(name), arguments.windows)
        first = Path(name) / "first"
        first.mkdir()
        for state in ("baseline", "target"):
            demo_network(state).save(first / f"{state}.safetensors")
        files = [shutil.copy(photo, first) for photo in photographs()[:2]]
        models = [str(first / f"{state}.safetensors") for state in ("baseline", "target")]
        command = [sys.executable, "-m", "sr_hooks", "grid", "--model", *models, "--image", *files, "--jobs", "2"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = run([*command, "--out", str(first / "grid")])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"first figure: {seconds:.1f} s CPU (claimed: below {FIRST:g}), {wall:.1f} s wall", flush=True)

        ratios = []
        for _ in range(arguments.rounds):
            one, two = run_shared(file, 1), run_shared(file, 2)
            both = " and ".join(f"{seconds:.1f}" for seconds in two[0])
            print(
                f"one worker {one[0][0]:.1f} s CPU, {one[1]:.1f} s wall; two {both} s CPU, {two[1]:.1f} s wall",
                flush=True,
            )
            ratios.append(two[0][0] / one[0][0])
        ratio = statistics.median(ratios)
        print(
            f"{24 * arguments.windows} cells: two workers take {ratio:.2f} of one's CPU time (claimed: below {CLAIM})"
        )
    return 0 if ratio < CLAIM and seconds < FIRST else 1


if __name__ == "__main__":
    sys.exit(main())
