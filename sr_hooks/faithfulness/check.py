"""`sr_hooks.check`: the four faithfulness checks of an attribution map, collected on a card."""

from __future__ import annotations

from typing import Any

import torch

from sr_hooks.core.options import check_value
from sr_hooks.core.progress import progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.faithfulness import baselines, completeness, deletion, randomisation
from sr_hooks.faithfulness.subject import Attribute, Subject, subject_of
from sr_hooks.images.image import sha256_of
from sr_hooks.inference.calibration import calibrate
from sr_hooks.inference.memory.fallback import with_less_memory
from sr_hooks.results.card import Card, Verdict
from sr_hooks.results.result import Result

__all__ = ["Card", "Verdict", "check"]

_FEWEST = 3


def check(
    result: Result,
    network: Any = None,
    image: Any = None,
    *,
    attribute: Attribute | None = None,
    draws: int = 4,
    orders: int = 8,
    seed: int = 0,
) -> Card:
    """Four checks of a LAM, or of any other map of its window: a card with four verdicts and one sentence over all.

    1. *Completeness*: the attribution's sum is the objective's change along the path, to 5 % of its size.
    2. *Model randomisation* (Adebayo et al., arXiv 1810.03292): layers are redrawn from the last to the first, in
       copies; the rank correlation of the map with the copies' maps must end below 0.7.
    3. *Deletion and insertion*: the pixels that the map ranks first are re-blurred (or, in a blurred image, made
       sharp); the window must change sooner than with random pixels, and than with the pixels nearest to it.
    4. *Other baselines*: LAM from a black, blurred, noisy and mean baseline must rank the pixels alike (above 0.7).

    The card is kept as `result.card`, written by `result.save` as card.json and card.png, and named in the figure,
    except with `attribute`, whose map is not the result's.

    Not for: proving a map right. Each check can show a map wrong; a map that passes all is not contradicted by them.
    docs/check.md says what each cannot see.

    Args:
        result: of `sr_hooks.lam`. Its array may have been replaced: it is the array that is checked.
        network: as the result was computed from; needed for a result from a folder whose provenance names none.
        image: the network's input; by default that in the result.
        attribute: check another method's map of the same window: (Network, image (1,C,h,w), window) to an attribution
            (C,h,w), signed where the method has signs, or a map (h,w). It is called again for redrawn copies.
        draws: redrawn networks, at least 3; up to four times as many where they do not decide.
        orders: random orders of pixels, at least 3, and as many of the nearest.
        seed: of weights, orders and noise.

    Returns:
        The card. Equal seeds give equal cards.

    Raises:
        SRHooksError: no LAM; a network or image that is missing or not the result's; a bad option.
    """
    for name, value in (("draws", draws), ("orders", orders)):
        check_value(name, value, int, where="check")
        if value < _FEWEST:
            raise OptionError(f"check: {name} is {value}: an interval needs at least {_FEWEST}")
    check_value("seed", seed, int, where="check", at_least=0)
    subject = subject_of(result, network, image, attribute)
    with subject.network.prepared(), torch.inference_mode(False), progress_bar("check") as progress:
        verdicts = with_less_memory(
            subject.network, lambda: _verdicts(subject, draws, orders, seed, progress), what="check"
        )
    provenance = {
        "network_sha256": subject.network.sha256(),
        "input_sha256": sha256_of(subject.image),
        "window": list(subject.window.as_tuple()),
        "seed": seed,
        "draws": draws,
        "orders": orders,
    }
    card = Card(verdicts, subject.name, provenance)
    if attribute is None:
        result.card = card
    return card


def _verdicts(subject: Subject, draws: int, orders: int, seed: int, progress: Any) -> tuple[Verdict, ...]:
    plan = calibrate(subject.network, (subject.image.shape[1], *subject.image.shape[2:]))
    return (
        completeness.judge(subject),
        randomisation.judge(subject, draws=draws, seed=seed, tick=progress.update),
        deletion.judge(subject, draws=orders, seed=seed, plan=plan, tick=progress.update),
        baselines.judge(subject, seed=seed, tick=progress.update),
    )
