"""Judging generalisation without ground truth: what does the network take a user's images for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sr_hooks.errors import OptionError, nearest

__all__ = ["Generalisation", "generalisation"]


@dataclass(frozen=True)
class Generalisation:
    """How a folder's images stand to the classes that the network is known to handle.

    Attributes:
        label: of the folder.
        nearest: the class that it is least separate from.
        chi: index between the two, on the principal components of all classes; small where they are represented alike.
        p: of that index, from shuffled labels.
        all: class to index, for every other class.
    """

    label: str
    nearest: str
    chi: float
    p: float | None
    all: dict[str, float]

    @property
    def stands_apart(self) -> bool:
        """Whether even the nearest class is separate, p below 0.01: the images are something else to the network."""
        return self.p is not None and self.p < 0.01

    @property
    def verdict(self) -> str:
        """In words."""
        facts = f"CHI {self.chi:.3g}" + ("" if self.p is None else f", p = {self.p:.2g}")
        if self.stands_apart:
            return f"{self.label} stands apart from all references; the nearest is {self.nearest} ({facts})"
        return f"{self.label} is not told from {self.nearest} ({facts})"


def generalisation(
    label: str, classes: Sequence[str], pairs: Mapping[str, Mapping[str, float | None]]
) -> Generalisation:
    """The same index as between degradations, between one class and every other (arXiv 2108.00406, section 6).

    A network that generalises represents unseen images as it does those that it handles. Differences of content
    separate too: let the references show what the images show, or compare two networks on the same images.

    Not for: proof of good restoration. What a network cannot tell apart it may restore badly without noticing.

    Raises:
        OptionError: no such class, or its index is undefined.
    """
    if label not in classes:
        raise OptionError(f"the result has no class {label!r}; {nearest(label, classes)}")
    found = {}
    chances = {}
    for key, pair in pairs.items():
        first, second = key.split("|")
        if label in (first, second) and pair["chi"] is not None:
            other = second if first == label else first
            found[other], chances[other] = pair["chi"], pair["p"]
    if not found:
        raise OptionError(f"no index between {label} and another class is defined")
    closest = min(found, key=lambda name: found[name])
    return Generalisation(label, closest, found[closest], chances[closest], found)
