"""The mark of a cell: sound, doubtful or failed, with the reason that its tooltip shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sr_hooks.grid.report.rows import Row, is_map
from sr_hooks.grid.report.warnings import ComparisonWarning
from sr_hooks.results.card import FAILS

__all__ = ["Status", "status_of"]

_DOUBTFUL = (
    "degenerate",
    "identical",
    "imprecise",
    "not converged",
    "not judged",
    "not settled",
    "out of range",
    "published procedure",
    "swapped?",
    "undecided",
)
"""How a verdict begins where our analyses do not vouch for the result."""
_SIGNS = {"sound": "✓", "doubtful": "!", "failed": "✕", "stated": ""}


@dataclass(frozen=True)
class Status:
    """How far a cell may be relied on.

    Attributes:
        level: "sound"; "doubtful", where the verdict, a warning or a check says so; "failed"; or "stated", where the
            verdict is an answer and no judgement of soundness.
        word: the first words of the verdict.
        reason: the whole verdict, and what the checks say.
    """

    level: str
    word: str
    reason: str

    @property
    def sign(self) -> str:
        """One character; "" for no mark."""
        return _SIGNS[self.level]


def status_of(row: Row, warnings: Sequence[ComparisonWarning]) -> Status:
    """The status of a row among the warnings of its grid."""
    if row.failure is not None:
        return Status("failed", "failed", f"Failed: {row.failure}")
    doubtful = next((words for words in _DOUBTFUL if row.verdict.startswith(words)), None)
    word = doubtful or re.split("[:;]", row.verdict)[0].rstrip(".")
    reason = row.verdict
    level = "sound" if word == "sound" else "doubtful" if doubtful or is_map(row.cell) else "stated"
    if any(warning.single and row.number in warning.rows for warning in warnings):
        level = "doubtful"
    if row.card is not None:
        reason += f" Faithfulness: {row.card.overall}"
        level = "doubtful" if row.card.word == FAILS else level
    return Status(level, word, reason)
