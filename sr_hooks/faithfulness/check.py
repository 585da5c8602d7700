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
    """Run four checks on the map of a LAM result, and return a card: four verdicts and one sentence over all.

    1. *Completeness*: the sum of the attribution A equals the change of the objective along the path. The difference is
       below 5 % of the sum of |A|.
    2. *Model randomisation* (Adebayo et al., arXiv 1810.03292): layers get random weights in copies, from the last
       layer to the first. The rank correlation of the map with the maps of the copies must end below 0.7.
    3. *Deletion and insertion*: the pixels that the map ranks first are blurred (in a blurred image: made sharp). The
       window must change sooner than with random pixels, and sooner than with the pixels nearest to the window.
    4. *Other baselines*: LAM from a black, a blurred, a noisy and a mean baseline must rank the pixels alike, with a
       rank correlation above 0.7.

    The card becomes `result.card`. `result.save` writes the card as card.json and card.png, and the figure names the
    card. With `attribute`, the result keeps no card, because the map is not the map of the result.

    Not for: proving that a map is right. Each check can show that a map is wrong. A map that passes all four is not
    contradicted by them. docs/check.md says what each check cannot detect.

    Args:
        result: of `sr_hooks.lam`. The array in the result is what is checked, also if you replaced it.
        network: the network of the result; needed for a result from a folder whose provenance names none.
        image: the network's input; by default the input in the result.
        attribute: a function, to check another method on the same window: (Network, image (1,C,h,w), window) to a
            signed attribution (C,h,w) or a map (h,w). `check` calls it again for the copies with random weights.
        draws: number of copies with random weights, at least 3; up to four times as many if the check is undecided.
        orders: number of random orders of pixels, at least 3, and of nearest orders.
        seed: of weights, orders and noise.

    Returns:
        The card. Equal seeds give equal cards.

    Raises:
        SRHooksError: the result is no LAM; the network or image is missing or not the result's; an option is wrong.

    Examples:
        >>> import torch, sr_hooks
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(3, 3, 3, padding=1)
        >>> result = sr_hooks.lam(network, torch.rand(1, 3, 12, 12), window=(4, 4, 4))
        >>> card = sr_hooks.check(result, network, draws=3, orders=3)
        >>> [verdict.name for verdict in card.verdicts]
        ['completeness', 'model randomisation', 'deletion and insertion', 'other baselines']
        >>> card.verdict("completeness").word, card is result.card
        ('passes', True)
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
