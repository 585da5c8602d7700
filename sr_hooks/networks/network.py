"""A network: a module that maps images to images, where it comes from, and what results record of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sr_hooks.core.torch_errors import checked_device
from sr_hooks.errors import NetworkError
from sr_hooks.networks.calling import Forward, check_forward, describe_forward, forward_of
from sr_hooks.networks.facts import StatedFacts
from sr_hooks.networks.forward_pass import Selector
from sr_hooks.networks.image_to_image import ImageToImage
from sr_hooks.networks.loading import hugging_face, loaders, mmagic
from sr_hooks.networks.loading.checkpoint_files.weights import CHECKPOINT_SUFFIXES, named_weights
from sr_hooks.networks.loading.checkpoints import Weights, save_weights, sha256_of_weights
from sr_hooks.networks.loading.sources import from_plugins, source_of
from sr_hooks.networks.pixel_range import PixelValues
from sr_hooks.networks.probing.input_range import range_of_module
from sr_hooks.networks.unwrap import as_module

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Network"]


class Network(ImageToImage):
    """Any `torch.nn.Module` that maps an image to an image, with its scale, range, padding and name.

    A call takes (N,C,h,w) in [0, 1]: it pads, scales the range, runs the module, picks the output, crops and
    scales back. The module itself is never changed. A fact that is not given is inferred by a forward pass or two
    on small inputs.

    Args:
        module: the network; it is unwrapped from DataParallel, DistributedDataParallel, `torch.compile` and moving
            averages (of torch, ema_pytorch, timm, diffusers).
        scale: output pixels per input pixel.
        input_range: the value that white has inside, 1 or 255. The border is RGB in [0, 1] either way.
        mean, std: where the network takes (image - mean) / std and gives the like: one value, or one a channel in its
            own order, in units of the image ([0, 1]); input_range multiplies after.
        bgr: whether it takes and gives blue, green, red.
        multiple: input height and width are padded (mirrored) to a multiple of it.
        minimum: smaller inputs are padded (mirrored) to that height and width.
        square: they are padded to a square, for networks that take nothing else.
        channels: of the input: 1 (grey), 3 (RGB), 6 (a stereo pair), or a number of bands.
        bands: of a network with more than 3, which are shown as red, green and blue, from 0; by default the first 3.
        frames: of a network over clips (N,T,C,h,w), how many it is first run on, and how many an image stands still
            for; 0 for a network of images, as one is taken to be whose scale, multiple and channels are all given.
        forward: how the module is called where that is not module(image): further keyword arguments, {"sigma": 0.1},
            in which the value "image" names the one that takes the image; or a function (module, image).
        output: which of several outputs is the image: an index, a key, or a function.
        name: how results call it; the class name by default.
        weights: where the weights came from, for provenance and for writing them back.
        device: where the module is moved, in place; None leaves the module where it is.

    Raises:
        NetworkError: no module, compiled, or it does not map images to images.

    Attributes:
        facts: what is known of the network, and where each fact is from.
        source: of a network that `load` made, the arguments of `load`, so that it can be loaded again; else None.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        scale: float | None = None,
        input_range: float | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        bgr: bool = False,
        multiple: int | None = None,
        minimum: int = 1,
        square: bool = False,
        channels: int | None = None,
        bands: Sequence[int] | None = None,
        frames: int | None = None,
        forward: Forward | None = None,
        output: Selector | None = None,
        name: str | None = None,
        weights: Weights | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        module = as_module(module)
        white = (range_of_module(module) or 1.0) if input_range is None else float(input_range)
        super().__init__(
            module,
            name=name or type(module).__name__,
            stated=StatedFacts(
                scale=scale,
                multiple=multiple,
                channels=channels,
                frames=frames,
                minimum=max(int(minimum), 1),
                square=bool(square),
                input_range=None if input_range is None else float(input_range),
                range_from_output=input_range is None and mean is None and std is None and weights is not None,
            ),
            pixels=PixelValues(white, mean, std, bgr),  # type: ignore[arg-type]
            forward=check_forward(forward) or forward_of(module),
            output=output,
        )
        if bands is not None and (len(bands) != 3 or not all(isinstance(band, int) and band >= 0 for band in bands)):
            raise NetworkError(f"bands is {bands!r}; give three numbers from 0, those shown as red, green and blue")
        self.bands = None if bands is None else tuple(bands)
        self.weights = weights
        self.source: dict[str, Any] | None = None
        if device is not None:
            self.to(device)

    @classmethod
    def of(cls, network: Self | nn.Module) -> Self:
        """The network itself, or a plain module as a Network."""
        return network if isinstance(network, cls) else cls(network)  # type: ignore[arg-type]

    @classmethod
    def from_basicsr(
        cls,
        arch_or_option_file: str | Path,
        arguments: loaders.Arguments | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> Self:
        """An architecture registered with BasicSR, by name, or the `network_g` of an option file.

        With an option file and no `weights`, its `path: pretrain_network_g` is loaded where it is set.
        """
        target, weights, facts = _named(arch_or_option_file, weights, facts)
        return cls._of(loaders.from_basicsr(target, arguments, weights=weights), facts)

    @classmethod
    def from_mmagic(
        cls,
        config: str | Path,
        checkpoint: str | Path | None = None,
        *,
        arguments: loaders.Arguments | None = None,
        network: str = "generator",
        ema: bool = True,
        **facts: Any,
    ) -> Self:
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
        loaded = mmagic.from_mmagic(config, checkpoint, arguments=arguments, network=network, ema=ema, stated=facts)
        return cls._of(loaded, facts)

    @classmethod
    def from_file(cls, path: str | Path, **facts: Any) -> Self:
        """Any checkpoint file of an architecture that spandrel recognises; see `load` for `weights_key`."""
        file, _, facts = _named(path, None, facts)
        return cls._of(loaders.from_file(file), facts)

    @classmethod
    def from_import(
        cls, target: str, arguments: loaders.Arguments | None = None, *, weights: str | Path | None = None, **facts: Any
    ) -> Self:
        """`package.module:Class` or `path/to/file.py:Class`, built with `arguments`. This runs the code there."""
        _, weights, facts = _named(target, weights, facts)
        return cls._of(loaders.from_import(target, arguments, weights=weights), facts)

    @classmethod
    def load(
        cls,
        spec: str,
        arguments: loaders.Arguments | None = None,
        *,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        **facts: Any,
    ) -> Self:
        """What a person types: a checkpoint, an option file, a config, an import path, an architecture's name.

        Or a folder that `save_pretrained` of transformers wrote; nothing is fetched.

        Plugins' loaders are asked first; each returns None for what is not its own.

        Args:
            arguments: of the architecture: name to value, or a list of values by position.
            device: where the network is moved: "cuda", "cuda:1", "cpu", "auto"; None leaves it on the CPU.
            facts: those of `Network`, and weights_key, weights_prefix: which weights of the checkpoint are taken, by
                the key that holds them or by the beginning of their names. `file.ckpt::net_g_ema` names either in
                short. By default the moving average is taken where there is one.
        """
        named, weights, facts = _named(spec, weights, facts)
        spec = str(named)
        of_plugin = from_plugins(spec, arguments, weights=weights, facts=facts)
        if of_plugin is not None:
            network = cls.of(of_plugin)
        elif spec.endswith(".py"):
            network = cls.from_mmagic(spec, weights, arguments=arguments, **facts)
        elif hugging_face.is_saved_folder(spec):
            if arguments or weights:
                raise NetworkError(f"{spec} holds its own arguments and weights: give neither beside it")
            network = cls._of(hugging_face.from_folder(spec), facts)
        else:
            network = cls._of(loaders.from_spec(spec, arguments, weights=weights), facts)
        network.source = source_of(spec, arguments, weights=weights, facts=facts)
        return network if device is None else network.to(device)

    @classmethod
    def _of(cls, loaded: loaders.Loaded, stated: Mapping[str, Any]) -> Self:
        network = cls(loaded.module, weights=loaded.weights, **{"name": loaded.name, **loaded.facts, **stated})
        stated_facts = network._stated.read_from_file(loaded.facts.keys() - stated.keys())
        network._stated = replace(stated_facts, documented_range=loaded.documented_range, windows=loaded.windows)
        return network

    def to(self, device: str | torch.device) -> Self:
        """Move the module to a device, in place, and return the network; "auto" is cuda where there is one.

        Raises:
            OptionError: there is no such device.
        """
        self.module.to(checked_device(device))
        return self

    def sha256(self) -> str:
        """SHA-256 over names, kinds, shapes and bytes of all weights and buffers, in state-dict order."""
        return sha256_of_weights(self.module)

    def warnings(self) -> list[str]:
        """Sentences on facts that are only guessed, with which every verdict about the network begins."""
        guessed = dict(self.facts.origins)["input_range"] == "guessed"
        if self.weights is None or not guessed or self.pixels.mean is not None or self.pixels.std is not None:
            return []
        return [
            f"input range guessed: neither {self.weights.path.name} nor the network's output tells whether white is "
            f"1 or 255, and {self.input_range:g} is assumed (state input_range)"
        ]

    def describe(self) -> dict[str, Any]:
        """What a result records of the network."""
        facts = self.facts
        return {
            "name": self.name,
            "class": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "sha256": self.sha256(),
            **(self.weights.describe() if self.weights else {"weights": "as given", "file": None}),
            "scale": facts.scale,
            **self.pixels.describe(),
            "multiple": facts.multiple,
            "minimum": facts.minimum,
            "square": facts.square,
            "channels": facts.channels,
            **({"frames": facts.frames} if facts.frames else {}),
            **({"bands": list(self.bands)} if self.bands else {}),
            "forward": describe_forward(self.forward),
        }

    def save(self, path: str | Path) -> None:
        """Write the weights as a checkpoint in the layout of the file that they came from; whole or not at all.

        That is the same keys, prefix and number formats; `path`'s suffix says whether it is a torch or a safetensors
        file. Weights that came from no file go under `params`, as BasicSR has them.

        Raises:
            CheckpointError: the file cannot be written.
        """
        save_weights(self.module, path, like=self.weights)


def _named(
    spec: str | Path, weights: str | Path | None, facts: Mapping[str, Any]
) -> tuple[str | Path, str | Path | None, dict[str, Any]]:
    """The model, the weights' file and the facts; `weights_key` and `weights_prefix` go into the name of the file."""
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
