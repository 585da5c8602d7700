"""Read from a Runner of mmengine: the network and its moving average, its optimizer, validation images, visualizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from sr_hooks.adapters.loop import trains
from sr_hooks.errors import ImageError, NetworkError, OptionError
from sr_hooks.networks.loading.mmagic import part_of
from sr_hooks.networks.loading.mmengine_preprocessor import facts_of, order_of, transforms_of, white_of
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.watch_images import Validation

__all__ = ["VisualizerWriter", "check_order", "networks_of", "optimizer_of", "validation_images"]


class VisualizerWriter:
    """A visualizer of mmengine with those methods of a SummaryWriter that our sink calls."""

    def __init__(self, visualizer: Any) -> None:
        self.visualizer = visualizer

    def add_scalar(self, tag: str, value: float, iteration: int) -> None:
        self.visualizer.add_scalar(tag, value, iteration)

    def add_image(self, tag: str, image: np.ndarray, iteration: int, **_: Any) -> None:
        # The local backend writes a file of that name, and a slash in it would name a folder that is not there.
        self.visualizer.add_image(tag.replace("/", "_"), image, iteration)

    def flush(self) -> None:
        """Backends flush by themselves."""


def networks_of(runner: Any, path: str, stated: Mapping[str, Any]) -> dict[str, Network]:
    """ "raw" and, where the run keeps a moving average, "ema".

    Raises:
        NetworkError: the model has no part of that name.
        OptionError: the average would be updated after our hook has analysed it.
    """
    model = unwrap(runner.model)
    try:
        modules = {"raw": part_of(model, path)}
    except NetworkError as error:
        raise NetworkError(f"{error}. Say which part is the network: network='path.to.submodule'") from None
    average = _average(runner, model, path)
    if average is not None:
        modules["ema"] = average
    transforms = transforms_of(runner.train_dataloader.dataset)
    facts = facts_of(unwrap(getattr(model, "data_preprocessor", None)), transforms, stated)
    return {which: Network(module, **facts) for which, module in modules.items()}


def _average(runner: Any, model: nn.Module, path: str) -> nn.Module | None:
    """`generator_ema`, which validation uses where a model has one; else that of EMAHook."""
    head, _, rest = path.partition(".")
    own = unwrap(getattr(model, f"{head}_ema", None))
    if isinstance(own, nn.Module):
        own = _unaveraged(own)
        return part_of(own, rest, called=f"{head}_ema.{rest}") if rest else own
    for hook in runner.hooks:
        if isinstance(getattr(hook, "ema_model", None), nn.Module):
            return part_of(_unaveraged(hook.ema_model), path)
    return None


def _unaveraged(module: nn.Module) -> nn.Module:
    """The module itself out of mmengine's BaseAveragedModel, which counts its steps beside it."""
    return unwrap(module.module) if hasattr(module, "avg_parameters") else module


def check_order(runner: Any, own_hook: Any) -> None:
    """Check that every average is up to date when our hook runs.

    Raises:
        OptionError: a hook that keeps an average runs after ours.
    """
    hooks = list(runner.hooks)
    for hook in hooks[hooks.index(own_hook) + 1 :]:
        if hasattr(hook, "ema_model") or hasattr(hook, "module_keys"):
            raise OptionError(
                f"{type(hook).__name__} (priority {hook.priority}) would update the average only after SRHooks "
                f"(priority {own_hook.priority}) has looked at it: give it a higher priority, or SRHooks a lower one"
            )


def optimizer_of(runner: Any, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that holds weights of the network."""
    wrapper = runner.optim_wrapper
    for each in getattr(wrapper, "optim_wrappers", {"": wrapper}).values():
        if trains(each.optimizer, module):
            return cast("torch.optim.Optimizer", each.optimizer)
    raise NetworkError(f"no optimizer of this run holds weights of {type(module).__name__}")


def validation_images(runner: Any) -> Validation | None:
    """A function that gives images and names of the run's validation datasets; None if the run has no validation."""
    loop = runner.val_loop
    if loop is None:
        return None
    datasets = [loader.dataset for loader in getattr(loop, "dataloaders", None) or [loop.dataloader]]

    def images(takes: str, count: int) -> tuple[Sequence[torch.Tensor], Sequence[str]]:
        tensors: list[torch.Tensor] = []
        names: list[str] = []
        for dataset in datasets:
            transforms = transforms_of(dataset)
            for index in _by_name(dataset)[: count - len(tensors)]:
                image, name = _image(dataset[index], "img" if takes == "lr" else "gt", transforms)
                tensors.append(image)
                names.append(name or f"{type(dataset).__name__} {index}")
        return tensors, names

    return images


def _by_name(dataset: Any) -> list[int]:
    """A dataset's indices in the order of its file names: mmengine lists folders in the file system's order."""
    indices = list(range(len(dataset)))
    about: Callable[[int], Any] | None = getattr(dataset, "get_data_info", None)
    if about is None:
        return indices
    return sorted(indices, key=lambda index: str(about(index).get("img_path") or about(index).get("gt_path") or ""))


def _image(item: Any, key: str, transforms: Sequence[Any]) -> tuple[torch.Tensor, str]:
    """(1,C,h,w), or (1,T,C,h,w), RGB in [0, 1] of what a dataset gives, and its file's name."""
    sample = item.get("data_samples") if isinstance(item, Mapping) else None
    image = next(_candidates(item, sample, key), None)
    if image is None:
        kind = "input" if key == "img" else "ground-truth"
        raise ImageError(f"the validation set has no {kind} images (C,h,w): name some with `image`")
    about = getattr(sample, "metainfo", {})
    order = about.get(f"{key}_channel_order") or order_of(transforms, key) or "rgb"
    white = 255.0 if image.dtype == torch.uint8 else white_of(transforms) or 1.0
    image = image.float() / white
    if str(order).lower() == "bgr" and image.shape[-3] == 3:
        image = image.flip(-3)
    path = about.get(f"{key}_path") or ""
    return image[None], Path(path[0]).parent.name if isinstance(path, list) else Path(str(path)).name


def _candidates(item: Any, sample: Any, key: str) -> Iterator[torch.Tensor]:
    inputs = item.get("inputs") if isinstance(item, Mapping) else None
    inputs = inputs.get(key) if isinstance(inputs, Mapping) else inputs
    for value in (inputs,) if key == "img" else (getattr(sample, "gt_img", None),):
        if isinstance(value, torch.Tensor) and value.ndim in (3, 4):  # an image, or the frames of a clip
            yield value
