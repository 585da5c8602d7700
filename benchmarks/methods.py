"""Run the commands on the page of methods, and draw the page's pictures.

    OMP_NUM_THREADS=1 python benchmarks/methods.py FOLDER

The packages under plugins/ must be installed. The folder is made with the files that the commands need.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import torch
from PIL import Image

from sr_hooks.cli import main as sr_hooks_command
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image, write_image

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/methods.md"
PICTURES = REPOSITORY / "docs/methods"
_WIDTH, _COLOURS, _SIDE = 640, 96, 192


def commands() -> list[str]:
    """Those of the page, in its order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def name_of(command: str) -> str:
    """The folder that a command writes, which is the name of its picture."""
    words = shlex.split(command)
    return words[words.index("--out") + 1]


def make_folder(folder: Path) -> None:
    """The images, the clip and the networks that the commands name."""
    from spandrel.architectures.DnCNN import DnCNN

    torch.manual_seed(0)
    for name in ("val", "clip"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images = [read_image(path)[..., :_SIDE, :_SIDE] for path in photographs()[:3]]
    for index, image in enumerate(images):
        write_image(image, folder / f"val/{index}.png")
        moved = images[0][..., 32:160, 20 + 2 * index : 148 + 2 * index]  # the camera pans
        write_image(downsample(moved, 2), folder / f"clip/{index}.png")
    write_image(images[0], folder / "photo.png")
    write_image(downsample(images[0], 2), folder / "lr.png")
    for name in ("fsrcnn", "carn", "sft", "edges"):
        shutil.copy(REPOSITORY / f"tests/support/zoo/{name}.py", folder)
    torch.save(DnCNN(in_nc=3, out_nc=3, nc=16, nb=4).state_dict(), folder / "dncnn.pth")
    scores = {"network": "score", "CompactResNet target": 0.9, "CompactResNet baseline": 0.7, "bicubic:4": 0.4}
    (folder / "scores.csv").write_text("".join(f"{name},{score}\n" for name, score in scores.items()))


def run(command: str) -> int:
    """Run a command line of sr-hooks in this process and folder; its exit status."""
    words = [
        match
        for word in shlex.split(command)[1:]
        for match in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
    ]
    try:
        return int(sr_hooks_command(words) or 0)
    except SystemExit as end:
        return int(end.code or 0)


def picture_of(name: str, target: Path) -> None:
    """A small copy of the figure that a command has left."""
    with Image.open(f"{name}/figure.png") as figure:
        height = round(figure.height * min(_WIDTH / figure.width, 1))
        small = figure.convert("RGB").resize((min(_WIDTH, figure.width), height), Image.Resampling.LANCZOS)
    small.quantize(_COLOURS).save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--only", nargs="+", help="names of pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make_folder(arguments.folder)
    PICTURES.mkdir(exist_ok=True)
    os.chdir(arguments.folder)
    for command in commands():
        name = name_of(command)
        if arguments.only and name not in arguments.only:
            continue
        if run(command):
            sys.exit(f"fails: {command}")
        picture_of(name, PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
