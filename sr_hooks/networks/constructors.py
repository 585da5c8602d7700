"""Where networks come from: architectures by name, option files, checkpoints, classes, configs of mmagic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from sr_hooks.core import registry as plugins
from sr_hooks.core.options import as_plain
from sr_hooks.networks.loading import loaders
from sr_hooks.networks.loading import mmagic as loaders_mmagic

__all__ = ["NetworkSources"]

N = TypeVar("N", bound="NetworkSources")


class NetworkSources:
    """The constructors of Network from names and files; `facts` are what its own constructor takes.

    Attributes:
        source: of a network that `load` made, what it was asked for, so that it can be loaded again; else None.
    """

    source: dict[str, Any] | None = None

    def __init__(self, module: nn.Module, **facts: Any) -> None: ...

    @classmethod
    def of(cls: type[N], network: N | nn.Module) -> N:
        """The network itself, or a bare module wrapped."""
        return network if isinstance(network, cls) else cls(network)  # type: ignore[arg-type]

    @classmethod
    def from_basicsr(
        cls: type[N],
        arch_or_option_file: str | Path,
        arguments: Mapping[str, Any] | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> N:
        """An architecture registered with BasicSR, by name, or the `network_g` of an option file.

        With an option file and no `weights`, its `path: pretrain_network_g` is loaded where it is set.
        """
        return cls._of(loaders.from_basicsr(arch_or_option_file, arguments, weights=weights), facts)

    @classmethod
    def from_mmagic(
        cls: type[N],
        config: str | Path,
        checkpoint: str | Path | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        network: str = "generator",
        ema: bool = True,
        **facts: Any,
    ) -> N:
        """The network of a config of mmagic, or of another project on mmengine. This runs the code in the config.

        Only that part of the model is built: no discriminator, and no loss with weights of its own. Mean, standard
        deviation and channel order are those of the config's data preprocessor and pipeline. Not for a network
        that takes more than one image, as reference-based ones do.

        Args:
            config: a Python, YAML or JSON file.
            checkpoint: of a training run, or published; by default the config's `load_from`.
            arguments: of the network, on top of the config's.
            network: where it stands in the model, "generator" or a path such as "backbone.body".
            ema: of a checkpoint that holds a moving average too, of EMAHook or `generator_ema`, take that one.

        Raises:
            NetworkError: mmagic or mmengine is missing, or the config describes no such network.
            CheckpointError: the file is missing, unsafe, or of another network.
        """
        loaded = loaders_mmagic.from_mmagic(
            config, checkpoint, arguments=arguments, network=network, ema=ema, stated=facts
        )
        return cls._of(loaded, facts)

    @classmethod
    def from_file(cls: type[N], path: str | Path, **facts: Any) -> N:
        """Any checkpoint file of an architecture that spandrel recognises."""
        return cls._of(loaders.from_file(path), facts)

    @classmethod
    def from_import(
        cls: type[N],
        target: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> N:
        """`package.module:Class` or `path/to/file.py:Class`, built with `arguments`. This runs the code there."""
        return cls._of(loaders.from_import(target, arguments, weights=weights), facts)

    @classmethod
    def load(
        cls: type[N],
        spec: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> N:
        """What a person types: a checkpoint, an option file, a config, an import path, an architecture's name.

        Plugins' loaders are asked first; each returns None for what is not its own.
        """
        network = cls._loaded(spec, arguments, weights, facts)
        network.source = {
            "model": _absolute(spec),
            "arguments": as_plain(arguments),
            "weights": None if weights is None else _absolute(weights),
            "facts": as_plain(facts),
        }
        return network

    @classmethod
    def _loaded(
        cls: type[N], spec: str, arguments: Mapping[str, Any] | None, weights: str | Path | None, facts: dict[str, Any]
    ) -> N:
        for name, loader in plugins.contributions("register_network_loaders").items():
            with plugins.blamed("register_network_loaders", name, f"network loader {name}, {spec}"):
                network = loader(spec, arguments, weights=weights, **facts)
            if network is not None:
                return cls.of(network)
        if spec.endswith(".py"):
            return cls.from_mmagic(spec, weights, arguments=arguments, **facts)
        return cls._of(loaders.from_spec(spec, arguments, weights=weights), facts)

    @classmethod
    def _of(cls: type[N], loaded: loaders.Loaded, stated: Mapping[str, Any]) -> N:
        facts = {"name": loaded.name, **loaded.facts, **stated}
        return cls(loaded.module, weights=loaded.weights, **facts)


def _absolute(spec: str | Path) -> str:
    """A file by its full path, also that of `path/to/file.py:Class`; a name as it is."""
    place, colon, name = str(spec).rpartition(":") if ".py:" in str(spec) else (str(spec), "", "")
    return f"{Path(place).resolve()}{colon}{name}" if Path(place).is_file() else str(spec)
