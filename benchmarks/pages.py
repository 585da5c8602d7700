"""Run the code on the pages of the documentation, and make the pages' pictures with it.

    OMP_NUM_THREADS=1 python benchmarks/pages.py [PAGE ...]

A page marks such a block by a comment, <!-- picture: NAME.png -->, on the line before it. The block needs nothing but
sr_hooks, runs in a folder of its own and leaves NAME.png there, which is put beside the page.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
_WIDEST = 1200
_BLOCK = re.compile(r"^<!-- picture: ([\w.]+\.png) -->\n+```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(name of the picture, code) of each marked block."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    """Those with a marked block, by name."""
    return [page for page in sorted(DOCS.glob("*.md")) if blocks(page)]


def run_page(page: Path, folder: Path) -> list[Path]:
    """Run the page's blocks, one after the other with names in common, in this folder; the pictures they left."""
    names: dict[str, object] = {"__name__": "__page__"}
    left = []
    with _inside(folder):
        for picture, code in blocks(page):
            exec(compile(code, f"{page.name}: {picture}", "exec"), names)
            left.append(folder / picture)
    missing = [path.name for path in left if not path.is_file()]
    if missing:
        raise SystemExit(f"{page.name}: its code left no {', '.join(missing)}")
    return left


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def shrink(source: Path, target: Path) -> None:
    """An optimised PNG of at most 1200 pixels' width."""
    with Image.open(source) as drawn:
        picture = drawn.convert("RGB")
    if picture.width > _WIDEST:
        height = round(picture.height * _WIDEST / picture.width)
        picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    picture.save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="*", help="by name, e.g. lam.md (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for page in [DOCS / name for name in arguments.page] or pages():
        with tempfile.TemporaryDirectory() as folder:
            for picture in run_page(page, Path(folder)):
                shrink(picture, DOCS / picture.name)
                print(f"{page.name}: {picture.name}, {(DOCS / picture.name).stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
