"""Comparisons that a grid invites and that are unsound: each said in a sentence, with the cells it is about."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sr_hooks.core.escapes import one_line
from sr_hooks.grid.report.rows import Gathered, Row

__all__ = ["Caution", "cautions_of"]

_SHOWN = 4  # cells that a sentence names


@dataclass(frozen=True)
class Caution:
    """Why numbers should not be compared, or one of them not be read at all.

    Attributes:
        kind: canvas, mean, input range, weights, options, samples, map, same weights.
        sentence: for people.
        rows: numbers of the rows that it is about.
        single: it is about each of these rows by itself, not about comparing them.
        unsound: it makes a comparison unsound, so that no table names a best; or else it is only good to know.
    """

    kind: str
    sentence: str
    rows: frozenset[int]
    single: bool = False
    unsound: bool = True

    def applies(self, rows: Set[int]) -> bool:
        """Whether a table or figure of these rows must say it."""
        return len(self.rows & rows) >= (1 if self.single else 2)


def cautions_of(gathered: Gathered) -> list[Caution]:
    """All of a grid, most general first."""
    found: list[Caution] = [*_networks(gathered)]
    for analysis in gathered.plan.asked.analyses:
        rows = [row for row in gathered.of(analysis) if row.failure is None]
        found += _options(rows)
        found += _canvases(rows)
        found += _samples(rows)
        found += _maps(rows)
    return found


def _networks(gathered: Gathered) -> Iterator[Caution]:
    """What differs between the networks, whatever is asked of them."""
    rows = [row for row in gathered.rows if row.failure is None]
    ranges = _grouped(rows, lambda row: row.provenance["network"]["input_range"])
    if len(ranges) > 1:
        said = _listed({f"[0, {white:g}]": _names(group) for white, group in ranges.items()})
        yield Caution(
            "input range",
            f"Different input ranges: {said}. A range that is not the network's own changes output and map: make sure "
            "that each is right before comparing.",
            _numbers(rows),
        )
    kinds = _grouped(rows, lambda row: _averaged(row.provenance["network"]["weights"]))
    if True in kinds and len(kinds) > 1:
        said = _listed({_place(g[0]): _names(g) for g in _grouped(rows, _place).values()})
        yield Caution(
            "weights",
            f"Averaged (EMA) weights beside weights that are not known to be averaged: {said}. What averaging does is "
            "mixed with what the networks do: take the same kind of weights of each.",
            _numbers(rows),
        )
    for group in _grouped(rows, lambda row: row.provenance["network"]["sha256"]).values():
        names = _names(group)
        if len(names) > 1:
            yield Caution("same weights", f"{_and(names)} have the very same weights.", _numbers(group), unsound=False)


def _options(rows: Sequence[Row]) -> Iterator[Caution]:
    """Networks that were given other options of the same analysis."""

    def plain(row: Row) -> str:
        return str(sorted((k, str(v)) for k, v in row.cell.options.items() if k not in ("window", "baseline")))

    if len(_grouped(rows, plain)) > 1:
        yield Caution(
            "options",
            f"{rows[0].cell.analysis} was run with different options: "
            f"{_listed({text: _names(group) for text, group in _grouped(rows, plain).items()})}.",
            _numbers(rows),
        )


def _canvases(rows: Sequence[Row]) -> Iterator[Caution]:
    """DI depends on the size of the map, and a window means something else where it covers other input pixels."""
    mapped = [row for row in rows if "canvas" in row.scalars]
    for group in _grouped(mapped, lambda row: (row.cell.image, row.cell.window)).values():
        sizes = _grouped(group, lambda row: tuple(row.scalars["canvas"]["input"]))
        if len(sizes) > 1:
            said = _listed({_times(size): _names(members) for size, members in sizes.items()})
            window = "; the same window covers different input areas" if group[0].cell.window else ""
            yield Caution(
                "canvas",
                f"Different canvases for {one_line(group[0].image)}: inputs of {said}{window}. DI depends on the "
                "canvas: compare networks of one scale, or effective pixels with care.",
                _numbers(group),
            )
    one = next(
        iter(_grouped(mapped, lambda row: row.cell.network).values()), []
    )  # a network's, since each sees the same
    sizes = _grouped(one, lambda row: tuple(row.scalars["canvas"]["input"]))
    shapes = _grouped([row for row in one if row.cell.window], lambda row: (row.cell.window or ())[2:])
    differing = []
    if len(sizes) > 1:
        differing.append("canvases (" + ", ".join(map(_times, sizes)) + " input pixels)")
    if len(shapes) > 1:
        differing.append("windows (" + ", ".join(map(_times, shapes)) + " output pixels)")
    if differing:
        yield Caution(
            "mean",
            f"Images have different {' and '.join(differing)}: DI depends on both, so that columns should not be "
            "compared with each other, and their mean is a number without a meaning of its own.",
            _numbers(mapped),
        )


def _samples(rows: Sequence[Row]) -> Iterator[Caution]:
    """A Calinski-Harabasz index grows with the number of features."""
    counted = [row for row in rows if "counts" in row.scalars and "patch" in row.scalars]
    sizes = _grouped(counted, lambda row: (sum(row.scalars["counts"]), row.scalars["patch"]))
    if len(sizes) > 1:
        said = _listed({f"{n} patches of {side} pixels": _names(group) for (n, side), group in sizes.items()})
        yield Caution(
            "samples", f"Different samples: {said}. CHI grows with their number: compare equal ones.", _numbers(counted)
        )


def _maps(rows: Sequence[Row]) -> Iterator[Caution]:
    """Maps whose own verdict says that they mean nothing, or not enough."""
    for kind, consequence in (
        ("degenerate", "whose diffusion index says nothing"),
        ("out of range", "not to be trusted"),
        ("imprecise", "not to be trusted"),
        ("not converged", "whose numbers may still change"),
    ):
        found = [row for row in rows if row.verdict.startswith(kind)]
        if found:
            shown = "; ".join(map(_place_of, found[:_SHOWN]))
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            what = f"{kind[0].upper()}{kind[1:]}, {consequence}: {rows[0].cell.analysis} of {shown}{more}."
            yield Caution("map", what, _numbers(found), single=True)


def _place_of(row: Row) -> str:
    image = f", {one_line(row.image)}" if row.image else ""
    window = f", window {row.window}" if row.window else ""
    return f"{one_line(row.network)}{image}{window}"


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _averaged(place: str) -> bool:
    return "ema" in place.lower().split("_")


def _place(row: Row) -> str:
    return one_line(str(row.provenance["network"]["weights"]))


def _grouped(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(one_line(row.network) for row in rows))


def _numbers(rows: Sequence[Row]) -> frozenset[int]:
    return frozenset(row.number for row in rows)


def _listed(groups: dict[str, list[str]]) -> str:
    return "; ".join(f"{what} ({_and(names)})" for what, names in groups.items())


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
