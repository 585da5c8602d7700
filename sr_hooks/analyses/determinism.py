"""Equal arrays on a rerun on the same device: torch's deterministic algorithms, or by how much a rerun differs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sr_hooks.errors import OptionError, SRHooksError
from sr_hooks.networks.network import Network

__all__ = ["DETERMINISTIC", "deterministic_algorithms", "rerun_facts"]

DETERMINISTIC = (
    "equal arrays on a rerun on the same device, by torch's deterministic algorithms, which may be slower; without "
    "this a CUDA device may give other last bits, and the result says by how much"
)
"""The help text of the option `deterministic`, which `execute` acts on for every analysis that has the option."""

_WORKSPACE, _WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
_measured: WeakKeyDictionary[nn.Module, dict[torch.device, float | None]] = WeakKeyDictionary()


@contextmanager
def deterministic_algorithms(wanted: bool, device: torch.device) -> Iterator[None]:
    """Deterministic algorithms alone for the block, where they are wanted; afterwards torch's switches are as before.

    Raises:
        OptionError: cuBLAS is not set up for this, or an operation of the network has no deterministic algorithm.
    """
    if not wanted:
        yield
        return
    if device.type == "cuda" and os.environ.get(_WORKSPACE) not in _WORKSPACES:
        raise OptionError(
            f"deterministic on {device} needs the environment variable {_WORKSPACE}={_WORKSPACES[0]}, set before "
            "Python starts: without it products of cuBLAS differ from run to run"
        )
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False
        yield
    except (RuntimeError, SRHooksError) as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        raise OptionError(f"deterministic on {device} is not possible: {_operation(error)}") from error
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(enabled, warn_only=warns)


def _operation(error: BaseException) -> str:
    """The part of torch's message that names the operation."""
    text = str(error).split(" does not have a deterministic implementation")[0]
    return f"{text.split(': ')[-1]} has no deterministic algorithm in torch; leave deterministic out"


def rerun_facts(network: Network, deterministic: bool) -> dict[str, Any]:
    """What a result records of a rerun: nothing where it gives equal arrays.

    `reruns` says that last bits may differ, and `rerun_deviation` by how much they did: the largest difference of a
    gradient to a small image that was computed twice, relative to its largest value. It is measured once a network.
    """
    if deterministic or not _varies(network.device):
        return {}
    known = _measured.setdefault(network.module, {})
    if network.device not in known:
        known[network.device] = _deviation(network)
    note = f"may differ in the last bits on {network.device}; deterministic=True makes them equal"
    return {"reruns": note, "rerun_deviation": known[network.device]}


def _varies(device: torch.device) -> bool:
    """Whether torch's default algorithms may add numbers up in another order from run to run."""
    return device.type == "cuda"


def _deviation(network: Network) -> float | None:
    """None where the network does not run on a small image."""

    def gradient() -> torch.Tensor:
        x = network.sample().requires_grad_()
        with torch.enable_grad():
            (value,) = network.gradients(network(x).float().square().sum(), [x])
        return torch.zeros_like(x) if value is None else value

    try:
        once, again = network.differentiate(gradient), network.differentiate(gradient)
    except (RuntimeError, SRHooksError):
        return None
    return float((once - again).abs().max() / once.abs().max().clamp_min(torch.finfo(once.dtype).tiny))
