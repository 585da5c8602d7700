"""Statistics of an attention gate, and the gates that replace it to switch the attention off."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sr_hooks.images import blur, luma
from sr_hooks.statistics import gini, rank_correlation
from sr_hooks_attention.finding import Event

__all__ = ["high_pass", "levelled", "map_of", "opened", "statistics"]

_LOW, _HIGH, _ALL_OF_IT = 0.02, 0.98, 0.9
_ROWS = 4096  # of a mixture looked at for its statistics, evenly spaced
_STD = 1.0  # pixels of what the high-pass takes away


def opened(event: Event) -> torch.Tensor | None:
    """Everything passes as it is: 1 everywhere; of a mixture, each position gets itself. None where it cannot."""
    if event.kind != "mixture":
        return torch.ones_like(event.gate)
    rows, columns = event.gate.shape[-2:]
    if rows != columns:
        return None
    return torch.eye(rows, dtype=event.gate.dtype, device=event.gate.device).expand_as(event.gate)


def levelled(event: Event) -> torch.Tensor:
    """Nothing is told from anything: the gate's mean over the image; of a mixture, all that is not masked alike.

    Of a branch all branches weigh alike.
    """
    if event.kind == "branch":
        return torch.full_like(event.gate, 1 / event.ways) if event.ways else event.gate
    if event.kind != "mixture":
        dims = tuple(range(1, event.gate.ndim))
        return event.gate.mean(dim=dims, keepdim=True).expand_as(event.gate)
    seen = (event.gate > 1e-20).to(event.gate)
    return seen / seen.sum(dim=-1, keepdim=True)


def high_pass(image: torch.Tensor) -> torch.Tensor:
    """(1,C,h,w) to (1,1,h,w): squared difference of the luma from itself blurred with a std of 1 pixel."""
    grey = luma(image)
    return (grey - blur(grey, [_STD])).square()


def statistics(event: Event, energy: torch.Tensor) -> dict[str, float]:
    """Mean, spread, saturation, sparsity of one image's gate, and its rank correlation with high-pass energy.

    Args:
        energy: of the network's input, from `high_pass`.

    Returns:
        mean, spread: of all values, and their standard deviation.
        saturation: of a squashed gate the share below 0.02 or above 0.98; of a mixture the share of positions that
            give more than 0.9 to one. NaN of a gate that is not squashed.
        sparsity: Gini coefficient of |gate|, 0 all alike to 1 all in one; of a mixture the mean over positions.
        correlation: with high-pass energy; spatial and pixel: over places, of the gate's mean over channels with the
            input's; channel: over channels, with the energy in the gated feature; mixture: over the positions
            mixed, of what each gives to all with how far its value is from their mean. NaN where there is none.
    """
    if event.kind == "mixture":
        return _of_mixture(event)
    values = event.gate.double()
    outside = (values < _LOW) | (values > _HIGH)
    return {
        "mean": float(values.mean()),
        "spread": float(values.std(correction=0)),
        "saturation": float(outside.double().mean()) if event.bounded else float("nan"),
        "sparsity": gini(values.abs().cpu().numpy()),
        "correlation": _with_channels(event) if event.kind == "channel" else _with_places(event, energy),
    }


def _of_mixture(event: Event) -> dict[str, float]:
    rows = event.gate.flatten(0, -2)
    rows = rows[:: max(len(rows) // _ROWS, 1)].double()
    count = rows.shape[-1]
    ordered = rows.sort(dim=-1).values
    steps = 2 * torch.arange(1, count + 1, device=rows.device) - count - 1
    ginis = (ordered * steps).sum(dim=-1) / (count * ordered.sum(dim=-1)).clamp(min=1e-30)
    return {
        "mean": float(rows.mean()),
        "spread": float(rows.std(correction=0)),
        "saturation": float((rows.amax(dim=-1) > _ALL_OF_IT).double().mean()),
        "sparsity": float(ginis.mean()),
        "correlation": _with_values(event),
    }


def map_of(event: Event, size: tuple[int, int]) -> torch.Tensor | None:
    """(h,w) of a spatial or pixel gate: its mean over channels; None of other kinds, or where places are unknown."""
    gate = event.gate
    if event.kind not in ("spatial", "pixel"):
        return None
    if gate.ndim == 3:  # (N, positions, C)
        return gate[0].mean(dim=-1).view(size) if gate.shape[1] == size[0] * size[1] else None
    channels_last = gate.shape[1:3] == size and gate.shape[2:] != size
    return gate[0].mean(dim=-1 if channels_last else 0)


def _with_places(event: Event, energy: torch.Tensor) -> float:
    places = map_of(event, (energy.shape[-2], energy.shape[-1]))
    if places is None:
        return float("nan")
    resized = F.interpolate(energy, size=places.shape, mode="bilinear", antialias=True)[0, 0]
    return _rank(places, resized)


def _with_channels(event: Event) -> float:
    feature = event.feature
    if feature is None or feature.ndim != 4 or event.gate.shape[1] != feature.shape[1]:
        return float("nan")
    channels = feature[:1].transpose(0, 1).float()
    energy = torch.cat([(channel - blur(channel, [_STD])).square().mean()[None] for channel in channels.split(1)])
    return _rank(event.gate[0].flatten(), energy)


def _with_values(event: Event) -> float:
    value, gate = event.feature, event.gate
    if not isinstance(value, torch.Tensor) or value.shape[:-1] != (*gate.shape[:-2], gate.shape[-1]):
        return float("nan")
    means = gate.mean(dim=-2).flatten(0, -2)
    far = (value - value.mean(dim=-2, keepdim=True)).square().sum(dim=-1).flatten(0, -2)
    ranks = [each.argsort(dim=-1).argsort(dim=-1).double() for each in (means, far)]
    first, second = (r - r.mean(dim=-1, keepdim=True) for r in ranks)
    told = (means.std(dim=-1) > 0) & (far.std(dim=-1) > 0)
    if not bool(told.any()):
        return float("nan")
    both = (first * second).sum(dim=-1) / (first.norm(dim=-1) * second.norm(dim=-1)).clamp(min=1e-30)
    return float(both[told].mean())


def _rank(a: torch.Tensor, b: torch.Tensor) -> float:
    return rank_correlation(a.detach().cpu().numpy(), b.detach().cpu().numpy())
