"""DDR's principal components against "collect all features, flatten, scikit-learn's PCA(50)": time and peak memory.

    python benchmarks/ddr.py [--patches 100] [--channels 24] [--side 128] [--rounds 3] [--weights FILE]

Both sides run the same network on the same inputs with one thread. Times are taken in turn in one process, memory in a
process of its own for each side: the peak of the resident set above what it was with everything imported, the network
and its inputs in place. The published procedure keeps each image's feature, stacks them and projects
(arXiv 2108.00406). The network is shallow on purpose: the deeper it is, the more both times are its forward pass.
With --weights, of BasicSR's MSRResNet x2 (16 blocks, 64 features), that network takes its place.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

DEGRADATIONS = ("clean", "blur:2", "noise:20")
TAP = "conv_last:in"


def network(arguments: argparse.Namespace) -> nn.Module:
    """Enlarges by 2; the input of `conv_last` has `channels` channels in output pixels."""
    torch.manual_seed(0)
    if arguments.weights is not None:
        from sr_hooks import Network

        architecture = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}
        return Network.from_basicsr("MSRResNet", architecture, weights=arguments.weights).module.eval()
    width = arguments.channels
    layers = {
        "conv_first": nn.Conv2d(3, 4 * width, 3, padding=1), "shuffle": nn.PixelShuffle(2), "act": nn.LeakyReLU(0.1),
        "conv": nn.Conv2d(width, width, 3, padding=1), "act_last": nn.LeakyReLU(0.1),
        "conv_last": nn.Conv2d(width, 3, 3, padding=1),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers)).eval()


def samples(patches: int, side: int) -> Any:
    """Patches of smooth random texture, degraded: no file is needed."""
    from sr_hooks.analyses.ddr.samples import Samples
    from sr_hooks.degradations.parsing import make_lr, parse_degradations

    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(patches, 3, side // 8, side // 8, generator=generator)
    hr = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    chosen = parse_degradations(DEGRADATIONS)
    inputs = torch.cat([make_lr(hr, each, scale=2, seed=0) for each in chosen])
    labels = np.repeat(np.arange(len(chosen)), patches)
    groups = np.tile(np.arange(patches), len(chosen))
    return Samples(inputs, labels, groups, DEGRADATIONS, chosen, patches)


def ours(net: nn.Module, data: Any) -> np.ndarray:
    """(n,50) scores as sr_hooks computes them."""
    from sr_hooks import Network
    from sr_hooks.analyses.ddr.features import Features, gram_matrices
    from sr_hooks.hooks.taps import parse_tap
    from sr_hooks.statistics.gram_pca import principal_components

    wrapped = Network(net, scale=2, multiple=1, channels=3)
    with wrapped.prepared():
        gram = gram_matrices(Features(wrapped, data, [parse_tap(TAP)]), memory=1.5, store="auto")[TAP]
    components = principal_components(gram)
    assert components is not None
    return components.scores


def published(net: nn.Module, data: Any, solver: str = "auto") -> np.ndarray:
    """(n,50) scores: a hook collects, then one array, then PCA, which by default is approximate (randomised)."""
    from sklearn.decomposition import PCA

    vectors: list[np.ndarray] = []
    last = net.get_submodule("conv_last")
    handle = last.register_forward_hook(lambda module, args, out: vectors.append(args[0].numpy().reshape(-1)))
    with torch.no_grad():
        for one in data.inputs.split(1):
            net(one)
    handle.remove()
    return PCA(n_components=50, svd_solver=solver, random_state=0).fit_transform(np.array(vectors))


SIDES = {"ours": ours, "published": published}


def resident() -> float:
    """MB in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak(side: str, arguments: argparse.Namespace) -> dict[str, float]:
    """In this process: run one side once; MB of the peak, and of it above the start."""
    import sklearn.decomposition

    torch.set_num_threads(1)
    data, net = samples(arguments.patches, arguments.side), network(arguments)
    sklearn.decomposition.PCA(2).fit_transform(np.random.default_rng(0).standard_normal((8, 4)))
    with torch.no_grad():
        net(data.inputs[:1])
    before = resident()
    SIDES[side](net, data)
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"peak": whole, "above": whole - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=100)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--peak-of", choices=sorted(SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print(json.dumps(peak(arguments.peak_of, arguments)))
        return
    arguments.channels = 64 if arguments.weights else arguments.channels
    n, d = 3 * arguments.patches, arguments.channels * arguments.side**2
    print(f"n = {n} features of d = {d:,} values, {4 * n * d / 1e6:.0f} MB as float32")
    peaks = {}
    for side in SIDES:
        settings = {key: getattr(arguments, key) for key in ("patches", "channels", "side", "weights")}
        flags = [f"--{key}={value}" for key, value in settings.items() if value is not None]
        out = subprocess.run(
            [sys.executable, __file__, f"--peak-of={side}", *flags], check=True, capture_output=True, text=True
        )
        peaks[side] = json.loads(out.stdout.splitlines()[-1])
        print(f"memory, {side}: {peaks[side]['above']:.0f} MB above the start, {peaks[side]['peak']:.0f} MB in all")
    print(f"memory ratio above the start: {peaks['published']['above'] / peaks['ours']['above']:.2f}")
    print(f"memory ratio in all: {peaks['published']['peak'] / peaks['ours']['peak']:.2f}")
    torch.set_num_threads(1)
    data, net = samples(arguments.patches, arguments.side), network(arguments)
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    scores = {}
    for _ in range(arguments.rounds):
        for side, run in SIDES.items():
            start = time.process_time()
            scores[side] = run(net, data)
            times[side].append(time.process_time() - start)
    best = {side: min(each) for side, each in times.items()}
    for side, each in times.items():
        print(f"time, {side}: {best[side]:.2f} s, the best of {', '.join(f'{t:.2f}' for t in each)}")
    print(f"time ratio: {best['published'] / best['ours']:.2f}")
    gaps = compare(scores, published(net, data, "full"), data.labels)
    ratios = [a / b for a, b in zip(times["published"], times["ours"], strict=True)]
    row = {
        "analysis": "DDR",
        "case": f"{n} features of {d:,} values",
        "against": "all features in memory, scikit-learn's PCA(50)",
        "their s": round(statistics.median(times["published"]), 2),
        "our s": round(statistics.median(times["ours"]), 2),
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "their MiB": round(peaks["published"]["above"] / 1.048576),
        "our MiB": round(peaks["ours"]["above"] / 1.048576),
        "their error": float(f"{gaps['published']:.1e}"),
        "our error": float(f"{gaps['ours']:.1e}"),
    }
    print(json.dumps(row))


def compare(scores: dict[str, np.ndarray], exact: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How far both sides are from scikit-learn's PCA with a full singular value decomposition."""
    from sr_hooks.statistics.separability import calinski_harabasz

    gaps = {}
    for side, points in scores.items():
        signs = np.sign((points * exact).sum(axis=0))
        gap = gaps[side] = float(np.abs(points * signs - exact).max() / np.abs(exact).max())
        chi = calinski_harabasz(points, labels)
        print(f"{side}: 50 scores within {gap:.1e} of the largest of the full decomposition's, CHI {chi:.6g}")
    print(f"full decomposition: CHI {calinski_harabasz(exact, labels):.6g}")
    return gaps


if __name__ == "__main__":
    main()
