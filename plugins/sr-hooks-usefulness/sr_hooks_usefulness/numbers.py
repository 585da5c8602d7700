"""Numbers of networks on images: from a grid's table, and from a CSV of scores."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr_hooks.errors import OptionError, ResultError, nearest

__all__ = ["Numbers", "of_grid", "read_scores"]

_TEXTS = {"analysis", "network", "group", "image", "window", "verdict", "faithfulness", "cautions", "failure"}
_TEXTS |= {"weights", "weights_sha256", "key"}


@dataclass(frozen=True)
class Numbers:
    """Values by name, each (N,M) float64 for N networks and M images; NaN where there is none.

    A number that a network has once, for all images together, stands in each column.
    """

    networks: tuple[str, ...]
    images: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    def with_numbers(self, other: Numbers) -> Numbers:
        """These, and those of another table for the same networks and images."""
        lacking = [name for name in self.networks if name not in other.networks]
        if lacking:
            raise OptionError(f"the grid has no network {lacking[0]!r}; {nearest(lacking[0], other.networks)}")
        rows = [other.networks.index(name) for name in self.networks]
        values = dict(self.values)
        for name, all_values in other.values.items():
            columns = [other.images.index(image) if image in other.images else -1 for image in self.images]
            taken = np.where(np.array(columns) < 0, np.nan, all_values[rows][:, columns])
            constant = (all_values == all_values[:, :1]).all()
            values.setdefault(name, np.repeat(all_values[rows][:, :1], len(columns), 1) if constant else taken)
        return Numbers(self.networks, self.images, values)


def of_grid(folder: str | Path) -> Numbers:
    """The numbers of a grid's table.csv, means over windows.

    Raises:
        ResultError: the folder holds no table of a grid.
    """
    file = Path(folder) / "table.csv"
    rows = _rows(file, "a grid's folder holds table.csv")
    if "network" not in rows[0] or "image" not in rows[0]:
        raise ResultError(f"{file} is no table of a grid: it has no columns network and image")
    networks = tuple(dict.fromkeys(row["network"] for row in rows))
    images = tuple(dict.fromkeys(row["image"] for row in rows if row["image"])) or ("",)
    cells: dict[str, dict[tuple[int, int], list[float]]] = {}
    for row in rows:
        columns = [images.index(row["image"])] if row["image"] else range(len(images))
        for name in row.keys() - _TEXTS:
            value = _number(row[name])
            for column in columns if value is not None else ():
                cells.setdefault(name, {}).setdefault((networks.index(row["network"]), column), []).append(value)
    values = {}
    for name in [key for key in rows[0] if key in cells]:
        values[name] = np.full((len(networks), len(images)), np.nan)
        for position, numbers in cells[name].items():
            values[name][position] = np.mean(numbers)
    return Numbers(networks, images, values)


def read_scores(file: str | Path, networks: Sequence[str], images: Sequence[str]) -> np.ndarray:
    """(N,M): the column `score` of a CSV with the columns network and score, and image where scores are by image.

    Raises:
        ResultError: no such table.
        OptionError: a network or an image has no score.
    """
    rows = _rows(Path(file), "the scores are a CSV with the columns network, score and, where it applies, image")
    if not {"network", "score"} <= rows[0].keys():
        raise ResultError(f"{file} has the columns {', '.join(rows[0])}, and needs network and score")
    scores = np.full((len(networks), len(images)), np.nan)
    for row in rows:
        value = _number(row["score"])
        image = row.get("image") or ""
        if value is None or row["network"] not in networks or (image and image not in images):
            continue
        columns = images.index(image) if image else slice(None)
        scores[networks.index(row["network"]), columns] = value
    empty = [name for name, row in zip(networks, scores, strict=True) if np.isnan(row).all()]
    if empty:
        there = sorted({row["network"] for row in rows})
        raise OptionError(f"{file} has no score of the network {empty[0]!r}; {nearest(empty[0], there)}")
    return scores


def _rows(file: Path, wanted: str) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultError(f"cannot read {file} ({error}): {wanted}") from None
    if not rows:
        raise ResultError(f"{file} has no rows: {wanted}")
    return [{str(key): value or "" for key, value in row.items()} for row in rows]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
