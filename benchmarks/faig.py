"""FAIG against the published procedure: time at equal or lower error, and peak memory. MSRResNet x2.

    python benchmarks/faig.py [--images 14] [--side 40] [--both-passes] [--timed-steps 100] [--reference 64]
                              [--memory-only | --errors-only]

The published procedure, rendered from its description (arXiv 2108.01070): for each of two degradations a pass of its
own, since each ranks its own filters; in a pass, for every image and both of its inputs, 100 steps by the left rule;
in every step the network built anew, its interpolated weights loaded, and a backward to all parameters. The two passes
are the same computation, so one is timed and counted twice unless --both-passes is given; all steps cost the same,
so that with --timed-steps 10 ten are run and counted ten times. Ours is `sr_hooks.faig`
with its default tolerance: one pass, nodes as needed.

One thread; the two sides take turns (ours, half the images of theirs, ours, the other half, ours). Errors are those of
the mean contrast over all images, relative L2 against 64 Gauss-Legendre nodes an image; where not all of their steps
were run, theirs is taken from sr_hooks.faig(compat="faig"), which tests/analyses/faig/test_faig.py holds to their
arrays.

Needs BasicSR and the development data (SR_HOOKS_DATA, or shared/data beside or in the repository).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS = 100
ARCHITECTURE = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}


def data_folder() -> Path:
    named = os.environ.get("SR_HOOKS_DATA")
    for folder in [Path(named)] if named else [REPOSITORY.parent / "shared/data", REPOSITORY / "shared/data"]:
        if (folder / "SOURCES.md").is_file():
            return folder
    raise SystemExit("the development data (shared/data, or SR_HOOKS_DATA) is not on this machine")


def networks() -> tuple[Any, Any]:
    """The baseline and the target network."""
    from sr_hooks import Network

    weights = data_folder() / "weights"
    return tuple(  # type: ignore[return-value]
        Network.from_basicsr("MSRResNet", ARCHITECTURE, weights=weights / f"msrresnet_x2_{state}.pth")
        for state in ("baseline", "target")
    )


def inputs(target: Any, count: int, side: int) -> Any:
    """Centre crops of photographs, with both degraded inputs."""
    from sr_hooks.analyses.degraded_pairs import make_inputs

    photos = [str(p) for p in sorted((data_folder() / "bsds500/val").glob("*.jpg"))[:count]]
    return make_inputs(target, photos, ("blur:2", "noise:25.5"), crop=2 * side)


def published(baseline: Any, target: Any, data: Any, chosen: range, steps: int, run: int) -> np.ndarray:
    """Sum over the chosen images of score for the first degradation less score for the second; one pass.

    Only the first `run` of the steps are run: with fewer than all of them, for the time alone.
    """
    from basicsr.archs import build_network

    start, end = baseline.module.state_dict(), target.module.state_dict()
    kernels = [name for name, value in end.items() if value.ndim == 4]
    total = 0.0
    for index in chosen:
        pair = []
        for lr in data.lr[index]:
            sums = {name: torch.zeros_like(end[name]) for name in kernels}
            for step in range(run):
                alpha = step / steps
                network = build_network({"type": "MSRResNet", **ARCHITECTURE})
                network.load_state_dict({k: alpha * start[k] + (1 - alpha) * end[k] for k in end}, strict=True)
                network.eval()
                network.zero_grad()
                loss = torch.nn.functional.mse_loss(network(lr), data.gt[index], reduction="sum")
                loss.backward()
                for name, parameter in network.named_parameters():
                    if name in sums:
                        sums[name] += parameter.grad
            scores = [(sums[k] / steps * (start[k] - end[k])).abs().sum(dim=(2, 3)).flatten() for k in kernels]
            pair.append(torch.cat(scores).double().numpy())
        total = total + pair[0] - pair[1]
    return np.asarray(total)


def ours(baseline: Any, target: Any, data: Any) -> tuple[np.ndarray, Any]:
    """The mean contrast, and the result."""
    import sr_hooks

    degraded = {name: [row[i] for row in data.lr] for i, name in enumerate(data.names)}
    result = sr_hooks.faig(baseline, target, degraded=degraded, gt=list(data.gt))
    return result.contrast("blur:2", "noise:25.5").astype(np.float64), result


def reference(baseline: Any, target: Any, data: Any, nodes: int) -> np.ndarray:
    """The mean contrast by Gauss-Legendre."""
    from sr_hooks.analyses.faig.filters import Filters
    from sr_hooks.attribution.weight_paths import StraightPath, WeightGradients

    path, filters = StraightPath.between(baseline.module, target.module), Filters.of(target.module)
    positions, weights = np.polynomial.legendre.leggauss(nodes)
    total = 0.0
    with target.prepared():
        engine = WeightGradients(target, path)
        for index in range(len(data)):
            sums = [[torch.zeros_like(path.end[name]) for name in path.moving] for _ in range(2)]
            for position, weight in zip(positions, weights, strict=True):
                engine.move_to((float(position) + 1) / 2)
                for row, lr in zip(sums, data.lr[index], strict=True):
                    torch._foreach_add_(row, engine(lr, data.gt[index])[1], alpha=float(weight) / 2)
            scores = [
                filters.reduce(
                    {n: (s * path.difference(n)).abs() for n, s in zip(path.moving, row, strict=True)}
                ).numpy()
                for row in sums
            ]
            total = total + scores[0] - scores[1]
    return np.asarray(total) / len(data)


def error(contrast: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The relative L2 error, and the share of the top 1 % filters that both rank first."""
    count = round(0.01 * truth.size)
    tops = [set(np.argsort(-v, kind="stable")[:count].tolist()) for v in (contrast, truth)]
    return float(np.linalg.norm(contrast - truth) / np.linalg.norm(truth)), len(tops[0] & tops[1]) / count


def memory(side: str, arguments: argparse.Namespace) -> float:
    """Peak resident memory in MiB, above that of networks and inputs alone, measured in a fresh process."""
    command = [sys.executable, __file__, "--child", side, "--side", str(arguments.side)]
    return float(
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    )


def child(side: str, pixels: int) -> None:
    baseline, target = networks()
    data = inputs(target, 1, pixels)
    with torch.no_grad():
        target.module(data.lr[0][0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if side == "ours":
        ours(baseline, target, data)
    else:
        published(baseline, target, data, range(1), 100, 10)
    print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def timed(call: Any) -> tuple[float, Any]:
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=14)
    parser.add_argument("--side", type=int, default=40, help="of the LR images, in pixels")
    parser.add_argument("--timed-steps", type=int, default=STEPS, help="how many of their 100 steps are run and timed")
    parser.add_argument("--both-passes", action="store_true", help="run the published procedure's second pass too")
    parser.add_argument(
        "--reference", type=int, default=64, help="Gauss-Legendre nodes to measure errors by; 0 for none"
    )
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--errors-only", action="store_true")
    parser.add_argument("--child", choices=("ours", "published"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    from sr_hooks.networks.loading.loaders import import_basicsr

    import_basicsr()
    if arguments.child:
        child(arguments.child, arguments.side)
        return
    peaks = {}
    if not arguments.errors_only:
        peaks = {side: memory(side, arguments) for side in ("ours", "published")}
        print(
            f"peak memory above networks and inputs, MiB: ours {peaks['ours']:.0f}, published {peaks['published']:.0f}"
        )
    if arguments.memory_only:
        return
    baseline, target = networks()
    data = inputs(target, arguments.images, arguments.side)
    contrast, row = (None, {}) if arguments.errors_only else race(baseline, target, data, arguments)
    if arguments.reference:
        row |= errors(baseline, target, data, arguments.reference, contrast)
    if peaks:
        row |= {"their MiB": round(peaks["published"]), "our MiB": round(peaks["ours"])}
    print(json.dumps(row))


def race(
    baseline: Any, target: Any, data: Any, arguments: argparse.Namespace
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Time both procedures in turn. Return the published mean contrast, if all steps ran, and the row of a table."""
    half = len(data) // 2
    own_seconds: list[float] = []
    published_seconds, total = 0.0, np.zeros(1)
    factor = (1 if arguments.both_passes else 2) * STEPS / arguments.timed_steps
    for part in (range(half), range(half, len(data)), None):
        seconds, (_, result) = timed(lambda: ours(baseline, target, data))
        own_seconds.append(seconds)
        if part is not None:
            for _ in range(2 if arguments.both_passes else 1):
                seconds, sums = timed(
                    lambda part=part: published(baseline, target, data, part, STEPS, arguments.timed_steps)
                )
                published_seconds += seconds * factor
            total = total + sums
            print(
                f"after {part.stop} of their images: {published_seconds:.0f} s; "
                f"ours, all {len(data)}: {own_seconds[-1]:.1f} s",
                flush=True,
            )
    middle = float(np.median(own_seconds))
    print(
        f"{len(data)} images, side {arguments.side}: published {published_seconds:.0f} s (2 passes of {STEPS} steps, "
        f"{arguments.timed_steps} run), ours {middle:.1f} s ({', '.join(f'{s:.1f}' for s in own_seconds)}; nodes by "
        f"image {result.scalars['steps_by_image']}, {result.scalars['gradients']} gradients): "
        f"{published_seconds / middle:.1f}x"
    )
    row = {
        "analysis": "FAIG",
        "case": f"MSRResNet x2, {len(data)} images of LR {arguments.side}x{arguments.side}",
        "against": f"published, 2 passes of {STEPS} steps",
        "their s": round(published_seconds, 1),
        "our s": round(middle, 1),
        "ratio": round(published_seconds / middle, 2),
        "spread": [round(published_seconds / max(own_seconds), 2), round(published_seconds / min(own_seconds), 2)],
        "our gradients": result.scalars["gradients"],
    }
    return total / len(data) if arguments.timed_steps == STEPS else None, row


def errors(
    baseline: Any, target: Any, data: Any, nodes: int, published_contrast: np.ndarray | None
) -> dict[str, float]:
    import sr_hooks

    truth = reference(baseline, target, data, nodes)
    if published_contrast is None:
        degraded = {name: [row[i] for row in data.lr] for i, name in enumerate(data.names)}
        same = sr_hooks.faig(baseline, target, degraded=degraded, gt=list(data.gt), compat="faig")
        published_contrast = same.contrast("blur:2", "noise:25.5").astype(np.float64)
    own_contrast, result = ours(baseline, target, data)
    relative_errors = {}
    for name, contrast in (("published", published_contrast), ("ours", own_contrast)):
        relative, shared = error(contrast, truth)
        relative_errors["their error" if name == "published" else "our error"] = round(relative, 4)
        print(f"{name}: relative error {relative:.4f}, top 1 % shared {shared:.4f}")
    print(f"ours took {result.scalars['steps_by_image']} nodes and estimated its error as {result.error:.4f}")
    return relative_errors


if __name__ == "__main__":
    main()
