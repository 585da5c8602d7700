"""The values of weights: kinds of tensors that no network computes with are converted, or refused in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from sr_hooks.errors import CheckpointError

__all__ = ["as_own_kind", "dense_and_finite"]

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def dense_and_finite(state: Mapping[str, torch.Tensor], path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights as plain dense tensors, and the names of those that were sparse.

    Raises:
        CheckpointError: a tensor without values, a quantised or nested one, or one with NaN.
    """
    dense, converted = {}, []
    for name, value in state.items():
        reason = _no_plain_tensor(value)
        if reason:
            raise CheckpointError(f"{name} in {path} {reason}")
        if value.layout in _SPARSE:
            value = value.to_dense()
            converted.append(name)
        if value.is_floating_point() or value.is_complex():
            _refuse_nan(name, value, path)
        dense[name] = value.detach()
    return dense, converted


def _no_plain_tensor(value: torch.Tensor) -> str | None:
    if value.is_meta:
        return "has no values: it was saved from the meta device. Save the weights of a network that holds values"
    if value.is_nested:
        return "is a nested tensor, and weights are plain tensors: save the weights of the network alone"
    if value.is_quantized:
        return f"is quantised ({_kind(value)}): give the weights in floating point, as they were before quantisation"
    if value.layout not in (torch.strided, *_SPARSE):
        return f"has the layout {value.layout}, and weights are plain tensors: save it after .to_dense()"
    return None


def _refuse_nan(name: str, value: torch.Tensor, path: Path) -> None:
    numbers = value.float() if value.element_size() < 2 else value
    if bool(torch.isnan(numbers).any()):
        count = int(torch.isnan(numbers).sum())
        raise CheckpointError(
            f"{name} in {path} holds NaN, {count} of {value.numel()} numbers: the training that wrote it has diverged. "
            "Give an earlier checkpoint"
        )


def as_own_kind(name: str, value: torch.Tensor, own: torch.Tensor, path: Path) -> torch.Tensor:
    """A weight of a file as the network's own tensor `own` takes it without losing anything that it means.

    Raises:
        CheckpointError: complex, whole or boolean numbers for a weight in floating point, fractions for whole numbers,
            or infinite numbers.
    """
    if value.dtype == own.dtype and not value.is_floating_point():
        return value
    kinds = f"{name} is {_kind(value)} in {path} and {_kind(own)} in the network"
    if value.is_complex() and not own.is_complex():
        raise CheckpointError(f"{kinds}: its imaginary part would be lost. Check the architecture")
    if own.is_floating_point() and not value.is_floating_point() and own.numel() > 1:
        raise CheckpointError(f"{kinds}: quantised or converted numbers. Give the weights in floating point")
    if not own.is_floating_point() and not own.is_complex():
        converted = value.to(own.dtype)
        if not torch.equal(converted.to(value.dtype), value):
            raise CheckpointError(f"{kinds}: its values would change. Check the architecture")
        return converted
    if value.is_floating_point():
        _refuse_infinite(name, value, own, path)
    return value


def _refuse_infinite(name: str, value: torch.Tensor, own: torch.Tensor, path: Path) -> None:
    numbers = value.to(own.dtype) if own.is_floating_point() else value
    if bool(torch.isfinite(numbers).all()) or not bool(torch.isfinite(own).all()):
        return  # a mask of the network's own may be infinite
    count = int((~torch.isfinite(numbers)).sum())
    raise CheckpointError(
        f"{name} in {path} holds infinite numbers, {count} of {value.numel()}: its training "
        "has diverged. Give an earlier checkpoint"
    )


def _kind(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
