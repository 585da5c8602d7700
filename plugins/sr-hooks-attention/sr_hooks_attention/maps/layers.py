"""What is read in one attention: from the event in the forward pass to the arrays and numbers of its layer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sr_hooks_attention.finding import Event, Site
from sr_hooks_attention.maps.check import Agreement, agreement
from sr_hooks_attention.maps.positions import Positions
from sr_hooks_attention.maps.rows import Query, Reading, read_entries, read_rows, rows_of

__all__ = ["Seen", "arrays_of", "row_of", "seen_of"]


@dataclass(frozen=True)
class Seen:
    """Of a site in the forward pass.

    Attributes:
        size: the number of its weights.
        placed: whether rows and values have pixels.
        reading: what the query reads, or None.
        channels: the weights of attention among channels, or None.
        elsewhere: whether rows and values have pixels, none of them the query's: those of other frames of a clip.
    """

    size: int
    placed: bool = False
    reading: Reading | None = None
    channels: np.ndarray | None = None
    elsewhere: bool = False


def seen_of(event: Event, kind: str, positions: Positions, query: Query, reads: bool) -> Seen:
    size = event.gate.numel()
    if event.kind != "mixture":
        return Seen(size, channels=event.gate.flatten().float().cpu().numpy())
    rows = rows_of(event, positions)
    if rows is None:
        is_square = event.gate.shape[-1] == event.gate.shape[-2]
        channels = event.gate.float().cpu().numpy() if is_square and kind == "transposed" and reads else None
        return Seen(size, channels=channels)
    reading = None
    if reads:
        reading = read_entries(rows, query) if kind == "cross" else read_rows(rows, query)
    placed = rows.keys is not None and bool(rows.keys.any())
    elsewhere = reads and reading is None and bool(query.frames) and (placed or kind == "cross")
    return Seen(size, kind != "cross" and placed, reading, elsewhere=elsewhere)


def arrays_of(index: int, seen: Seen, query: Query, heads: str) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if seen.channels is not None:
        arrays[f"channels_{index}"] = seen.channels
    if seen.reading is None:
        return arrays
    maps = seen.reading.maps[:, 1:].reshape(-1, *query.shape).float().cpu().numpy()
    arrays[f"weights_{index}"] = maps if heads == "apart" else maps.mean(axis=0)
    if seen.reading.entries is not None:
        entries = seen.reading.entries.float().cpu().numpy()
        arrays[f"entries_{index}"] = entries if heads == "apart" else entries.mean(axis=0)
    return arrays


def row_of(site: Site, seen: Seen, query: Query, used: np.ndarray | None, seed: int) -> dict[str, Any]:
    """The numbers of a layer; None where there are none."""
    row: dict[str, Any] = {"layer": site.name, "kind": site.kind}
    row |= dict.fromkeys(("heads", "entropy", "keys", "mean_distance", "offset", "outside", "reach"))
    row |= asdict(Agreement())
    if seen.channels is not None:
        return row | {"shows": "channels"}
    if seen.reading is None:
        return row | {"shows": "other frames" if seen.elsewhere else "nothing"}
    reading = seen.reading
    maps = reading.maps.cpu().numpy()
    weights, reach = maps[:, 1:].mean(axis=0), reading.reach[1:].cpu().numpy()
    y, x = (axis.ravel() for axis in np.indices(query.shape)[-2:])
    centre = np.array(query.pixels, float).mean(axis=0)
    whole = max(float(weights.sum()), 1e-30)
    row |= {
        "shows": "pixels through a dictionary" if reading.entries is not None else "pixels",
        "heads": len(maps),
        "entropy": reading.entropy,
        "keys": reading.keys,
        "mean_distance": float((weights * np.hypot(y - centre[0], x - centre[1])).sum() / whole),
        "offset": [float((weights * (axis - c)).sum() / whole) for axis, c in zip((y, x), centre, strict=True)],
        "outside": float(maps[:, 0].mean()),
        "reach": int(reach.sum()),
    }
    if query.frames:
        row["frame_shares"] = (weights.reshape(query.frames, -1).sum(axis=1) / whole).tolist()
    if used is not None:
        others = reading.others[:, 1:].cpu().numpy()
        row |= asdict(agreement(weights, used.ravel(), reach, others, seed))
    return row
