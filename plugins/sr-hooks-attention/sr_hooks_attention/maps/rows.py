"""What one query reads: a row of attention weights, put on the input's pixels through the positions of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sr_hooks_attention.finding import Event
from sr_hooks_attention.maps.positions import Numbers, Positions, constant

__all__ = ["Query", "Reading", "Rows", "read_entries", "read_rows", "rows_of"]

_NOTHING = 1e-30  # a weight below this is that of a masked position
_OTHERS = 199  # queries of other windows that are the control


@dataclass(frozen=True)
class Query:
    """Pixels whose weights are read, of an input (1,C,h,w), or of one frame of a clip (1,T,C,h,w).

    Attributes:
        pixels: (y, x) of each.
        size: (h, w).
        frames: T of a clip; 0 of an image.
        frame: of a clip, the frame of the pixels.
    """

    pixels: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    frames: int = 0
    frame: int = 0

    def numbers(self, cell: int) -> list[int]:
        """The number of each pixel's cell, as `Numbers` has it, without repetition."""
        height, width = self.size
        first = 1 + self.frame * height * width
        return list(dict.fromkeys(first + y // cell * cell * width + x // cell * cell for y, x in self.pixels))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a map: (h,w), or (T,h,w) of a clip."""
        return (self.frames, *self.size) if self.frames else self.size

    @property
    def length(self) -> int:
        """The count of pixel numbers, which begin with 0 for what is outside of the image."""
        return max(self.frames, 1) * self.size[0] * self.size[1] + 1


@dataclass(frozen=True)
class Rows:
    """All rows of an attention, L times n queries, each over m values.

    Attributes:
        weights: (L,n,m), rows summing to 1; L counts windows and heads.
        queries: (L,n) whole numbers of the pixel at which a row writes; negative of mirrored copies, 0 of none.
        keys: (L,m,e) whole numbers of the pixels that a value comes from, e of them in equal shares; or None.
        cell: the side of the square of input pixels that a position stands for.
    """

    weights: torch.Tensor
    queries: torch.Tensor
    keys: torch.Tensor | None
    cell: int


@dataclass(frozen=True)
class Reading:
    """What the query reads in one attention, for k heads (1 if heads cannot be told apart).

    Attributes:
        maps: (k,h*w+1) the weight that each pixel gets; entry 0 is outside of the image.
        reach: (h*w+1,) bool: the pixels that can get any.
        others: (N,h*w+1) what queries of other windows, in the same position of their window, would read here; heads
            averaged. N is 0 where there are no other windows.
        entries: (k,m) of a dictionary, the weight of each entry; else None.
        entropy: of the rows in nats, their mean.
        keys: how many values a row is over, those masked left out; the mean.
    """

    maps: torch.Tensor
    reach: torch.Tensor
    others: torch.Tensor
    entries: torch.Tensor | None
    entropy: float
    keys: float


def rows_of(event: Event, positions: Positions) -> Rows | None:
    """The rows of a mixture with their positions; None where it is not known at which pixel a row writes."""
    gate = event.gate.detach()
    query = positions.of(event.gate)
    if query is None:
        return None
    first = constant(query.values, -1)
    if first is None:
        return None
    flat = gate.reshape(-1, *gate.shape[-2:])
    queries = first[..., 0].reshape(len(flat), -1).long()
    return Rows(flat, queries, _keys(event, positions.of(event.feature), query.cell), query.cell)


def _keys(event: Event, numbers: Numbers | None, cell: int) -> torch.Tensor | None:
    lead, many = event.gate.shape[:-2], event.gate.shape[-1]
    if numbers is None or numbers.cell != cell or numbers.values.ndim < 2 or numbers.values.shape[-2] != many:
        return None
    single = constant(numbers.values, -1)
    values = numbers.values if single is None else single
    try:
        values = values.expand(*lead, *values.shape[-2:])
    except RuntimeError:
        return None
    return values.reshape(-1, *values.shape[-2:]).abs().long()


def read_rows(rows: Rows, query: Query) -> Reading | None:
    """What the query reads at each pixel; None where the query writes nowhere or its values stand at no pixel."""
    hits = _hits(rows, query)
    if hits is None or rows.keys is None or not bool(rows.keys.any()):
        return None
    heads = len(hits) // max(len(query.numbers(rows.cell)), 1)
    maps, reach, others = [], torch.zeros(query.length, dtype=torch.bool, device=hits.device), []
    for lead, row in (part.unbind(1) for part in hits.split(heads)):
        keys, weights = rows.keys[lead], rows.weights[lead, row]
        maps.append(_painted(weights, keys, query))
        reach |= _painted((weights > _NOTHING).to(weights), keys, query).sum(0) > 0
        windows = _other_windows(lead, len(rows.weights))
        others.append(
            torch.stack([_painted(rows.weights[other, row], keys, query).mean(0) for other in windows])
            if len(windows)
            else torch.zeros(0, query.length, device=hits.device)
        )
    spread = [_spread(part, query, rows.cell) for part in (torch.stack(maps).mean(0), torch.stack(others).mean(0))]
    spread_reach = _spread(reach.float()[None], query, rows.cell)[0] > 0
    picked = rows.weights[hits[:, 0], hits[:, 1]]
    return Reading(spread[0], spread_reach, spread[1], None, *_entropy(picked))


def read_entries(rows: Rows, query: Query) -> Reading | None:
    """Of a dictionary: the weight that passes from the query, through the entries, to all pixels that read the same.

    With A[p,m] the weight that pixel p gives to entry m: the sum over m of A[q,m] A[p,m] / sum over p of A[p,m].
    """
    hits = _hits(rows, query)
    if hits is None:
        return None
    heads = len(hits) // max(len(query.numbers(rows.cell)), 1)
    maps, entries, others = [], [], []
    for lead, row in (part.unbind(1) for part in hits.split(heads)):
        own, queries = rows.weights[lead], rows.queries[lead].clamp(min=0)
        own = own * (queries > 0)[..., None]
        share = own / own.sum(dim=1, keepdim=True).clamp(min=1e-30)
        picked = torch.linspace(0, own.shape[1] - 1, min(_OTHERS, own.shape[1]), device=own.device).long()
        picked = picked[(picked[:, None] != row).all(dim=1)]
        entries.append(rows.weights[lead, row])
        maps.append(_painted((share @ entries[-1][..., None])[..., 0], queries[..., None], query))
        away = share @ own[:, picked].transpose(1, 2)  # (heads, n, others)
        others.append(torch.stack([_painted(a, queries[..., None], query).mean(0) for a in away.unbind(-1)]))
    spread = [_spread(part, query, rows.cell) for part in (torch.stack(maps).mean(0), torch.stack(others).mean(0))]
    reach = _spread(_painted(torch.ones_like(queries).float(), queries[..., None], query), query, rows.cell).sum(0) > 0
    reach[0] = False
    return Reading(spread[0], reach, spread[1], torch.stack(entries).mean(0), *_entropy(torch.cat(entries)))


def _hits(rows: Rows, query: Query) -> torch.Tensor | None:
    """(R,2) of the rows that write at the query's pixels, pixel by pixel, equally many (the heads) for each."""
    positions = [(rows.queries == number).nonzero() for number in query.numbers(rows.cell)]
    least = min((len(part) for part in positions), default=0)
    return torch.cat([part[:least] for part in positions]) if least else None


def _other_windows(lead: torch.Tensor, count: int) -> Sequence[torch.Tensor]:
    """Of the other windows, the indices of the same heads as `lead` (heads,): heads lie innermost or outermost."""
    heads = len(lead)
    windows = count // heads
    if windows < 2 or count % heads:
        return []
    step = torch.arange(windows, device=lead.device)
    inner = heads == 1 or int(lead[1] - lead[0]) == 1
    own = int(lead[0]) // heads if inner else int(lead[0]) % windows
    rest = step[step != own]
    rest = rest[torch.linspace(0, len(rest) - 1, min(_OTHERS, len(rest)), device=lead.device).long()]
    head = torch.arange(heads, device=lead.device)
    return list(rest[:, None] * heads + head if inner else head * windows + rest[:, None])


def _painted(weights: torch.Tensor, keys: torch.Tensor, query: Query) -> torch.Tensor:
    """(k,m) weights on (k,m,e) pixel numbers, as (k,h*w+1)."""
    shares = (weights[..., None] / keys.shape[-1]).expand(keys.shape)
    blank = torch.zeros(len(weights), query.length, device=weights.device, dtype=torch.float64)
    return blank.scatter_add_(1, keys.flatten(1), shares.flatten(1).double())


def _spread(maps: torch.Tensor, query: Query, cell: int) -> torch.Tensor:
    """What the first pixel of a cell has, spread evenly over the cell."""
    if cell == 1 or not len(maps):
        return maps
    first = first_of_cell(query, cell, maps.device)
    counts = torch.bincount(first, minlength=maps.shape[1]).to(maps)
    return (maps / counts.clamp(min=1))[:, first]


def first_of_cell(query: Query, cell: int, device: torch.device) -> torch.Tensor:
    """(length,): the number of the first pixel in the cell of each pixel number; 0 stays 0."""
    height, width = query.size
    y, x = (torch.arange(side, device=device) // cell * cell for side in query.size)
    frames = torch.arange(max(query.frames, 1), device=device)[:, None, None] * height * width
    numbers = (1 + frames + y[:, None] * width + x).flatten()
    return torch.cat([torch.zeros(1, dtype=torch.long, device=device), numbers])


def _entropy(rows: torch.Tensor) -> tuple[float, float]:
    """Mean entropy in nats and mean number of values that are not masked, of rows (R,m)."""
    rows = rows.double()
    entropy = -(rows * rows.clamp(min=1e-30).log()).sum(dim=-1).mean()
    return float(entropy), float((rows > _NOTHING).double().sum(dim=-1).mean())
