"""The card of checks that stands beside a result: verdicts with their figures, and one sentence over all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_hooks.errors import ResultError

__all__ = ["FAILS", "PASSES", "UNDECIDED", "Card", "Verdict"]

PASSES, FAILS, UNDECIDED = "passes", "fails", "undecided"
_FORMAT = 1


@dataclass(frozen=True)
class Verdict:
    """One check.

    Attributes:
        name: of the check, e.g. "model randomisation".
        word: "passes", "fails" or "undecided".
        sentence: why, with its numbers.
        figures: the numbers themselves, by name: numbers, texts, and lists and mappings of them.
    """

    name: str
    word: str
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}: {self.word}: {self.sentence}"


@dataclass(frozen=True)
class Card:
    """What checks say of a map.

    Attributes:
        verdicts: one a check, in order.
        subject: what was checked.
        provenance: seed, draws, and the SHA-256 of the network's weights and of the image.
    """

    verdicts: tuple[Verdict, ...]
    subject: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """Over all: "fails" where one check fails, else "undecided" where one is, else "passes"."""
        words = {verdict.word for verdict in self.verdicts}
        return next((word for word in (FAILS, UNDECIDED) if word in words), PASSES)

    @property
    def overall(self) -> str:
        """One sentence over all verdicts."""
        failed = [verdict.name for verdict in self.verdicts if verdict.word == FAILS]
        unclear = [verdict.name for verdict in self.verdicts if verdict.word == UNDECIDED]
        if failed:
            return f"not to be relied on: fails {_listed(failed)}" + (
                f"; {_listed(unclear)} undecided." if unclear else "."
            )
        if unclear:
            passed = len(self.verdicts) - len(unclear)
            return f"not contradicted: passes {passed} of {len(self.verdicts)} checks; {_listed(unclear)} undecided."
        return f"faithful as far as checked: passes {_listed([verdict.name for verdict in self.verdicts])}."

    def verdict(self, name: str) -> Verdict:
        """The verdict of that name.

        Raises:
            KeyError: there is none.
        """
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise KeyError(name)

    def figure(self) -> Any:
        """A matplotlib Figure of the card."""
        from sr_hooks.figures.card import card_figure

        return card_figure(self)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.verdicts), self.overall])

    # -- on disk -----------------------------------------------------------------------------------

    def as_record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "format": _FORMAT,
            "overall": self.overall,
            "word": self.word,
            "subject": self.subject,
            "verdicts": [
                {"name": v.name, "word": v.word, "sentence": v.sentence, "figures": _plain(v.figures)}
                for v in self.verdicts
            ],
            "provenance": _plain(self.provenance),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Card:
        """The way back from `as_record`."""
        if record["format"] > _FORMAT:
            raise ResultError(f"the card was written by a newer sr_hooks (format {record['format']}); upgrade")
        verdicts = tuple(Verdict(v["name"], v["word"], v["sentence"], v["figures"]) for v in record["verdicts"])
        return cls(verdicts, record["subject"], record["provenance"])

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_record(), indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Card:
        return cls.from_record(json.loads(path.read_text(encoding="utf-8")))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _plain(value: Any) -> Any:
    """Numbers of NumPy as Python's; what is not finite as None, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
