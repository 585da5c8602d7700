"""The filters of a network: 2-D kernels of convolutions and weight rows of Linear layers, numbered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sr_hooks.errors import NetworkError, OptionError, nearest
from sr_hooks.inference.calibration import to_device

__all__ = ["FilterLayer", "Filters", "Scores"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class FilterLayer:
    """The filters of one parameter.

    Attributes:
        name: of the layer; a bias's ends with ".bias".
        parameter: the parameter's name in the network.
        kind: the layer's class, or "bias".
        shape: (out, in) filters; in is per group for grouped convolutions, 1 for Linear rows and biases.
        transposed: the weight lies as (in, out, ...), as transposed convolutions keep it.
        experimental: Linear rows and biases, for which the paper has no claim.
    """

    name: str
    parameter: str
    kind: str
    shape: tuple[int, int]
    transposed: bool = False
    experimental: bool = False

    @property
    def count(self) -> int:
        return self.shape[0] * self.shape[1]

    def reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Of the parameter's shape, to (out, in): the sum over each filter, in float64."""
        values = values.double()
        if self.kind == "bias":
            return values.reshape(-1, 1)
        if self.kind == "Linear":
            return values.sum(dim=1, keepdim=True)
        if values.ndim == 5 and len(values) == 1 and not self.kind.startswith("Conv"):
            values = values[0]  # a kernel with a place for the batch
        summed = values.flatten(2).sum(dim=2)
        return summed.T if self.transposed else summed

    def spread(self, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """(out, in) to a tensor that broadcasts over the parameter, each filter's value on all its weights."""
        if self.kind == "bias":
            return values.reshape(like.shape)
        if self.transposed:
            values = values.T
        if like.ndim == 5 and len(like) == 1 and not self.kind.startswith("Conv"):
            return values[None, :, :, None, None]
        return values.reshape(*values.shape, *[1] * (like.ndim - 2))


class Filters:
    """All filters of a network, numbered 0 to count-1: layer after layer, within a layer by (out, in), row by row."""

    def __init__(self, layers: Sequence[FilterLayer]) -> None:
        self.layers = list(layers)
        self._starts = np.cumsum([0, *(layer.count for layer in self.layers)])

    @classmethod
    def of(cls, module: nn.Module, *, biases: bool = False) -> Filters:
        """The filters of a module; a parameter that two layers share counts once.

        Raises:
            NetworkError: it has none.
        """
        layers: list[FilterLayer] = []
        owned = dict(module.named_parameters())
        for name, part in module.named_modules():
            for suffix in ("weight", "bias") if biases else ("weight",):
                parameter = f"{name}.{suffix}" if name else suffix
                if parameter in owned and (layer := _layer(name, parameter, part)) is not None:
                    layers.append(layer)
        if not layers:
            raise NetworkError(
                f"{type(module).__name__} has no convolution or Linear with a plain weight to attribute to"
            )
        order = {parameter: i for i, parameter in enumerate(owned)}
        return cls(sorted(layers, key=lambda layer: order[layer.parameter]))

    @property
    def count(self) -> int:
        return int(self._starts[-1])

    def span(self, layer: FilterLayer) -> slice:
        """The slice of a flat array that holds the filters of a layer."""
        index = self.layers.index(layer)
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    def where(self, filters: Iterable[int]) -> list[tuple[str, int, int]]:
        """(layer, out, in) of each filter by number."""
        out = []
        for number in filters:
            index = int(np.searchsorted(self._starts, number, side="right")) - 1
            layer = self.layers[index]
            row, column = divmod(int(number) - int(self._starts[index]), layer.shape[1])
            out.append((layer.name, row, column))
        return out

    def reduce(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Parameter name to values of its shape, to (count,) float64 on the CPU; what is not named counts zero."""
        device = next(iter(values.values())).device if values else None
        parts = [
            layer.reduce(values[layer.parameter]).reshape(-1)
            if layer.parameter in values
            else torch.zeros(layer.count, dtype=torch.float64, device=device)
            for layer in self.layers
        ]
        return torch.cat(parts).cpu()

    def spread(self, values: np.ndarray, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """(count,) to parameter name to a tensor that broadcasts over it, of layers with a value that is not zero."""
        out = {}
        for layer in self.layers:
            own = values[self.span(layer)]
            if own.any():
                like = parameters[layer.parameter]
                filter_values = torch.from_numpy(np.ascontiguousarray(own)).reshape(layer.shape)
                out[layer.parameter] = to_device(layer.spread(filter_values, like), like.device)
        return out

    def plain(self) -> list[dict[str, Any]]:
        """For result.json."""
        return [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers]

    @classmethod
    def from_plain(cls, stored: Iterable[Mapping[str, Any]]) -> Filters:
        """From what `plain` gave."""
        return cls([FilterLayer(**{**layer, "shape": tuple(layer["shape"])}) for layer in stored])


def _layer(name: str, parameter: str, part: nn.Module) -> FilterLayer | None:
    bias = parameter.endswith("bias")
    if isinstance(part, _CONVOLUTIONS):
        transposed = isinstance(part, _TRANSPOSED)
        rows, columns = part.weight.shape[:2]
        shape = (columns, rows) if transposed else (rows, columns)
    elif isinstance(part, nn.Linear):
        transposed, shape = False, (part.out_features, 1)
    elif not bias and (kernel_shape := _own_kernel(part)) is not None:
        kind = "Linear" if part.weight.ndim == 2 else type(part).__name__
        return FilterLayer(name or parameter, parameter, kind, kernel_shape, experimental=True)
    else:
        return None
    if bias:
        assert part.bias is not None
        return FilterLayer(parameter, parameter, "bias", (part.bias.numel(), 1), experimental=True)
    linear = isinstance(part, nn.Linear)
    kind = "Linear" if linear else type(part).__name__
    return FilterLayer(name or parameter, parameter, kind, shape, transposed, experimental=linear)


def _own_kernel(part: nn.Module) -> tuple[int, int] | None:
    """(out, in) of a convolution or Linear of somebody's own, as StyleGAN2 has them; by its name and weight's shape."""
    weight, called = part._parameters.get("weight"), type(part).__name__
    if weight is None or not ("Conv" in called or "Linear" in called):
        return None
    if weight.ndim == 2:
        return weight.shape[0], 1
    sides = weight.shape[1:3] if weight.ndim == 5 and weight.shape[0] == 1 else weight.shape[:2]
    return (sides[0], sides[1]) if weight.ndim in (4, 5) else None


class Scores(Mapping[str, np.ndarray]):
    """Layer name to its (out, in) scores, in state-dict order; `name.weight` is understood too."""

    def __init__(self, filters: Filters, flat: np.ndarray) -> None:
        self._layers = {layer.name: layer for layer in filters.layers}
        self._parameters = {layer.parameter: layer.name for layer in filters.layers}
        self._filters, self.flat = filters, flat

    def __getitem__(self, name: str) -> np.ndarray:
        layer = self._layers.get(self._parameters.get(name, name))
        if layer is None:
            raise OptionError(f"no filters of a layer {name!r}; {nearest(name, self._layers)}")
        return self.flat[self._filters.span(layer)].reshape(layer.shape)

    def __contains__(self, name: object) -> bool:
        return name in self._layers or name in self._parameters

    def __iter__(self) -> Any:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
