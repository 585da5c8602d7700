"""The differences between two results of one analysis, in numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.faig.baseline import pick
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.errors import OptionError
from sr_hooks.results.result import Result
from sr_hooks.statistics.map_correlation import rank_correlation_or_zero

__all__ = ["TOPS", "ddr_change", "faig_change", "lam_change", "measure"]

TOPS = (0.01, 0.03, 0.05, 0.1)


def measure(a: Result, b: Result) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Compare two results: arrays, numbers and half a sentence."""
    known: dict[str, Callable[[Any, Any], tuple[dict[str, np.ndarray], dict[str, Any], str]]] = {
        "lam": lam_change,
        "ddr": ddr_change,
        "faig": faig_change,
    }
    return known[a.analysis](a, b)


def lam_change(a: LamResult, b: LamResult) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Compare two LAM maps. Each map is divided by its sum; the difference shows where weight moved and sums to zero.

    `moved` is the share of the weight that lies elsewhere: half the sum of the |differences|, 0 to 1.
    """
    first, second = (result.map.astype(np.float64) for result in (a, b))
    shares = [values / values.sum() if values.sum() > 0 else values for values in (first, second)]
    arrays = {"first": first, "second": second, "difference": shares[1] - shares[0], "lr": a.arrays["lr"]}
    indices = [result.diffusion_index for result in (a, b)]
    scalars = {
        "diffusion_index": indices,
        "diffusion_index_change": indices[1] - indices[0],
        "moved": float(np.abs(arrays["difference"]).sum() / 2),
        "rank_correlation": rank_correlation_or_zero(first, second),
        "signed_rank_correlation": rank_correlation_or_zero(a.attribution, b.attribution),
        "window": list(a.window),
        "scale": a.output_size[1] / first.shape[1],
    }
    sentence = f"DI {indices[0]:.2f} to {indices[1]:.2f}, {scalars['moved']:.0%} of the map's weight moved"
    return arrays, scalars, sentence


def ddr_change(a: DdrResult, b: DdrResult) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Compare the separability of each common layer. A change is clear if the two 95 % intervals do not overlap.

    Raises:
        OptionError: no layer in common.
    """
    names = [layer.layer for layer in a.layers if layer.layer in {other.layer for other in b.layers}]
    if not names:
        raise OptionError("the two DDRs looked at no layer in common")
    rows = []
    for name in names:
        before, after = a.layer(name), b.layer(name)
        limits = (before.low, before.high, after.low, after.high)
        clear = None if None in limits else bool(before.high < after.low or after.high < before.low)  # type: ignore[operator]
        rows.append({"layer": name, "chi": [before.chi, after.chi], "interval": list(limits), "clear": clear})
    last = cast("dict[str, Any]", rows[-1])
    known = None not in last["chi"]
    change = last["chi"][1] - last["chi"][0] if known else None
    sentence = (
        f"CHI {_number(last['chi'][0])} to {_number(last['chi'][1])} at {last['layer']}"
        + {
            True: ", beyond both intervals",
            False: ", within the intervals",
            None: "",
        }[last["clear"]]
    )
    return {}, {"chi_layers": rows, "chi_change": change}, sentence


def faig_change(a: FaigResult, b: FaigResult) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """The share of top-ranked filters that two rankings have in common, for each common degradation.

    Raises:
        OptionError: no degradation in common.
    """
    names = [name for name in a.degradations if name in b.degradations]
    if not names:
        raise OptionError("the two FAIGs have no degradation in common")
    overlaps: dict[str, dict[str, Any]] = {}
    for name in names:
        rankings = [result.ranking(name) for result in (a, b)]
        tops = [[pick(ranking, top) for ranking in rankings] for top in TOPS]
        overlaps[name] = {
            "tops": list(TOPS),
            "overlap": [float((one & other).sum() / one.sum()) for one, other in tops],
            "rank_correlation": rank_correlation_or_zero(a.contrast(name), b.contrast(name)),
        }
    sentence = "of the filters ranked top 1 %, " + ", ".join(
        f"{overlaps[name]['overlap'][0]:.0%} in common for {name}" for name in names
    )
    return {}, {"faig_overlap": overlaps}, sentence + " (by chance 1 %)"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"
