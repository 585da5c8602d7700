"""The result of a verification: PSNR lost by masking, with intervals, and the verdict against random filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from sr_hooks.errors import OptionError
from sr_hooks.results.result import Result
from sr_hooks.statistics.measures import interval

__all__ = ["VerifyResult", "judge"]

FAIG, RANDOM = "FAIG", "random"


class VerifyResult(Result):
    """The trials, for R masked networks, C inputs, N images.

    Arrays: `psnr` and `gradient_error` (R,C,N); `target_psnr`, `baseline_psnr` (C,N).

    Scalars: `trials`, for each of the R: method, degradation it was chosen for (None: for whichever), top share, seed.
    """

    def loss(self, method: str, top: float, *, degradation: str | None = None) -> np.ndarray:
        """(C,N) dB of PSNR lost by masking that choice, the mean over random seeds."""
        return self._mean(self.arrays["target_psnr"] - self.arrays["psnr"], method, top, degradation)

    def gradient_error(self, method: str, top: float, *, degradation: str | None = None) -> np.ndarray:
        """(C,N) 1000 * mean squared difference of gradient maps, masked against target: the paper's measure of loss."""
        return self._mean(self.arrays["gradient_error"], method, top, degradation)

    def _mean(self, values: np.ndarray, method: str, top: float, degradation: str | None) -> np.ndarray:
        trials = [
            values[i]
            for i, trial in enumerate(self.scalars["trials"])
            if trial["method"] == method and trial["top"] == top and trial["degradation"] in (None, degradation)
        ]
        if not trials:
            raise OptionError(f"no trial masked the top {top:g} by {method} for {degradation or 'any'}")
        return cast("np.ndarray", np.mean(trials, axis=0))

    def table(self) -> list[dict[str, Any]]:
        """A row for each method, degradation it chose for and share.

        On each input, the mean PSNR in dB, the dB lost and the gradient maps' error, both with 95 % intervals.
        """
        seed = self.provenance["seed"]
        rows = []
        for method, degradation, top in dict.fromkeys(
            (t["method"], t["degradation"], t["top"]) for t in self.scalars["trials"]
        ):
            loss = self.loss(method, top, degradation=degradation)
            error = self.gradient_error(method, top, degradation=degradation)
            row: dict[str, Any] = {"filters": method, "for": degradation or "any", "top": f"{top:.0%}"}
            for column, name in enumerate(self.scalars["columns"]):
                (low, high), (least, most) = interval(loss[column], seed), interval(error[column], seed)
                row[f"{name} PSNR"] = f"{(self.arrays['target_psnr'][column] - loss[column]).mean():.2f}"
                row[f"{name} lost"] = f"{loss[column].mean():+.2f} [{low:+.2f}, {high:+.2f}]"
                row[f"{name} gradient error"] = f"{error[column].mean():.2f} [{least:.2f}, {most:.2f}]"
            rows.append(row)
        return rows

    def headline(self) -> dict[str, Any]:
        return {k: v for k, v in self.scalars.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def judge(result: VerifyResult, degradations: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The verdict, and the numbers behind it, at the smallest share: own loss less random's, and less the others' loss.

    It begins with "better than chance", "in part better than chance" or "no better than chance".
    """
    columns, seed = result.scalars["columns"], result.provenance["seed"]
    top = min(result.scalars["tops"])
    numbers: dict[str, Any] = {}
    sentences, passed = [], []
    for name in degradations:
        loss = result.loss(FAIG, top, degradation=name)
        own = loss[columns.index(name)]
        chance = result.loss(RANDOM, top)[columns.index(name)]
        others = [loss[columns.index(other)] for other in degradations if other != name]
        over_chance = interval(own - chance, seed)
        facts: dict[str, Any] = {
            "lost": float(own.mean()),
            "random": float(chance.mean()),
            "over_random": list(over_chance),
        }
        better = over_chance[0] > 0
        text = f"{name}: {own.mean():+.2f} dB against {chance.mean():+.2f} for random"
        if others:
            spared = np.mean(others, axis=0)
            facts |= {"others_lost": float(spared.mean()), "over_others": list(interval(own - spared, seed))}
            better = better and facts["over_others"][0] > 0
            text += f" and {spared.mean():+.2f} on the other degradations"
        facts["better_than_chance"] = bool(better)
        passed.append(better)
        numbers[name] = facts
        sentences.append(text)
    images = result.arrays["target_psnr"].shape[1]
    begin = (
        "better than chance"
        if all(passed)
        else "in part better than chance"
        if any(passed)
        else "no better than chance"
    )
    which = ", ".join(n for n, p in zip(degradations, passed, strict=True) if p)
    begin += f" (for {which})" if any(passed) and not all(passed) else ""
    few = "; with one image there is no interval, so nothing can be concluded" if images == 1 else ""
    return (
        f"{begin}: masking FAIG's top {top:.0%} costs, {'; '.join(sentences)} "
        f"({images} images, 95 % intervals by bootstrap){few}.",
        numbers,
    )
