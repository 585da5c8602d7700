"""CHI against the std of the blur, on a network trained on blur and noise: the curve of docs/ddr.md.

    python benchmarks/ddr_blur.py --weights msrresnet_x2_target.pth --images bsds500/val --out docs/ddr_blur.png

Clean against blurred copies of the same patches, one run for each std, at the input of the last convolution. The
weights are of BasicSR's MSRResNet with 16 blocks and 64 features, x2. With --baseline another curve is drawn beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sr_hooks
from sr_hooks.analyses.ddr.result import LayerSeparability
from sr_hooks.core.text import text_table
from sr_hooks.figures.style import new_figure

ARGUMENTS = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}
STDS = (1, 2, 3, 4)
STYLES = (("target", "#0072B2", "o"), ("baseline", "#D55E00", "s"))


def curve(weights: Path, images: Path, patches: int) -> list[LayerSeparability]:
    """Clean against each std."""
    network = sr_hooks.Network.from_basicsr("MSRResNet", ARGUMENTS, weights=weights)
    options = {"patch": 64, "patches": patches, "tsne": 0}
    return [sr_hooks.ddr(network, images, degradations=["clean", f"blur:{s}"], **options).deepest for s in STDS]


def draw(curves: dict[str, list[LayerSeparability]], out: Path) -> None:
    figure = new_figure(5.2, 3.4)
    figure.set_dpi(110)
    axes = figure.subplots()
    for name, colour, marker in STYLES:
        if name not in curves:
            continue
        layers = curves[name]
        chi = [layer.chi for layer in layers]
        low, high = ([getattr(layer, end) for layer in layers] for end in ("low", "high"))
        axes.fill_between(STDS, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(STDS, chi, marker=marker, color=colour, label=f"{name}, with 95 % interval")
    null = [layer.null_95 for layer in curves["target"]]
    axes.plot(STDS, null, "--", color="#555555", label="95 % of shuffled labels")
    axes.set_xticks(STDS)
    axes.set_xlabel("std of the blur, ground-truth pixels")
    axes.set_ylabel("CHI, clean against blurred")
    axes.set_ylim(bottom=0)
    axes.grid(linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=8)
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder of ground-truth images")
    parser.add_argument("--patches", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("docs/ddr_blur.png"))
    arguments = parser.parse_args()
    files = {"target": arguments.weights, "baseline": arguments.baseline}
    curves = {name: curve(file, arguments.images, arguments.patches) for name, file in files.items() if file}
    rows = [
        {"network": name, "std": std, "chi": each.chi, "low": each.low, "high": each.high, "p": each.p}
        for name, layers in curves.items()
        for std, each in zip(STDS, layers, strict=True)
    ]
    print(text_table(rows))
    draw(curves, arguments.out)


if __name__ == "__main__":
    main()
