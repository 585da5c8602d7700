"""The examples at the end of each command's help; a test parses every one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["EXAMPLES", "HelpFormatter", "examples_of", "examples_of_plugin"]

_HEAD = "examples:"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "lam": (
        "sr-hooks lam --model RealESRGAN_x4plus.pth --hr --image photo.png --window 96,120,16",
        "sr-hooks lam --model train.yml --weights net_g.pth --image lr.png --window '96,120,16;0,0,32' --check",
        "sr-hooks lam --model MSRResNet --arguments '{upscale: 4}' --image lr.png --window 96 120 16 --json",
    ),
    "ddr": (
        "sr-hooks ddr --model net.pth --image photos/*.png --degradations blur:2 noise:25.5",
        "sr-hooks ddr --model demo:target --image photo.png --layers 'body.*.conv1' --patch 64 --tsne 0",
        "sr-hooks ddr --model net.pth --image div2k/ --patches 33334 --workers 8 --parts /shared/ddr",
    ),
    "faig": (
        "sr-hooks faig --model target.pth --baseline baseline.pth --image photos/*.png --degradations blur:2",
        "sr-hooks faig --model demo:target --baseline demo:baseline --image photo.png --out scores",
    ),
    "faig-verify": (
        "sr-hooks faig-verify --model demo:target --baseline demo:baseline --result scores --image photo.png",
    ),
    "compare": (
        "sr-hooks compare out/lam_before out/lam_after",
        "sr-hooks compare before.pth after.pth --image hr.png --window 96,120,16",
        "sr-hooks compare before.pth after.pth --arch MSRResNet --arguments '{upscale: 2}' --images val/*.png",
    ),
    "grid": (
        "sr-hooks grid --model a.pth b.pth --image butterfly.png zebra.png --window '96,120,32;0,0,32'",
        "sr-hooks grid --model MSRResNet --arguments '{upscale: 4}' --weights a.pth b.pth --image photos",
        "sr-hooks grid grid.yml --out results/fig1 --jobs 4",
    ),
    "networks": ("sr-hooks networks", "sr-hooks networks --source BasicSR --json"),
    "doctor": ("sr-hooks doctor RealESRGAN_x4plus.pth", "sr-hooks doctor my_package.models:Net --weights net.pth"),
    "layers": (
        "sr-hooks layers --model MSRResNet --arguments '{upscale: 4}'",
        "sr-hooks layers --model net.pth --size 32 --json",
    ),
    "plugins": ("sr-hooks plugins", "sr-hooks plugins --json"),
    "new-plugin": ("sr-hooks new-plugin flicker", "sr-hooks new-plugin flicker --folder plugins"),
    "demo": ("sr-hooks demo", "sr-hooks demo --out first_look --device cuda"),
    "explore": (
        "sr-hooks explore --model a.pth b.pth --hr --image photo.png",
        "sr-hooks explore --model demo:target demo:baseline --image lr.png --grid fig1.yml --no-open",
    ),
    "show": (
        "sr-hooks show lam_result",
        "sr-hooks show experiments/mine",
        "sr-hooks show experiments/mine --analysis ddr --gif ddr.gif",
    ),
    "completion": (
        "sr-hooks completion bash > ~/.local/share/bash-completion/completions/sr-hooks",
        "sr-hooks completion zsh >> ~/.zshrc",
        "sr-hooks completion fish > ~/.config/fish/completions/sr-hooks.fish",
    ),
}


class HelpFormatter(argparse.HelpFormatter):
    """Wraps all but texts of several lines, such as the examples, which keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n  " in text else super()._fill_text(text, width, indent)


def examples_of(name: str) -> str | None:
    """The end of a command's help; None where no examples are written down."""
    return _listing(EXAMPLES[name]) if name in EXAMPLES else None


def examples_of_plugin(name: str, *, takes_lr: bool, required: Sequence[str]) -> str:
    """The end of the help of a plugin's analysis, made from what it takes."""
    flags = ["--hr"] if takes_lr else []
    for option in required:
        flags.append(f"--{option.replace('_', '-')} {'96,120,16' if option == 'window' else option.upper()}")
    return _listing([" ".join(["sr-hooks", name, "--model net.pth --image photo.png", *flags])])


def _listing(lines: Sequence[str]) -> str:
    return "\n  ".join([_HEAD, *lines])
