"""Load modules: an architecture of BasicSR, a checkpoint file, any importable class, or whichever a text names."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.core.seeds import own_streams
from sr_hooks.core.torch_errors import hint, without_cuda
from sr_hooks.core.yaml_files import read_yaml
from sr_hooks.errors import CheckpointError, NetworkError, nearest
from sr_hooks.networks.calling import Forward
from sr_hooks.networks.loading.checkpoint_files.values import as_own_kind
from sr_hooks.networks.loading.checkpoint_files.weights import CHECKPOINT_SUFFIXES, named_weights, split_name
from sr_hooks.networks.loading.checkpoints import Weights, load_weights, read_weights, weights_variants
from sr_hooks.networks.loading.cuda_only_operators import deformable_alignment, fused_activation
from sr_hooks.networks.loading.foreign_code import (
    construct,
    list_arguments,
    module_by_name,
    module_from_file,
    named_in_module,
)
from sr_hooks.networks.probing.guesses import confirming_sides, windows_of_arguments

__all__ = ["Arguments", "Loaded", "from_basicsr", "from_file", "from_import", "from_spec", "import_basicsr"]

Arguments = Mapping[str, Any] | Sequence[Any]
"""Of an architecture: by name, or by position."""


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode, its name, its weights' file, and the facts that the file states.

    `documented_range` is the input range that all networks of its framework are documented to take, `windows` are the
    windows of attention that its arguments state.
    """

    module: nn.Module
    name: str
    weights: Weights | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    documented_range: float | None = None
    windows: tuple[int, ...] = ()


def import_basicsr() -> types.ModuleType:
    """Import basicsr, standing in for `torchvision.transforms.functional_tensor`, which newer torchvision lacks."""
    name = "torchvision.transforms.functional_tensor"
    if name not in sys.modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            try:
                functional = importlib.import_module("torchvision.transforms.functional")
            except ModuleNotFoundError:
                functional = None
            if functional is not None:
                alias = types.ModuleType(name)
                alias.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
                sys.modules[name] = alias
    try:
        package = importlib.import_module("basicsr")
        fused_activation()
        return package
    except ImportError as error:
        raise NetworkError(f"BasicSR cannot be imported ({error}): pip install 'sr_hooks[basicsr]'") from None


def from_basicsr(
    arch_or_option_file: str | Path,
    arguments: Arguments | None = None,
    *,
    weights: str | Path | None = None,
) -> Loaded:
    """See Network.from_basicsr."""
    file, *chosen = split_name(arch_or_option_file)
    target, key = str(file), None
    described: dict[str, Any] = {}
    if target.endswith((".yml", ".yaml")):
        described, inside, key = _from_option_file(Path(target))
        if weights is None and inside is not None and any(chosen):
            weights, key = named_weights(inside, *chosen), None
        elif weights is None:
            weights = inside
        else:
            key = None
        name = described.pop("type", None)
        if name is None:
            raise NetworkError(f"network_g in {target} has no type")
    else:
        name = target
    import_basicsr()
    from basicsr.archs import ARCH_REGISTRY

    known = [arch.removesuffix("_basicsr") for arch, _ in ARCH_REGISTRY]  # some are registered with that suffix
    if name not in known:
        raise NetworkError(f"BasicSR has no architecture {name!r}; {nearest(name, known)}")
    build = ARCH_REGISTRY.get(name)
    arguments = {**described, **_by_name(build, arguments, name)}
    loaded = _finish(_build(build, arguments, name), name, weights, key)
    return replace(loaded, documented_range=1.0, windows=windows_of_arguments(arguments))


def _from_option_file(path: Path) -> tuple[dict[str, Any], str | None, str | None]:
    options = read_yaml(path, name="the option file", error=NetworkError)
    described = options.get("network_g") if isinstance(options, dict) else None
    if not isinstance(described, dict):
        raise NetworkError(f"{path} has no network_g block: it is not a BasicSR option file for a generator")
    paths = options.get("path") or {}
    file = paths.get("pretrain_network_g")
    if file and not Path(file).is_file() and (path.parent / file).is_file():
        file = str(path.parent / file)
    return dict(described), file, paths.get("param_key_g") if file else None


def from_import(
    target: str,
    arguments: Arguments | None = None,
    *,
    weights: str | Path | None = None,
) -> Loaded:
    """See Network.from_import."""
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise NetworkError(f"{target!r} names no class: write package.module:Class or path/to/file.py:Class")
    if where.endswith(".py"):
        if Path(where).is_file() and "basicsr" in Path(where).read_text(encoding="utf-8", errors="replace"):
            with suppress(NetworkError):
                import_basicsr()
        with module_from_file(Path(where)) as module:
            build = named_in_module(module, name, where)
            arguments = _by_name(build, arguments, name)
            loaded = _finish(_build(build, arguments, name), name, weights, None)
            return replace(loaded, windows=windows_of_arguments(arguments))
    of_basicsr = where.split(".")[0] == "basicsr"
    if of_basicsr:
        import_basicsr()
    build = named_in_module(module_by_name(where), name, where)
    arguments = _by_name(build, arguments, name)
    loaded = _finish(_build(build, arguments, name), name, weights, None)
    loaded = replace(loaded, windows=windows_of_arguments(arguments))
    return replace(loaded, documented_range=1.0) if of_basicsr else loaded


def _by_name(build: Any, arguments: Arguments | None, name: str) -> Mapping[str, Any]:
    """The arguments by name; a list is of positional arguments, which get the names of the parameters in order."""
    if arguments is None or isinstance(arguments, Mapping):
        return arguments or {}
    known = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(arguments) > len(known):
        raise NetworkError(f"{name} takes {len(known)} arguments by position, and {len(arguments)} are given")
    return dict(zip(known, arguments, strict=False))


def _build(cls: Any, arguments: Mapping[str, Any] | None, name: str) -> nn.Module:
    with own_streams(seed=0):
        try:
            with deformable_alignment(), nullcontext() if torch.cuda.is_available() else without_cuda():
                module = construct(cls, arguments)
        except (Exception, SystemExit) as error:
            raise NetworkError(
                f"cannot build {name} with {list_arguments(arguments)}: {type(error).__name__}: {error}{hint(error)}"
            ) from error
    if not isinstance(module, nn.Module):
        raise NetworkError(f"{name} built a {type(module).__name__}, not a torch.nn.Module")
    return module.eval()


def _finish(module: nn.Module, name: str, weights: str | Path | None, key: str | None) -> Loaded:
    if weights is None:
        return Loaded(module, name)
    read = load_weights(module, read_weights(weights, key=key))
    return Loaded(module, f"{name} {read.path.stem}", read)


def from_file(path: str | Path) -> Loaded:
    """See Network.from_file."""
    read = read_weights(path)
    variants = list(weights_variants(read))
    for variant in variants:
        demo = _demo_network(variant.state)
        if demo is not None:
            variant = load_weights(demo, variant)
            return Loaded(demo.eval(), f"CompactResNet {read.path.stem}", variant)
    try:
        import spandrel
    except ImportError:
        raise NetworkError(
            "reading a checkpoint without its architecture needs spandrel: pip install 'sr_hooks[models]'"
        ) from None
    reason = ""
    for variant in variants:
        state = spandrel.canonicalize_state_dict(dict(variant.state))
        try:
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
            break
        except Exception as error:
            if type(error).__name__ != "UnsupportedModelError":
                reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
    else:
        reason = reason or "spandrel does not recognise its architecture"
        raise CheckpointError(
            f"{path}: {reason}. Name the architecture: --model ARCHITECTURE --weights {read.path.name} on the command "
            "line, Network.from_basicsr(arch, arguments, weights=...) or Network.from_import('package.module:Class', "
            "arguments, weights=...) in Python"
        )
    for name, own in descriptor.model.state_dict().items():
        if name in variant.state:
            as_own_kind(name, variant.state[name], own, read.path)
    read = variant
    needs = descriptor.size_requirements
    facts = {
        "scale": descriptor.scale,
        "multiple": max(needs.multiple_of, 1),
        "minimum": max(needs.minimum, 1),
        "square": needs.square,
        "channels": descriptor.input_channels,
        "forward": _call_function(descriptor),
        "input_range": 1.0,  # what spandrel feeds all of them
    }
    if facts["multiple"] == 1 and len(confirming_sides(descriptor.model, 1)) > 1:
        del facts["multiple"]  # of networks with windows of several sizes, spandrel pads to one of them alone
    return Loaded(descriptor.model.eval(), f"{descriptor.architecture.name} {read.path.stem}", read, facts)


def _call_function(descriptor: Any) -> Forward | None:
    """How spandrel calls a network, where it is not network(image): it pads, scales or picks what comes back."""
    way: Callable[..., Any] | None = getattr(descriptor, "_call_fn", None)
    if way is None:
        return None
    if type(descriptor).__name__ == "MaskedImageModelDescriptor":
        return MaskOfNothing(way)
    return None if way.__module__ == type(descriptor).__module__ else OneByOne(way)


class OneByOne:
    """Call a network that may take only one image: on the whole batch, and image by image where that fails."""

    def __init__(self, way: Callable[[nn.Module, torch.Tensor], Any]) -> None:
        self.way = way
        self.__qualname__ = getattr(way, "__qualname__", type(way).__name__)

    def __call__(self, module: nn.Module, x: torch.Tensor) -> Any:
        try:
            return self.way(module, x)
        except RuntimeError:
            if len(x) == 1:
                raise
        return torch.cat([self.way(module, image) for image in x.split(1)])


class MaskOfNothing:
    """A network that fills what a mask hides, called with a mask that hides nothing."""

    def __init__(self, way: Callable[[nn.Module, torch.Tensor, torch.Tensor], Any]) -> None:
        self.way = way

    def __call__(self, module: nn.Module, x: torch.Tensor) -> Any:
        return self.way(module, x, torch.zeros_like(x[:, :1]))


def _demo_network(state: Mapping[str, torch.Tensor]) -> nn.Module | None:
    from sr_hooks.networks.loading.compact_resnet import CompactResNet

    return CompactResNet.from_shapes(state)


def from_spec(spec: str, arguments: Arguments | None = None, *, weights: str | Path | None = None) -> Loaded:
    """See Network.load."""
    file = split_name(spec)[0]
    if file.name.endswith((".yml", ".yaml")):
        return from_basicsr(spec, arguments, weights=weights)
    if file.name.lower().endswith(CHECKPOINT_SUFFIXES):
        if arguments or weights:
            raise NetworkError(f"{spec} is a checkpoint: give the architecture as the model, this as the weights")
        return from_file(spec)
    if ":" in spec:
        return from_import(spec, arguments, weights=weights)
    if Path(spec).exists():
        raise NetworkError(f"{spec} is no model: give a .pth or .safetensors file, an option file, or file.py:Class")
    return from_basicsr(spec, arguments, weights=weights)
