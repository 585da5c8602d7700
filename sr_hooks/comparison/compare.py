"""`sr_hooks.compare`: compare two results of one analysis, or two checkpoints of one network."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, cast

from torch import nn

from sr_hooks.analyses.ddr.analysis import ddr
from sr_hooks.analyses.faig.analysis import FaigOptions, faig
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.lam.analysis import lam
from sr_hooks.comparison.comparability import refuse_incomparable, reservations
from sr_hooks.comparison.differences import TOPS, measure
from sr_hooks.comparison.result import CompareResult
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.files.regular_files import is_file, is_folder
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result, read_result

__all__ = ["CompareResult", "compare"]


def compare(
    a: Any,
    b: Any,
    *,
    image: Any = None,
    window: Any = None,
    images: Any = None,
    degradations: Any = FaigOptions.degradations,
    layers: Any = "auto",
    patch: int = 64,
    crop: int | None = 128,
    seed: int = 0,
    device: Any = None,
) -> CompareResult:
    """Compare two results of one analysis, or two checkpoints of one network: what changed from `a` to `b`?

    Two results are compared as they are. For two checkpoints, the results are computed first: LAM of `window` in
    `image`; with `images`, DDR of both networks and FAIG from `a` to `b`. LAM gives the share of the map's weight
    that moved, and both diffusion indices. DDR gives both Calinski-Harabasz indices. FAIG gives the first
    filters of its ranking.

    Different input sizes, DDR designs and architectures are refused. Any other difference besides the weights (window,
    image, input range, options, a moving average against raw weights, a map that its own verdict rejects) is a warning
    in the verdict. The verdict then begins with "with reservations".

    Not for: networks trained apart, for which FAIG has no meaning; a claim from one image, because the diffusion index
    varies more between images than between most networks.

    Args:
        a, b: two results or their folders; or two networks: a Network, a torch module, or what `--model` takes.
        image: input of the networks, (1,C,h,w) in [0, 1] or a file.
        window: a window of the output, in output pixels.
        images: ground truth for DDR and FAIG, as `ddr` and `faig` take it.
        degradations: for DDR (which adds clean) and FAIG.
        layers: for DDR.
        patch: side of a DDR patch, in ground-truth pixels.
        crop: FAIG takes the centre of each image; this is its side in ground-truth pixels, None for whole images.
        seed: of all randomness.
        device: where networks that are loaded by name run: "cuda", "cuda:1", ...; None for the CPU.

    Returns:
        A CompareResult.

    Raises:
        SRHooksError: `a` and `b` cannot be compared, or neither an image nor images came with two networks.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.demo import demo_network
        >>> lr = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        >>> a, b = [sr_hooks.lam(demo_network(s), lr, window=(16, 16, 16), steps=8) for s in ("baseline", "target")]
        >>> change = sr_hooks.compare(a, b)
        >>> 0 < change.scalars["moved"] < 1, change.names
        (True, ('CompactResNet baseline', 'CompactResNet target'))
    """
    first, second = _open(a, device), _open(b, device)
    if isinstance(first, Result) and isinstance(second, Result):
        return _of_results(first, second)
    if isinstance(first, Result) or isinstance(second, Result):
        raise OptionError("a result and a network cannot be compared: give two results, or two networks")
    if (image is None) != (window is None):
        raise OptionError("a map needs both an image and a window: image=..., window=(top, left, size)")
    if image is None and images is None:
        raise OptionError("of two networks: give image= and window= for their maps, images= for DDR and FAIG, or all")
    _same_architecture(first, second)
    parts = []
    if image is not None:
        parts.append(_of_results(*(lam(network, image, window=window, seed=seed) for network in (first, second))))
    if images is not None:
        kinds = ("clean", *([degradations] if isinstance(degradations, str) else degradations))
        results = [
            ddr(network, images, degradations=kinds, layers=layers, patch=patch, tsne=0, seed=seed)
            for network in (first, second)
        ]
        parts.append(_of_results(*results))
        parts.append(_faig_between(faig(first, second, images=images, degradations=kinds[1:], crop=crop, seed=seed)))
    return _joined(parts, (first.name, second.name))


def _open(source: Any, device: Any) -> Result | Network:
    if isinstance(source, (Result, Network)):
        return source
    if isinstance(source, nn.Module):
        return Network.of(source)
    if isinstance(source, (str, Path)):
        if is_file(Path(source) / "result.json"):
            return read_result(source)
        if is_folder(source):
            raise OptionError(f"{source} is a folder without a result: give one with a result.json, or a network")
        return Network.load(str(source), device=device)
    raise OptionError(f"a {type(source).__name__} is neither a result nor a network")


def _same_architecture(a: Network, b: Network) -> None:
    shapes = [{name: tuple(value.shape) for name, value in network.module.state_dict().items()} for network in (a, b)]
    if shapes[0] != shapes[1]:
        unlike = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0][0]
        raise NetworkError(
            f"{a.name} and {b.name} are not two checkpoints of one network: they differ in {unlike}; compare results "
            "of each instead"
        )


def _of_results(a: Result, b: Result) -> CompareResult:
    refuse_incomparable(a, b)
    arrays, scalars, change = measure(a, b)
    differences = reservations(a, b)
    scalars |= {"names": _names(a, b), "reservations": differences, "compared": [a.analysis]}
    provenance = {
        "analysis": "compare",
        "results": [
            {key: result.provenance.get(key) for key in ("network", "options", "versions", "input_sha256")}
            for result in (a, b)
        ],
    }
    return CompareResult("compare", arrays, scalars, provenance, _verdict(change, differences))


def _verdict(change: str, differences: list[str]) -> str:
    if differences:
        return f"with reservations: {change}, but " + "; ".join(differences) + "."
    return f"alike but for weights: {change}."


def _names(a: Result, b: Result) -> list[str]:
    names = [str(result.provenance.get("network", {}).get("name", "?")) for result in (a, b)]
    return names if names[0] != names[1] else [f"{names[0]} (first)", f"{names[1]} (second)"]


def _faig_between(result: FaigResult) -> CompareResult:
    """FAIG from one network to the other: do two degradations rank the same filters first?

    The overlap is between the scores of two degradations of one result, not between two results.
    """
    scores = result.arrays["scores"]
    pairs: dict[str, Any] = {}
    for i, j in combinations(range(len(scores)), 2):
        overlaps = []
        for top in TOPS:
            count = max(1, round(top * scores.shape[1]))
            one, other = (set((-scores[k]).argsort(kind="stable")[:count].tolist()) for k in (i, j))
            overlaps.append(len(one & other) / count)
        pairs[f"{result.degradations[i]} and {result.degradations[j]}"] = {"tops": list(TOPS), "overlap": overlaps}
    half = result.scalars.get("split_half_overlap")
    parts = [f"{row['overlap'][0]:.0%} of the top 1 % filters are shared by {name}" for name, row in pairs.items()]
    if half is not None:
        parts.append(f"two halves of the images agree on {half:.0%} of each degradation's own top 1 %")
    scalars = {
        "faig_overlap": pairs,
        "split_half_overlap": half,
        "reservations": [] if result.verdict.startswith("sound") else [f"FAIG: {result.verdict.rstrip('.')}"],
        "names": ["", ""],
        "compared": ["faig"],
    }
    return CompareResult("compare", {}, scalars, {"faig": result.provenance}, ", ".join(parts) or "one degradation")


def _joined(parts: list[CompareResult], names: tuple[str, str]) -> CompareResult:
    arrays = {key: value for part in parts for key, value in part.arrays.items()}
    scalars: dict[str, Any] = {}
    for part in parts:
        scalars |= part.scalars
    differences = list(dict.fromkeys(doubt for part in parts for doubt in part.scalars["reservations"]))
    scalars |= {
        "names": list(names) if names[0] != names[1] else [f"{names[0]} (first)", f"{names[1]} (second)"],
        "reservations": differences,
        "compared": [name for part in parts for name in part.scalars["compared"]],
    }
    change = "; ".join(_change_sentence(part) for part in parts)
    provenance = {"analysis": "compare", "parts": [part.provenance for part in parts]}
    return CompareResult("compare", arrays, scalars, cast("dict[str, Any]", provenance), _verdict(change, differences))


def _change_sentence(part: CompareResult) -> str:
    text = part.verdict.removeprefix("alike but for weights: ").removeprefix("with reservations: ")
    return text.split(", but ")[0].rstrip(".")
