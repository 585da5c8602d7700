"""The completeness check: the sum of the attribution must equal the change of the objective along the path."""

from __future__ import annotations

import torch

from sr_hooks.attribution.image_paths import curves_of, make_path
from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.faithfulness.subject import Subject
from sr_hooks.results.card import FAILS, PASSES, UNDECIDED, Verdict

__all__ = ["NAME", "judge"]

NAME = "completeness"
LIMIT = 0.05  # the limit of LAM's own verdict


def judge(subject: Subject) -> Verdict:
    """Compute |sum A - (D(image) - D(baseline))| / sum |A| for an attribution A, with two new forward passes."""
    options, network = subject.options, subject.network
    path = make_path(options.path, seed=options.seed)
    objective = make_objective(options.objective, gt=options.gt)
    curves, changes = curves_of(path), []
    with torch.no_grad():
        for curve in curves:
            values = []
            for point in torch.split(curve(subject.image, [0.0, 1.0]), 1):
                x = point.to(network.device)
                values.append(float(objective(network(x).float(), x, subject.window)))
            changes.append(values[1] - values[0])
    change, total = sum(changes) / len(changes), float(subject.attribution.sum())
    size = max(float(abs(subject.attribution).sum()), abs(change))
    gap = abs(total - change) / size if size > 0 else 0.0
    figures = {"sum": total, "change": change, "size": size, "gap": gap, "limit": LIMIT}
    if gap > LIMIT:
        sentence = (
            f"the map sums to {total:.4g} where the objective changed by {change:.4g}, a gap of {gap:.1%} of its size "
            f"(limit {LIMIT:.0%})"
        )
        return Verdict(NAME, FAILS, sentence, figures)
    if abs(total - change) > abs(change) / 2:
        sentence = (
            f"the objective changed by {change:.4g}, little next to the map's size of {size:.4g}, and the map sums to "
            f"{total:.4g}: a map of both signs may do so by chance"
        )
        return Verdict(NAME, UNDECIDED, sentence, figures)
    sentence = f"the map sums to {total:.4g}, and the objective changed by {change:.4g}: a gap of {gap:.1%} of its size"
    return Verdict(NAME, PASSES, sentence, figures)
