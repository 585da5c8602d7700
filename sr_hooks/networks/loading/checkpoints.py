"""Weights of a network: read them from a file, load them strictly, write them back in the same layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import CheckpointError
from sr_hooks.networks.loading.checkpoint_files.file_kinds import read_content
from sr_hooks.networks.loading.checkpoint_files.folding import fold_state
from sr_hooks.networks.loading.checkpoint_files.layouts import choose_state
from sr_hooks.networks.loading.checkpoint_files.names import Named, alternatives, name_weights, plain_name
from sr_hooks.networks.loading.checkpoint_files.own_loading import load_by_class
from sr_hooks.networks.loading.checkpoint_files.values import as_own_kind, dense_and_finite
from sr_hooks.networks.loading.checkpoint_files.weights import Weights, split_name

__all__ = [
    "Weights",
    "load_weights",
    "read_weights",
    "save_weights",
    "sha256_of_weights",
    "weights_variants",
    "write_weights",
]

_AT_ONCE = 2**26  # bytes that are copied from an accelerator together


def read_weights(
    path: str | Path, *, key: str | None = None, prefix: str | None = None, parts: Sequence[str] = ()
) -> Weights:
    """Read a .safetensors or torch file without running any code in it.

    A moving average is preferred (`params_ema`, ...), then `params`, then other usual keys, then the file itself as
    weights. Leading `module.` and `_orig_mod.` are stripped. Of a state with several networks the average or the
    generator is taken. Counters of tools and averages are left out.

    Args:
        path: the file, or `file.ckpt::net_g_ema`, which names a key or a prefix.
        key: take the weights under this key and no other; dotted for keys inside keys.
        prefix: take the weights whose names begin so.
        parts: of a whole model, take what begins with the first of these prefixes that occurs, and strip it.

    Raises:
        CheckpointError: missing, truncated, corrupt or something else; a pickle that would run code; no weights inside.
    """
    path, key_in_name, prefix_in_name = split_name(path)
    content = read_content(path)
    key, prefix = key or key_in_name, prefix or prefix_in_name
    try:
        candidate = choose_state(content, path, key)
    except CheckpointError:
        if key is None or key != key_in_name or prefix is not None:
            raise
        try:  # file.ckpt::net_g_ema names a prefix where no key is called so
            candidate = choose_state(content, path, None)
            named = name_weights(candidate.state, path, prefix=key)
        except CheckpointError:
            candidate = choose_state(content, path, key)  # the message names the keys
    else:
        named = name_weights(candidate.state, path, prefix=prefix, parts=parts)
    state, sparse = dense_and_finite(named.state, path)
    remarks = [*candidate.remarks, *named.remarks]
    if sparse:
        remarks.append(f"sparse and made dense: {_first(sparse)}")
    return Weights(
        state,
        candidate.key,
        named.prefix,
        path,
        candidate.twins,
        named.names,
        named.left_out,
        (*candidate.beside, *named.beside),
        tuple(remarks),
        candidate.settings or {},
    )


def weights_variants(weights: Weights) -> Iterator[Weights]:
    """The same weights under all names that they may have in the network, the likeliest first.

    These are the names of the file, those without what all begin with, and both with normalised, pruned and adapted
    weights folded.
    """
    named = Named(weights.state, dict(weights.names), weights.prefix)
    for variant in alternatives(named):
        yield replace(weights, state=variant.state, prefix=variant.prefix, names=variant.names)
    for variant in alternatives(named):
        folded, remarks = fold_state(variant.state, weights.path, weights.settings)
        if remarks:
            yield replace(
                weights,
                state=folded,
                prefix=variant.prefix,
                names=variant.names,
                remarks=(*weights.remarks, *remarks),
            )


def load_weights(module: nn.Module, weights: Weights) -> Weights:
    """Load into the module, all names and shapes equal, or refuse with the first that differ.

    Returns:
        The weights under the names that the module has.

    Raises:
        CheckpointError: names, shapes or kinds of numbers differ.
    """
    own = {plain_name(name): (name, value) for name, value in module.state_dict().items()}
    own = {name: pair for name, pair in own.items() if isinstance(pair[1], torch.Tensor)}
    misfits: list[tuple[int, str]] = []
    for variant in weights_variants(weights):
        state = {**variant.state, **{name: value for name, value in weights.left_out.items() if name in own}}
        missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
        foreign = [name for name in state if name not in own]
        if not missing and not foreign:
            _check_shapes(module, variant, state, own)
            values = {
                own[name][0]: as_own_kind(name, value, own[name][1], weights.path) for name, value in state.items()
            }
            module.load_state_dict(values, strict=len(values) == len(own))
            return variant
        misfits.append((len(missing) + len(foreign), _complaint(missing, foreign)))
    loaded = load_by_class(module, list(weights_variants(weights)))
    if isinstance(loaded, Weights):
        return loaded
    complaint = min(misfits, key=lambda misfit: misfit[0])[1]
    raise _refused(module, weights, complaint + (f". Its own load_state_dict says: {loaded}" if loaded else ""))


def _complaint(missing: list[str], foreign: list[str]) -> str:
    complaints = [f"not in the file: {_first(missing)}"] if missing else []
    return ". ".join([*complaints, *([f"not in the network: {_first(foreign)}"] if foreign else [])])


def _check_shapes(module: nn.Module, weights: Weights, state: dict[str, torch.Tensor], own: dict[str, Any]) -> None:
    shapes = [
        f"{name} is {tuple(value.shape)} in the file and {tuple(own[name][1].shape)} in the network"
        for name, value in state.items()
        if value.shape != own[name][1].shape
    ]
    if shapes:
        raise _refused(module, weights, _first(shapes, 2, "; "))


def _refused(module: nn.Module, weights: Weights, complaint: str) -> CheckpointError:
    return CheckpointError(
        f"the weights in {weights.path} are not those of this {type(module).__name__}: {complaint}. "
        "Check the architecture and its arguments"
    )


def _first(items: list[str], how_many: int = 4, between: str = ", ") -> str:
    more = f" and {len(items) - how_many} more" if len(items) > how_many else ""
    return between.join(items[:how_many]) + more


def write_weights(state: dict[str, torch.Tensor], path: str | Path, *, like: Weights | None = None) -> None:
    """Write weights, whole or not at all, with the keys and prefix of `like`; the suffix says the file format.

    A file with weights under several keys gets the same under all of them, so that no reader takes stale ones.
    """
    path = Path(path)
    prefix, keys = (like.prefix, (like.key, *like.other_keys)) if like else ("", ("params",))
    names = like.names if like else {}
    named = {names.get(key, prefix + key): value.detach().cpu().contiguous() for key, value in state.items()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if path.suffix == ".safetensors":
                from safetensors.torch import save

                file.write(save({key: value.clone() for key, value in named.items()}))
            else:
                torch.save(_nested(dict.fromkeys(keys, named)) if keys[0] else named, file)
        part.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write the weights to {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _nested(weights_by_key: dict[str, Any]) -> dict[str, Any]:
    """Mappings inside mappings, by the parts of dotted keys."""
    content: dict[str, Any] = {}
    for key, named in weights_by_key.items():
        *outer, last = key.split(".")
        inner = content
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = named
    return content


def save_weights(module: nn.Module, path: str | Path, *, like: Weights | None = None) -> None:
    """Write a module's weights as a checkpoint in the layout and number formats of `like`; see `write_weights`."""
    state = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    if like is not None:
        formats = {key: value.dtype for key, value in like.state.items()}
        state = {key: value.to(formats.get(key, value.dtype)) for key, value in state.items()}
    write_weights(state, path, like=like)


def sha256_of_weights(module: nn.Module) -> str:
    """SHA-256 over names, kinds, shapes and bytes of all weights and buffers, in state-dict order."""
    digest = hashlib.sha256()
    state = {key: value for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    for key, value in zip(state, _on_cpu([value.detach() for value in state.values()]), strict=True):
        value = value.contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def _on_cpu(tensors: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The tensors on the CPU, in order; an accelerator is waited for once in 64 MiB, and not for each tensor."""
    copies: list[torch.Tensor] = []
    size = 0
    for tensor, following in zip_longest(tensors, tensors[1:]):
        copies.append(tensor.to("cpu", non_blocking=tensor.is_cuda))
        size += tensor.nbytes
        if following is None or following.device != tensor.device or size >= _AT_ONCE:
            if tensor.is_cuda:
                torch.cuda.current_stream(tensor.device).synchronize()
            yield from copies
            copies, size = [], 0
