"""Attention rollout of a query over layers (Abnar and Zuidema, arXiv 2005.00928), and its control."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import sr_hooks
from sr_hooks.core import torch_generator
from sr_hooks_attention.finding import Event, Site, acting
from sr_hooks_attention.maps.positions import Positions
from sr_hooks_attention.maps.rows import Query, Rows, first_of_cell, rows_of

__all__ = ["rollout"]

_ELEMENTS = 2**26  # of attention weights held at a time, 256 MB in float32


def rollout(
    network: sr_hooks.Network,
    lr: torch.Tensor,
    sites: Sequence[tuple[Site, int]],
    query: Query,
    *,
    draws: int,
    seed: int,
) -> torch.Tensor:
    """(1 + draws, h*w): the query's weight carried back from the last layer to the first, half by the residual way.

    Row 0 is r <- (r + r A) / 2 over the layers, heads averaged. In each further row the values of every window and
    head are shuffled: reach, sparsity and windows are the same, and what the network attends to is lost.

    Args:
        lr: (1,C,h,w) on the network's device.
        sites: in the order of the forward pass, each with its number of weights. Layers run again in as many
            forward passes as hold at most 256 MB of weights each.
    """
    generator = torch_generator(seed, "rollout")
    carried = torch.zeros(1 + draws, query.length, dtype=torch.float64, device=lr.device)
    numbers = query.numbers(1)
    carried[:, numbers] = 1 / len(numbers)
    for group in _groups(sites):
        rows = _rows(network, lr, group)
        for site in reversed(group):
            part = rows.pop(site.key, None)
            if part is not None and part.keys is not None:
                carried = (carried + _through(carried, part, query, generator)) / 2
    return carried[:, 1:]


def _groups(sites: Sequence[tuple[Site, int]]) -> list[list[Site]]:
    """From the last to the first, layers whose weights are held together."""
    groups: list[list[Site]] = [[]]
    held = 0
    for site, size in reversed(sites):
        if groups[-1] and held + size > _ELEMENTS:
            groups.append([])
            held = 0
        groups[-1].insert(0, site)
        held += size
    return groups


def _rows(network: sr_hooks.Network, lr: torch.Tensor, sites: Sequence[Site]) -> dict[tuple[str, int, int], Rows]:
    keys = {site.key for site in sites}
    rows: dict[tuple[str, int, int], Rows] = {}
    with torch.no_grad(), Positions(lr) as positions:

        def note(event: Event) -> None:
            if event.key in keys:
                with positions.resting():
                    part = rows_of(event, positions)
                if part is not None:
                    rows[event.key] = part

        with acting(network, note):
            network(lr)
    return rows


def _through(carried: torch.Tensor, rows: Rows, query: Query, generator: torch.Generator) -> torch.Tensor:
    """Weight at the pixels that are written, moved to the pixels that are read; elsewhere it stays."""
    assert rows.keys is not None
    first = first_of_cell(query, rows.cell, carried.device)
    pooled = torch.zeros_like(carried).index_add_(1, first, carried)
    queries = rows.queries.clamp(min=0)
    counts = torch.bincount(queries.flatten(), minlength=carried.shape[1])
    counts[0] = 0
    written = counts > 0
    share = torch.where(written, pooled / counts.clamp(min=1), 0.0).to(rows.weights.dtype)
    result = torch.where(written, 0.0, pooled)
    for draw in range(len(carried)):
        read = torch.einsum("ln,lnm->lm", share[draw][queries], rows.weights).double()
        if draw:
            order = torch.rand(read.shape, generator=generator).argsort(dim=-1)
            read = read.gather(-1, order.to(read.device))
        shares = (read[..., None] / rows.keys.shape[-1]).expand(rows.keys.shape)
        result[draw].index_add_(0, rows.keys.flatten(), shares.flatten())
    cells = torch.bincount(first, minlength=carried.shape[1]).clamp(min=1)
    return (result / cells)[:, first]
