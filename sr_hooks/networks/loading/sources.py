"""Networks that plugins load, and what results record of a network, so that it can be loaded again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_hooks.core import registry as plugins
from sr_hooks.core.options import as_plain
from sr_hooks.errors import NetworkError
from sr_hooks.networks.calling import describe_forward
from sr_hooks.networks.loading.checkpoint_files.weights import CHECKPOINT_SUFFIXES, named_weights
from sr_hooks.networks.loading.checkpoints import Weights, sha256_of_weights
from sr_hooks.networks.loading.loaders import Arguments
from sr_hooks.networks.pixel_range import channels_in_words

__all__ = ["from_plugins", "guess_warnings", "named_source", "recorded_facts", "source_of"]


def from_plugins(
    spec: str, arguments: Arguments | None, *, weights: str | Path | None, facts: Mapping[str, Any]
) -> Any:
    """The network that the first plugin's loader makes of `spec`; None where `spec` is for none of them.

    Raises:
        PluginError: a loader of a plugin failed.
    """
    for name, loader in plugins.contributions("register_network_loaders").items():
        with plugins.blamed("register_network_loaders", name, f"network loader {name}, {spec}"):
            network = loader(spec, arguments, weights=weights, **facts)
        if network is not None:
            return network
    return None


def source_of(
    spec: str, arguments: Arguments | None, *, weights: str | Path | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What `Network.load` was asked for, so that the network can be loaded again."""
    return {
        "model": _absolute(spec),
        "arguments": as_plain(arguments),
        "weights": None if weights is None else _absolute(weights),
        "facts": as_plain(facts),
    }


def _absolute(spec: str | Path) -> str:
    """A file or a saved folder by its full path, also that of `path/to/file.py:Class`; a name as it is."""
    if (Path(spec) / "config.json").is_file():
        return str(Path(spec).resolve())
    between = ":" if ".py:" in str(spec) else "::"
    file, colon, name = str(spec).partition(between) if between in str(spec) else (str(spec), "", "")
    return f"{Path(file).resolve()}{colon}{name}" if Path(file).is_file() else str(spec)


def named_source(
    spec: str | Path, weights: str | Path | None, facts: Mapping[str, Any]
) -> tuple[str | Path, str | Path | None, dict[str, Any]]:
    """The model, the weights' file and the facts; `weights_key` and `weights_prefix` go into the name of the file.

    Raises:
        NetworkError: a key or prefix, but no file of weights.
    """
    rest = dict(facts)
    key, prefix = rest.pop("weights_key", None), rest.pop("weights_prefix", None)
    if not key and not prefix:
        return spec, weights, rest
    if weights is None:
        if not str(spec).lower().endswith((*CHECKPOINT_SUFFIXES, ".yml", ".yaml")):
            raise NetworkError(
                f"weights_key and weights_prefix choose inside a weights file, and {spec} comes with none"
            )
        return named_weights(spec, key, prefix), None, rest
    return spec, named_weights(weights, key, prefix), rest


def recorded_facts(network: Any, weights: Weights | None, bands: tuple[int, ...] | None) -> dict[str, Any]:
    """What a result records of a Network."""
    facts = network.facts
    return {
        "name": network.name,
        "class": f"{type(network.module).__module__}.{type(network.module).__qualname__}",
        "parameters": sum(p.numel() for p in network.module.parameters()),
        "sha256": sha256_of_weights(network.module),
        **(weights.describe() if weights else {"weights": "as given", "file": None}),
        "scale": facts.scale,
        **network.pixels.describe(),
        "multiple": facts.multiple,
        "minimum": facts.minimum,
        "square": facts.square,
        "channels": facts.channels,
        **({"frames": facts.frames} if facts.frames else {}),
        **({"bands": list(bands)} if bands else {}),
        **({"stretch": list(facts.stretch)} if facts.stretch != (1, 1) else {}),
        "channels_are": channels_in_words(facts.channels, bands),
        "forward": describe_forward(network.forward),
    }


def guess_warnings(network: Any, weights: Weights | None) -> list[str]:
    """Sentences on facts of a Network that are only guessed."""
    guessed = dict(network.facts.origins)["input_range"] == "guessed"
    if weights is None or not guessed or network.pixels.mean is not None or network.pixels.std is not None:
        return []
    return [
        f"input range guessed: neither {weights.path.name} nor the network's output tells whether white is "
        f"1 or 255, and {network.input_range:g} is assumed (state input_range)"
    ]
