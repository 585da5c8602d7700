"""Load networks of mmagic, and of other projects on mmengine, from a config and a checkpoint."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from sr_hooks.core.seeds import own_streams
from sr_hooks.errors import CheckpointError, NetworkError, nearest
from sr_hooks.networks.loading.checkpoints import Weights, load_weights, read_weights
from sr_hooks.networks.loading.loaders import Arguments, Loaded
from sr_hooks.networks.loading.mmengine_preprocessor import facts_of, transforms_of
from sr_hooks.networks.probing.guesses import windows_of_arguments
from sr_hooks.networks.unwrap import unwrap

__all__ = ["from_mmagic", "part_of"]

_RAW = "ema_state_dict"  # where EMAHook puts the weights in training: the average is in state_dict


def from_mmagic(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    arguments: Arguments | None = None,
    network: str = "generator",
    ema: bool = True,
    stated: Mapping[str, Any] | None = None,
) -> Loaded:
    """See Network.from_mmagic."""
    if arguments is not None and not isinstance(arguments, Mapping):
        raise NetworkError(f"{config} is a config: give its arguments by name, not by position")
    cfg = _config(config)
    head, _, rest = network.partition(".")
    where = f"{config}: model.{head}"
    model = cfg.get("model") or {}
    described = model.get(head)
    if not isinstance(described, Mapping) or "type" not in described:
        known = [key for key, value in model.items() if isinstance(value, Mapping)]
        raise NetworkError(f"{config} describes no model.{head}; {nearest(head, known)}")
    with _project(cfg.get("default_scope") or "mmagic"), own_streams(seed=0):
        module = _built({**described, **(arguments or {})}, where)
        preprocessor = _built(model.get("data_preprocessor"), f"{config}: model.data_preprocessor")
    if rest:
        module = part_of(module, rest, called=network)
    facts = facts_of(preprocessor, transforms_of(cfg), stated)
    name, windows = type(module).__name__, windows_of_arguments({**described, **(arguments or {})})
    checkpoint = checkpoint or cfg.get("load_from")
    if checkpoint is None:
        return Loaded(module.eval(), name, None, facts, windows=windows)
    weights = load_weights(module, _weights(checkpoint, network, ema))
    return Loaded(module.eval(), f"{name} {weights.path.stem}", weights, facts, windows=windows)


def part_of(model: nn.Module, path: str, *, called: str = "") -> nn.Module:
    """The part of a model at a dotted path, without its wrappers.

    Raises:
        NetworkError: there is none, with those that there are.
    """
    part: Any = unwrap(model)
    for step in path.split("."):
        child = unwrap(getattr(part, step, None))
        if not isinstance(child, nn.Module):
            names = [name for name, _ in part.named_children()]
            raise NetworkError(f"{type(part).__name__} has no part {step!r} ({called or path}); {nearest(step, names)}")
        part = child
    return cast("nn.Module", part)


def _config(path: str | Path) -> dict[str, Any]:
    try:
        from mmengine.config import Config
    except ImportError as error:
        raise NetworkError(
            f"mmengine cannot be imported ({error}): {path} needs it and mmagic, see docs/mmagic.md"
        ) from None
    if not Path(path).is_file():
        raise NetworkError(f"no config file {path}")
    try:
        return cast("dict[str, Any]", Config.fromfile(str(path)).to_dict())
    except Exception as error:
        raise NetworkError(f"{path} cannot be read as a config: {type(error).__name__}: {error}") from error


def _project(scope: str) -> Any:
    """The project's modules are registered, and names without a scope are its own meanwhile."""
    from mmengine.registry import DefaultScope

    try:
        utils = importlib.import_module(f"{scope}.utils")
        if hasattr(utils, "register_all_modules"):
            utils.register_all_modules(init_default_scope=False)
    except Exception as error:  # of NumPy too new for it, among others
        kind = type(error).__name__
        raise NetworkError(
            f"{scope}, which the config needs, cannot be imported ({kind}: {error}): see docs/mmagic.md"
        ) from error
    return DefaultScope.overwrite_default_scope(scope)


def _built(described: Mapping[str, Any] | None, where: str) -> Any:
    if described is None:
        return None
    from mmengine.registry import MODELS

    try:
        built = MODELS.build(dict(described))
    except Exception as error:
        raise NetworkError(f"{where} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(built, nn.Module):
        raise NetworkError(f"{where} built a {type(built).__name__}, not a torch.nn.Module")
    return built


def _weights(path: str | Path, network: str, ema: bool) -> Weights:
    """Those of the network, of all that a checkpoint of the whole model holds."""
    head, _, rest = network.partition(".")
    tail = f"{rest}." if rest else ""
    averages = [f"{head}_ema.module.{tail}", f"{head}_ema.{tail}"]
    parts = [*(averages if ema else []), f"{network}.module.", f"{network}.", f"module.{network}."]
    if not ema:
        with contextlib.suppress(CheckpointError):  # there is one only of a run with EMAHook
            return read_weights(path, key=_RAW, parts=parts)
    return read_weights(path, parts=parts)
