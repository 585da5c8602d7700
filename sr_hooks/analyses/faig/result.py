"""The result of FAIG: scores, rankings of filters, and masked or modulated copies of the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from sr_hooks.analyses.faig.baseline import baseline_of, blend, count_of, pick
from sr_hooks.analyses.faig.filters import Filters, Scores
from sr_hooks.attribution.weight_paths import StraightPath
from sr_hooks.errors import NetworkError, OptionError, nearest
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result

__all__ = ["FaigResult", "Pair"]


@dataclass(frozen=True)
class Pair:
    """The two networks that a result is of, and the SHA-256 of the weights that it was computed from."""

    baseline: Network
    target: Network
    baseline_sha256: str
    target_sha256: str

    def path(self) -> StraightPath:
        """The straight path between them.

        Raises:
            NetworkError: the weights of one have changed since the result was computed.
        """
        for role, network, digest in (
            ("baseline", self.baseline, self.baseline_sha256),
            ("target", self.target, self.target_sha256),
        ):
            if network.sha256() != digest:
                raise NetworkError(
                    f"the weights of the {role} {network.name} are not those that this FAIG result was computed from; "
                    "surgery needs the same: load them again and use result.attach(baseline, target)"
                )
        return StraightPath.between(self.baseline.module, self.target.module)


class FaigResult(Result):
    """Filter scores. Arrays: `scores` (D,F) float32, mean over images; filters as `result.filters` numbers them."""

    _pair: Pair | None = None

    # -- scores and rankings ---------------------------------------------------------------------------

    @property
    def degradations(self) -> list[str]:
        """Names of the degradations, in the order of the rows of `scores`."""
        return list(self.scalars["degradations"])

    @property
    def filters(self) -> Filters:
        """The filters, with their numbers."""
        return Filters.from_plain(self.scalars["layers"])

    @property
    def scores(self) -> Mapping[str, Scores]:
        """`scores[degradation][layer]`: (out, in) float32, never negative; layers in state-dict order."""
        return _ByDegradation(self)

    def index(self, degradation: str) -> int:
        """The row of a degradation, by name or, where that is unique, by kind: "blur" for "blur:2".

        Raises:
            OptionError: no such degradation.
        """
        names = self.degradations
        if degradation in names:
            return names.index(degradation)
        alike = [i for i, name in enumerate(names) if name.partition(":")[0] == degradation]
        if len(alike) != 1:
            raise OptionError(f"no degradation {degradation!r} in this result; {nearest(degradation, names)}")
        return alike[0]

    def contrast(self, degradation: str, against: str | None = None) -> np.ndarray:
        """(F,) float32: score for one degradation less that for another; what the paper ranks filters by.

        Args:
            against: another degradation; None for the mean of all others, and for nothing where there is but one.
        """
        scores = self.arrays["scores"]
        row = self.index(degradation)
        if against is not None:
            return cast("np.ndarray", scores[row] - scores[self.index(against)])
        others = [i for i in range(len(scores)) if i != row]
        if not others:
            return cast("np.ndarray", scores[row])
        other = scores[others[0]] if len(others) == 1 else scores[others].mean(axis=0)
        return cast("np.ndarray", scores[row] - other)

    def ranking(self, degradation: str, against: str | None = None) -> np.ndarray:
        """(F,) filter numbers, the most particular to the degradation first; ties by number."""
        return np.argsort(-self.contrast(degradation, against), kind="stable")

    # -- masking and modulation ------------------------------------------------------------------------

    def attach(self, baseline: Any, target: Any) -> FaigResult:
        """Give a result that was read from a folder its networks, for surgery; returns the result itself.

        Raises:
            NetworkError: weights other than those it was computed from.
        """
        if "baseline" not in self.provenance:
            raise NetworkError(
                "this result is of a training run's own way, not of a pair of networks: there is none to attach"
            )
        target = Network.of(target)
        pair = Pair(
            baseline_of(baseline, target),
            target,
            self.provenance["baseline"]["sha256"],
            self.provenance["network"]["sha256"],
        )
        pair.path()
        self._pair = pair
        return self

    @property
    def pair(self) -> Pair:
        """The two networks.

        Raises:
            NetworkError: the result was read from a folder, which holds none.
        """
        if self._pair is None:
            raise NetworkError(
                "this result was read from a folder, which holds no networks: result.attach(baseline, target); "
                "on the command line, give --baseline"
            )
        return self._pair

    def mask(self, degradation: str, top: float = 0.01, *, against: str | None = None) -> Network:
        """The target with the baseline's weights put back into the top share of the ranking: a new Network.

        If the ranking is right it no longer removes this degradation, and still removes the others. `save` writes it
        as the target's file is laid out.

        Args:
            top: share of the filters, above 0 and up to 1; at least one filter.
        """
        return self.modulate(degradation, top, 0.0, against=against)

    def modulate(self, degradation: str, top: float, strength: float, *, against: str | None = None) -> Network:
        """Like `mask`, with theta_b + strength * (theta - theta_b) there: 0 masks, 1 is the target, 1.5 overdoes it."""
        pair = self.pair
        ranking = self.ranking(degradation, against)
        count, which = count_of(top, len(ranking)), self.degradations[self.index(degradation)]
        verb = "masked" if strength == 0 else f"at {strength:g}"
        name = f"{pair.target.name}, top {count} for {which} {verb}"
        return blend(pair.target, pair.path(), self.filters, pick(ranking, top), strength, name)

    # -- numbers ---------------------------------------------------------------------------------------

    @property
    def completeness_gap(self) -> float:
        """|signed sum over all parameters - loss's change| / |loss's change|, the largest over degradations.

        NaN for sums of a run's own training gradients, which have no one loss.
        """
        gap = self.scalars["completeness_gap"]
        return float("nan") if gap is None else float(gap)

    @property
    def error(self) -> float | None:
        """Estimated relative L2 error of the scores' contrasts; None where the rule allows no estimate."""
        return cast("float | None", self.scalars["error"])

    @property
    def steps(self) -> int:
        """Gradients for each image and degradation, the most that any image took."""
        return int(self.scalars["steps"])

    def headline(self) -> dict[str, Any]:
        keys = (
            "filters",
            "images",
            "steps",
            "gradients",
            "completeness_gap",
            "error",
            "top_overlap",
            "split_half_overlap",
        )
        return {key: self.scalars[key] for key in keys if self.scalars.get(key) is not None}

    def answers(self) -> dict[str, Any]:
        """Of each degradation: the filters with half of all scores, in %; the layer with most of the top 1 %; dB lost.

        The dB are those that the probes lose if the top 1 % of filters is masked; they are known in a training run.
        """
        answers: dict[str, Any] = {}
        lost = self.scalars.get("masked_db_lost", [])
        layers = self.filters.layers
        for row, name in enumerate(self.degradations):
            ordered = np.sort(self.arrays["scores"][row].astype(np.float64))[::-1]
            if ordered.sum() > 0:
                half = int(np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)) + 1
                answers[f"filters_with_half_of_the_score_%/{name}"] = 100 * half / len(ordered)
                top = pick(self.ranking(name), 0.01)
                held = [int(top[self.filters.span(layer)].sum()) for layer in layers]
                best = int(np.argmax(held))
                answers[f"top_layer/{name}"] = f"{layers[best].name}, {held[best]} of {int(top.sum())} filters"
                answers[f"top_layer_depth_%/{name}"] = 100 * best / max(len(layers) - 1, 1)
            if row < len(lost):
                answers[f"dB_lost_when_masked/{name}"] = lost[row]
        if self.scalars.get("completeness_gap") is not None:
            answers["completeness_gap"] = self.scalars["completeness_gap"]
        return answers

    def save(self, folder: str | Path, *, figure: bool = True) -> Path:
        """As every Result: result.json, arrays.npz, figure.png. The networks are not saved."""
        return super().save(folder, figure=figure)


class _ByDegradation(Mapping[str, Scores]):
    def __init__(self, result: FaigResult) -> None:
        self._result, self._filters = result, result.filters

    def __getitem__(self, name: str) -> Scores:
        return Scores(self._filters, self._result.arrays["scores"][self._result.index(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._result.degradations)

    def __len__(self) -> int:
        return len(self._result.degradations)
