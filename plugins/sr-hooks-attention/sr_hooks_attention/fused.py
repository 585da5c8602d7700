"""Attention that torch computes in one call, written out in operations that can be followed one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

__all__ = ["multi_head_attention", "weights_of"]


def weights_of(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
) -> torch.Tensor:
    """(...,n,m), the weights of `scaled_dot_product_attention`, whose kernel does not return them."""
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return F.softmax(scores, dim=-1)


def multi_head_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: torch.Tensor | None,
    in_proj_bias: torch.Tensor | None,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    training: bool = True,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: torch.Tensor | None = None,
    k_proj_weight: torch.Tensor | None = None,
    v_proj_weight: torch.Tensor | None = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """What `torch.nn.functional.multi_head_attention_forward`, the heart of `nn.MultiheadAttention`, returns.

    Arguments and results are those of torch. None is returned for what is not written out: keys and values that the
    caller has projected (`static_k`, `static_v`), and dropout in training.
    """
    if static_k is not None or static_v is not None or (training and dropout_p > 0):
        return None
    alone = query.ndim == 2
    if alone:
        query, key, value = (part.unsqueeze(1) for part in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    if use_separate_proj_weight or in_proj_weight is None:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        weights = list(in_proj_weight.chunk(3))
    biases = [None] * 3 if in_proj_bias is None else list(in_proj_bias.chunk(3))
    projected = [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    batch, width = query.shape[1], query.shape[-1] // num_heads
    if bias_k is not None and bias_v is not None:
        for number, added in enumerate((bias_k, bias_v), start=1):
            projected[number] = torch.cat([projected[number], added.repeat(1, batch, 1)])
    q, k, v = (part.reshape(len(part), batch * num_heads, width).transpose(0, 1) for part in projected)
    if add_zero_attn:
        k, v = (F.pad(part, (0, 0, 0, 1)) for part in (k, v))
    mask = _mask(attn_mask, key_padding_mask, num_heads, q.shape[1], k)
    if mask is not None and mask.shape[-1] < k.shape[1]:  # the keys that were added are seen by all
        mask = F.pad(mask, (0, k.shape[1] - mask.shape[-1]))
    gate = weights_of(q, k, mask)
    mixed = torch.bmm(gate, v).transpose(0, 1).reshape(len(query), batch, num_heads * width)
    out = F.linear(mixed, out_proj_weight, out_proj_bias)
    shown = None
    if need_weights:
        shown = gate.view(batch, num_heads, *gate.shape[-2:])
        shown = shown.mean(dim=1) if average_attn_weights else shown
    if alone:
        return out.squeeze(1), None if shown is None else shown.squeeze(0)
    return out, shown


def _mask(
    mask: torch.Tensor | None, padding: torch.Tensor | None, heads: int, rows: int, key: torch.Tensor
) -> torch.Tensor | None:
    """Both masks as numbers to add, to broadcast to (batch * heads,n,m); True is what torch hides here."""
    parts = []
    if mask is not None:
        parts.append(_added(mask, key))
    if padding is not None:
        hidden = _added(padding, key)[:, None, None].expand(-1, heads, rows, -1)
        parts.append(hidden.reshape(-1, rows, hidden.shape[-1]))
    return sum(parts[1:], parts[0]) if parts else None


def _added(mask: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=key.dtype, device=key.device).masked_fill(mask, float("-inf"))
