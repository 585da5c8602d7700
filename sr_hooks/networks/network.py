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
from sr_hooks.networks.calling import Forward, check_forward, forward_of
from sr_hooks.networks.facts import StatedFacts
from sr_hooks.networks.forward_pass import Selector
from sr_hooks.networks.image_to_image import ImageToImage
from sr_hooks.networks.loading import hugging_face, loaders, mmagic
from sr_hooks.networks.loading.checkpoints import Weights, save_weights, sha256_of_weights
from sr_hooks.networks.loading.sources import from_plugins, guess_warnings, named_source, recorded_facts, source_of
from sr_hooks.networks.pixel_range import PixelValues, checked_bands
from sr_hooks.networks.probing.input_range import range_of_module
from sr_hooks.networks.unwrap import as_module

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Network"]


class Network(ImageToImage):
    """A `torch.nn.Module` that maps an image to an image, with its scale, value range, padding and name.

    A call takes (N,C,h,w) float32 RGB in [0, 1]. It pads the input, converts its values, runs the module, selects the
    output, crops it and converts its values back. The module itself is never changed. A fact that is not stated is
    inferred from forward passes on small inputs.

    Args:
        module: the network. It is unwrapped from DataParallel, DistributedDataParallel, `torch.compile` and moving
            averages (of torch, ema_pytorch, timm, diffusers).
        scale: output pixels per input pixel.
        input_range: the value of white inside the module, 1 or 255. Outside, images are RGB in [0, 1] either way.
        mean, std: the module takes (image - mean) / std, and its output is converted back. One value, or one a channel
            in the module's order, in units of the image ([0, 1]); `input_range` multiplies afterwards.
        bgr: True if the module takes and returns blue, green, red.
        multiple: input height and width are padded (mirrored) to a multiple of this number.
        minimum: smaller inputs are padded (mirrored) to this height and width.
        square: True if inputs are padded to a square.
        channels: of the input: 1 (grey), 3 (RGB), 6 (a stereo pair), or a number of bands.
        bands: of a network with more than 3 bands, those shown as red, green and blue, from 0; by default the first 3.
        frames: of a network over clips (N,T,C,h,w): the number of frames of the first run, and of a clip made of one
            image. 0 means a network of images, as do stated scale, multiple and channels.
        forward: how to call the module, if not as module(image): further keyword arguments, {"sigma": 0.1}, in which
            the value "image" names the one that takes the image; or a function (module, image).
        output: which of several outputs is the image: an index, a key, or a function.
        name: the name in results; the class name by default.
        weights: the file of the weights, for provenance and for `save`.
        device: the module is moved there, in place; None leaves the module where it is.

    Raises:
        NetworkError: it is no module, is compiled in a way that hooks cannot enter, or maps no images to images.

    Attributes:
        facts: what is known of the network, and where each fact comes from.
        source: the arguments of `load`, if `load` made the network, so that it can be loaded again; else None.

    Examples:
        >>> import torch, sr_hooks
        >>> network = sr_hooks.Network(torch.nn.Upsample(scale_factor=2))
        >>> network.scale, network(torch.rand(1, 3, 7, 9)).shape
        (2, torch.Size([1, 3, 14, 18]))
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
        self.bands = checked_bands(bands)
        self.weights = weights
        self.source: dict[str, Any] | None = None
        if device is not None:
            self.to(device)

    @classmethod
    def of(cls, network: Self | nn.Module) -> Self:
        """Return the Network itself, or a plain module as a Network.

        Examples:
            >>> import torch, sr_hooks
            >>> sr_hooks.Network.of(torch.nn.Conv2d(3, 3, 3, padding=1)).name
            'Conv2d'
        """
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
        """Build an architecture registered with BasicSR, by name, or the `network_g` of an option file.

        An option file's `path: pretrain_network_g` is loaded, unless `weights` is stated.

        Examples:
            >>> import sr_hooks
            >>> sr_hooks.Network.from_basicsr("MSRResNet", {"num_block": 1, "upscale": 2}, scale=2).name
            'MSRResNet'
        """
        target, weights, facts = named_source(arch_or_option_file, weights, facts)
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
        """Build the network of a config of mmagic, or of another project on mmengine. This runs the code in the config.

        Only that part of the model is built: no discriminator, and no loss with weights. Mean, standard deviation and
        channel order are those of the config's data preprocessor and pipeline. An example needs mmagic and a config:

            sr_hooks.Network.from_mmagic("configs/esrgan/esrgan_x4.py", "esrgan.pth")

        Not for: a network of more than one image, as in reference-based super-resolution.

        Args:
            config: a Python, YAML or JSON file.
            checkpoint: of a training run, or published; by default the config's `load_from`.
            arguments: of the network; they override the config's.
            network: the network inside the model, "generator" or a path such as "backbone.body".
            ema: load the moving average (of EMAHook, or `generator_ema`), if the checkpoint holds one.

        Raises:
            NetworkError: mmagic or mmengine is missing, or the config describes no such network.
            CheckpointError: the file is missing, unsafe, or of another network.
        """
        loaded = mmagic.from_mmagic(config, checkpoint, arguments=arguments, network=network, ema=ema, stated=facts)
        return cls._of(loaded, facts)

    @classmethod
    def from_file(cls, path: str | Path, **facts: Any) -> Self:
        """Load a checkpoint file of an architecture that spandrel recognises; see `load` for `weights_key`.

        Examples:
            >>> import sr_hooks
            >>> sr_hooks.Network.load("demo").save("net.safetensors")
            >>> sr_hooks.Network.from_file("net.safetensors", input_range=1).scale
            4
        """
        file, _, facts = named_source(path, None, facts)
        return cls._of(loaders.from_file(file), facts)

    @classmethod
    def from_import(
        cls, target: str, arguments: loaders.Arguments | None = None, *, weights: str | Path | None = None, **facts: Any
    ) -> Self:
        """Build `package.module:Class` or `path/to/file.py:Class` with `arguments`. This runs the code there.

        Examples:
            >>> import sr_hooks
            >>> sr_hooks.Network.from_import("torch.nn:Upsample", {"scale_factor": 3}).scale
            3
        """
        _, weights, facts = named_source(target, weights, facts)
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
        """Load a network from one text: a checkpoint, an option file, a config, an import path, an architecture's name.

        A folder that `save_pretrained` of transformers wrote is loaded too. Nothing is downloaded. Loaders of plugins
        are tried first.

        Args:
            arguments: of the architecture: name to value, or a list of values by position.
            weights: a file of weights for the architecture.
            device: where the network is moved: "cuda", "cuda:1", "cpu", "auto"; None leaves it on the CPU.
            facts: those of `Network`, and weights_key or weights_prefix. They choose among the weights of a checkpoint,
                by the key that holds them, or by the beginning of their names. `file.ckpt::net_g_ema` is short for
                either. By default the moving average is loaded, if there is one.

        Examples:
            >>> import sr_hooks
            >>> sr_hooks.Network.load("demo").name
            'CompactResNet target'
        """
        named, weights, facts = named_source(spec, weights, facts)
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
        return guess_warnings(self, self.weights)

    def describe(self) -> dict[str, Any]:
        """What a result records of the network."""
        return recorded_facts(self, self.weights, self.bands)

    def save(self, path: str | Path) -> None:
        """Write the weights as a checkpoint in the layout of the file that they came from; whole or not at all.

        That is the same keys, prefix and number formats; `path`'s suffix says whether it is a torch or a safetensors
        file. Weights that came from no file go under `params`, as BasicSR has them.

        Raises:
            CheckpointError: the file cannot be written.
        """
        save_weights(self.module, path, like=self.weights)
