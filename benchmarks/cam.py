"""HiResCAM and Grad-CAM of windows: the share of each map that lies in the window that it explains.

    python benchmarks/cam.py [--layers auto]

Two networks, two photographs, six windows of 16 pixels each. Needs `pip install ./plugins/sr-hooks-cam`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image

WINDOWS = ((16, 16), (16, 112), (64, 64), (64, 144), (112, 40), (112, 120))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="auto", help="one tap, e.g. auto or body.3")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in ("baseline", "target"):
        network = demo_network(name)
        for file in photographs()[:2]:
            lr = downsample(read_image(file)[..., :192, :192], int(network.scale))
            for top, left in WINDOWS:
                result = sr_hooks.run("cam", network, lr, window=(top, left, 16), layers=options.layers)
                scalars = result.scalars
                rows.append([scalars[key] for key in ("share_in_window", "control_share_in_window", "chance")])
    shares = np.array(rows)
    print(f"{len(shares)} cases at {options.layers}")
    for name, values in zip(("HiResCAM", "Grad-CAM", "area (chance)"), shares.T, strict=True):
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        print(f"{name:14s} median {middle:7.2%}, quartiles {low:.2%} to {high:.2%} of the weight in the window")


if __name__ == "__main__":
    main()
