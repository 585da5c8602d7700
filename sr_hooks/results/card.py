"""The card of a result: the verdicts of all checks with their figures, and one sentence over all."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sr_hooks.errors import ResultError
from sr_hooks.figures.style import INK, caption, new_figure, plain
from sr_hooks.files.strict_json import to_json
from sr_hooks.results.display import html_table, picture_html, shorten
from sr_hooks.results.reading import read_record

__all__ = ["FAILS", "PASSES", "UNDECIDED", "Card", "Verdict"]

PASSES, FAILS, UNDECIDED = "passes", "fails", "undecided"
_FORMAT = 1


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        return f"Verdict({self.name}: {self.word}: {shorten(self.sentence, 100)})"


@dataclass(frozen=True, repr=False)
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

        return card_figure(self)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.verdicts), self.overall])

    def __repr__(self) -> str:
        words = ", ".join(f"{verdict.name} {verdict.word}" for verdict in self.verdicts)
        return f"Card({shorten(self.subject, 60)}: {words})"

    def _repr_html_(self) -> str:
        rows = [{"check": v.name, "verdict": v.word, "why": v.sentence} for v in self.verdicts]
        overall = f"<p>{html.escape(self.overall)}</p>"
        return f"{picture_html(self.figure, self.subject)}{html_table(rows)}{overall}"

    # -- on disk -----------------------------------------------------------------------------------

    def as_record(self) -> dict[str, Any]:
        """The card as JSON can hold it."""
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
        """A card from the dictionary that `as_record` returned."""
        if record["format"] > _FORMAT:
            raise ResultError(f"the card was written by a newer sr_hooks (format {record['format']}); upgrade")
        verdicts = tuple(Verdict(v["name"], v["word"], v["sentence"], v["figures"]) for v in record["verdicts"])
        for verdict in verdicts:
            texts = (verdict.name, verdict.word, verdict.sentence)
            if not all(isinstance(text, str) for text in texts) or not isinstance(verdict.figures, Mapping):
                raise ValueError("a verdict of the card has texts or figures of another type")
        return cls(verdicts, record["subject"], record["provenance"])

    def write(self, path: Path) -> None:
        path.write_text(to_json(self.as_record()), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Card:
        return cls.from_record(read_record(path, {"format": int, "verdicts": list, "subject": str, "provenance": dict}))


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


# The colours of Okabe and Ito, which colour-blind readers can tell apart; the words say the same.
WORD_COLOURS = {"passes": "#009e73", "fails": "#d55e00", "undecided": "#8a6d00"}
_MAP, _RANDOM, _NEAREST, _FAINT = "#0072b2", "#777777", "#e69f00", "#bbbbbb"


def card_figure(card: Card) -> Any:
    """One panel a check, its verdict in its title, and the overall sentence below."""
    figure = new_figure(3.5 * len(card.verdicts), 3.9)
    panels = np.atleast_1d(figure.subplots(1, len(card.verdicts)))
    for axes, verdict in zip(panels, card.verdicts, strict=True):
        axes.set_title(f"{verdict.name}\n{verdict.word}", fontsize=9, color=WORD_COLOURS.get(verdict.word, INK))
        axes.tick_params(labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        draw = _DRAWN.get(verdict.name)
        if draw is None or not draw(axes, verdict):
            _draw_sentence(axes, verdict)
    figure.suptitle(plain(f"{card.subject}: can the map be relied on?"), fontsize=11, color=INK, x=0.01, ha="left")
    caption(figure, card.overall)
    return figure


def _draw_sentence(axes: Any, verdict: Verdict) -> None:
    """The panel of a check that measured nothing: its sentence."""
    axes.axis("off")
    axes.text(0.5, 0.5, textwrap.fill(verdict.sentence, 34), ha="center", va="center", fontsize=8, color=INK)


def _completeness(axes: Any, verdict: Verdict) -> bool:
    figures = verdict.figures
    if "sum" not in figures:
        return False
    axes.bar([0, 1], [figures["sum"], figures["change"]], color=[_MAP, _RANDOM], width=0.6)
    axes.set_xticks([0, 1], ["sum of\nthe map", "change of the\nobjective"], fontsize=8)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.margins(y=0.15)
    axes.set_ylabel("objective", fontsize=8)
    axes.set_xlabel(f"gap: {figures['gap']:.2%} of the sum of |map|", fontsize=8)
    return True


def _randomisation(axes: Any, verdict: Verdict) -> bool:
    figures = verdict.figures
    if "correlation" not in figures:
        return False
    redrawn, means = np.array(figures["redrawn"]), np.array(figures["correlation"])
    widths = np.array([0.0 if width is None else width for width in figures["half_width"]])
    axes.axhline(figures["limit"], color=_FAINT, linewidth=1, linestyle="--")
    axes.text(redrawn[-1], figures["limit"] + 0.015, "limit", fontsize=7, color="#777777", ha="right")
    axes.errorbar(redrawn, means, yerr=widths, color=_MAP, marker="o", markersize=4, linewidth=1.3, capsize=2)
    axes.set_ylim(min(-0.25, float((means - widths).min()) - 0.05), 1.08)
    axes.set_xlabel("layers redrawn, from the last", fontsize=8)
    kind = "signed" if figures["signed"] else "at equal distance"
    axes.set_ylabel(f"rank correlation with the map ({kind})", fontsize=8)
    return True


def _deletion(axes: Any, verdict: Verdict) -> bool:
    figures = verdict.figures
    if "map" not in figures:
        return False
    pixels = figures["pixels"]
    for name, colour, label in (
        ("random", _RANDOM, "random"),
        ("nearest", _NEAREST, "nearest"),
        ("map", _MAP, "the map"),
    ):
        for which, style in (("deletion", "-"), ("insertion", ":")):
            curve = np.array(figures[name][which])
            axes.plot(pixels, curve, style, color=colour, linewidth=1.5, label=label if style == "-" else None)
            if f"{which}_half_width" in figures[name]:
                width = np.array(figures[name][f"{which}_half_width"])
                axes.fill_between(pixels, curve - width, curve + width, color=colour, alpha=0.18, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("pixels re-blurred (—) or made sharp (···)", fontsize=8)
    axes.set_ylabel("error of the window / all re-blurred", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
    return True


def _baselines(axes: Any, verdict: Verdict) -> bool:
    figures = verdict.figures
    if "correlation" not in figures:
        return False
    names = list(figures["correlation"])
    rows = np.arange(len(names))
    everywhere = [figures["correlation"][name] for name in names]
    nearby = [figures["local_correlation"][name] for name in names]
    axes.axvline(figures["limit"], color=_FAINT, linewidth=1, linestyle="--")
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.barh(rows - 0.19, everywhere, height=0.34, color=_MAP, label="all pixels")
    axes.barh(rows + 0.19, nearby, height=0.34, color=_NEAREST, label="at equal distance")
    labels = [f"{name}\nDI {figures['diffusion_index'][name]:.2f}" for name in names]
    axes.set_yticks(rows, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(min(-0.1, *everywhere, *nearby), 1.05)
    axes.set_xlabel(f"rank correlation with the map (DI {figures['diffusion_index']['this map']:.2f})", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return True


_DRAWN: dict[str, Callable[[Any, Verdict], bool]] = {
    "completeness": _completeness,
    "model randomisation": _randomisation,
    "deletion and insertion": _deletion,
    "other baselines": _baselines,
}
