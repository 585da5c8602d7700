"""Warnings about unsound comparisons between a grid's cells: a sentence each, with the rows that it concerns."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sr_hooks.core.text import one_line
from sr_hooks.grid.report.rows import GridRows, Row

__all__ = ["ComparisonWarning", "comparison_warnings"]

_SHOWN = 4  # cells that a sentence names


@dataclass(frozen=True)
class ComparisonWarning:
    """The reason why numbers should not be compared, or why one number should not be relied on.

    Attributes:
        kind: canvas, mean, input range, weights, options, samples, doubt, map, locks, same weights.
        sentence: the text that readers see.
        rows: indices of the rows that the warning concerns.
        single: the warning concerns each row by itself, not the comparison of rows.
        unsound: the comparison is unsound and no table marks a best value; if False, the warning only informs.
    """

    kind: str
    sentence: str
    rows: frozenset[int]
    single: bool = False
    unsound: bool = True

    def applies(self, rows: Set[int]) -> bool:
        """Whether a table or figure of these rows must show the warning."""
        return len(self.rows & rows) >= (1 if self.single else 2)


def comparison_warnings(
    grid: GridRows, overlaps: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[ComparisonWarning]:
    """All warnings of a grid, the most general first.

    Args:
        overlaps: keys of cells that two hosts computed at once, and the names of both (`GridFolder.overlaps`).
    """
    warnings: list[ComparisonWarning] = [*_networks(grid)]
    for analysis in grid.plan.request.analyses:
        rows = [row for row in grid.of(analysis) if row.failure is None]
        warnings += _options(rows)
        warnings += _canvases(rows)
        warnings += _samples(rows)
        warnings += _doubts(rows)
        warnings += _maps(rows)
        warnings += _overlaps(rows, overlaps)
    return warnings


def _overlaps(rows: Sequence[Row], overlaps: Mapping[str, Sequence[str]]) -> Iterator[ComparisonWarning]:
    """Warnings about cells that two hosts computed at once, because locks do not hold between them."""
    double = [row for row in rows if row.cell.key in overlaps]
    for names, group in _grouped(double, lambda row: tuple(overlaps[row.cell.key])).items():
        shown = "; ".join(map(_cell_label, group[:_SHOWN]))
        more = f"; and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        sentence = (
            f"Computed twice at once, by {one_line(' and '.join(names))}, so file locks do not hold between them; "
            f"the result that was stored last is shown: {rows[0].cell.analysis} of {shown}{more}."
        )
        yield ComparisonWarning("locks", sentence, _numbers(group), single=True)


def _networks(grid: GridRows) -> Iterator[ComparisonWarning]:
    """Warnings about differences between the networks, for every analysis."""
    rows = [row for row in grid.rows if row.failure is None]
    ranges = _grouped(rows, lambda row: row.provenance["network"]["input_range"])
    if len(ranges) > 1:
        groups_text = _listed({f"[0, {white:g}]": _names(group) for white, group in ranges.items()})
        yield ComparisonWarning(
            "input range",
            f"Different input ranges: {groups_text}. A range that is not the network's own changes output and map: "
            "make sure that each is right before comparing.",
            _numbers(rows),
        )
    kinds = _grouped(rows, lambda row: _averaged(row.provenance["network"]["weights"]))
    if True in kinds and len(kinds) > 1:
        groups_text = _listed({_weights_key(g[0]): _names(g) for g in _grouped(rows, _weights_key).values()})
        yield ComparisonWarning(
            "weights",
            f"Averaged (EMA) weights beside weights that are not known to be averaged: {groups_text}. What averaging "
            "does is mixed with what the networks do: take the same kind of weights of each.",
            _numbers(rows),
        )
    for group in _grouped(rows, lambda row: row.provenance["network"]["sha256"]).values():
        names = _names(group)
        if len(names) > 1:
            yield ComparisonWarning(
                "same weights", f"{_join_names(names)} have the very same weights.", _numbers(group), unsound=False
            )


def _options(rows: Sequence[Row]) -> Iterator[ComparisonWarning]:
    """Warnings about networks whose options of one analysis differ."""

    def plain(row: Row) -> str:
        return str(sorted((k, str(v)) for k, v in row.cell.options.items() if k not in ("window", "baseline")))

    if len(_grouped(rows, plain)) > 1:
        yield ComparisonWarning(
            "options",
            f"{rows[0].cell.analysis} was run with different options: "
            f"{_listed({text: _names(group) for text, group in _grouped(rows, plain).items()})}.",
            _numbers(rows),
        )


def _canvases(rows: Sequence[Row]) -> Iterator[ComparisonWarning]:
    """Warnings about canvases: DI depends on the size of the map, and a window may cover different input pixels."""
    mapped = [row for row in rows if "canvas" in row.scalars]
    for group in _grouped(mapped, lambda row: (row.cell.image, row.cell.window)).values():
        sizes = _grouped(group, lambda row: tuple(row.scalars["canvas"]["input"]))
        if len(sizes) > 1:
            groups_text = _listed({_times(size): _names(members) for size, members in sizes.items()})
            window = "; the same window covers different input areas" if group[0].cell.window else ""
            yield ComparisonWarning(
                "canvas",
                f"Different canvases for {one_line(group[0].image)}: inputs of {groups_text}{window}. DI depends on "
                "the canvas: compare networks of one scale, or effective pixels with care.",
                _numbers(group),
            )
    by_network = _grouped(mapped, lambda row: row.cell.network)
    first_network = next(iter(by_network.values()), [])  # one network is enough: all see the same images
    sizes = _grouped(first_network, lambda row: tuple(row.scalars["canvas"]["input"]))
    shapes = _grouped([row for row in first_network if row.cell.window], lambda row: (row.cell.window or ())[2:])
    differing = []
    if len(sizes) > 1:
        differing.append("canvases (" + ", ".join(map(_times, sizes)) + " input pixels)")
    if len(shapes) > 1:
        differing.append("windows (" + ", ".join(map(_times, shapes)) + " output pixels)")
    if differing:
        yield ComparisonWarning(
            "mean",
            f"Images have different {' and '.join(differing)}: DI depends on both, so that columns should not be "
            "compared with each other, and their mean is a number without a meaning of its own.",
            _numbers(mapped),
        )


def _samples(rows: Sequence[Row]) -> Iterator[ComparisonWarning]:
    """Warnings about sample sizes: a Calinski-Harabasz index grows with the number of features."""
    counted = [row for row in rows if "counts" in row.scalars and "patch" in row.scalars]
    sizes = _grouped(counted, lambda row: (sum(row.scalars["counts"]), row.scalars["patch"]))
    if len(sizes) > 1:
        groups_text = _listed({f"{n} patches of {side} pixels": _names(group) for (n, side), group in sizes.items()})
        yield ComparisonWarning(
            "samples",
            f"Different samples: {groups_text}. CHI grows with their number: compare equal ones.",
            _numbers(counted),
        )


def _doubts(rows: Sequence[Row]) -> Iterator[ComparisonWarning]:
    """Warnings that results carry: a guessed fact, a network that is not repeatable, a gradient that is cut."""
    doubtful = [row for row in rows if row.provenance.get("warnings")]
    for kind, group in _grouped(doubtful, lambda row: str(row.provenance["warnings"][0]).partition(":")[0]).items():
        shown = "; ".join(map(_cell_label, group[:_SHOWN]))
        more = f"; and {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        sentence = (
            f"{kind[0].upper()}{kind[1:]}, so not to be relied on alone: {rows[0].cell.analysis} of {shown}{more}."
        )
        yield ComparisonWarning("doubt", sentence, _numbers(group), single=True)


def _maps(rows: Sequence[Row]) -> Iterator[ComparisonWarning]:
    """Warnings about maps whose own verdict says that the map is not reliable."""
    for kind, consequence in (
        ("degenerate", "whose diffusion index says nothing"),
        ("out of range", "not to be trusted"),
        ("imprecise", "not to be trusted"),
        ("not converged", "whose numbers may still change"),
    ):
        unreliable = [row for row in rows if re.search(rf"(^|; ){kind}\b", row.verdict)]  # warnings may stand before
        if unreliable:
            shown = "; ".join(map(_cell_label, unreliable[:_SHOWN]))
            more = f"; and {len(unreliable) - _SHOWN} more" if len(unreliable) > _SHOWN else ""
            sentence = f"{kind[0].upper()}{kind[1:]}, {consequence}: {rows[0].cell.analysis} of {shown}{more}."
            yield ComparisonWarning("map", sentence, _numbers(unreliable), single=True)


def _cell_label(row: Row) -> str:
    image = f", {one_line(row.image)}" if row.image else ""
    window = f", window {row.window}" if row.window else ""
    return f"{one_line(row.network)}{image}{window}"


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _averaged(weights_key: str) -> bool:
    return "ema" in weights_key.lower().split("_")


def _weights_key(row: Row) -> str:
    return one_line(str(row.provenance["network"]["weights"]))


def _grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(one_line(row.network) for row in rows))


def _numbers(rows: Sequence[Row]) -> frozenset[int]:
    return frozenset(row.number for row in rows)


def _listed(groups: dict[str, list[str]]) -> str:
    return "; ".join(f"{what} ({_join_names(names)})" for what, names in groups.items())


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
