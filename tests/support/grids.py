"""Small grids for tests: six tiny networks, six corners of photographs, three gradients a map."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sr_hooks.demo.assets import photographs
from sr_hooks.grid.request import GridRequest, parse_request
from sr_hooks.images.image import read_image, write_image
from tests.conftest import REPOSITORY

NETWORKS = {
    f"tiny {n}": {"model": f"{REPOSITORY}/tests/support/networks.py:Tiny", "arguments": {"features": n}}
    for n in (4, 5, 6, 7, 8, 9)
}

TABLES = ("table.csv", "table.md", "table.tex")


def tables_in(out: Path) -> dict[str, bytes]:
    """The tables of a grid's folder, byte for byte."""
    return {name: (out / name).read_bytes() for name in TABLES}


def write_images(folder: Path, count: int = 6, side: int = 48) -> list[Path]:
    """Different corners of the shipped photographs."""
    files = []
    for number in range(count):
        photo = read_image(photographs()[number % 4])
        top = 40 + 60 * (number // 4)
        files.append(folder / f"photo_{number}.png")
        write_image(photo[..., top : top + side, 100 : 100 + side], files[-1])
    return files


def content(folder: Path, networks: int = 2, images: int = 2, **more: Any) -> dict[str, Any]:
    """What a grid file holds."""
    return {
        "networks": dict(list(NETWORKS.items())[:networks]),
        "images": [str(file) for file in write_images(folder, images)],
        "windows": "16,16,8",
        "analyses": {"lam": {"steps": 3}},
        **more,
    }


def small(folder: Path, networks: int = 2, images: int = 2, **more: Any) -> GridRequest:
    return parse_request(content(folder, networks, images, **more))


def write_grid(folder: Path, **more: Any) -> Path:
    """grid.yml in the folder."""
    file = folder / "grid.yml"
    file.write_text(yaml.safe_dump(content(folder, **more), sort_keys=False), encoding="utf-8")
    return file


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "sr_hooks", "grid", *map(str, arguments)]


def environment() -> dict[str, str]:
    """That of a process of its own: one thread, the tests' cache, and this repository."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


def run(arguments: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=300, **more)
