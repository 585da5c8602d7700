"""Which input pixel each value of a tensor stands at, followed through partitions, shifts, overlaps and sorting.

A forward pass is followed operation by operation. Beside each tensor stands a tensor of pixel numbers of the same
shape: an operation that only moves values (view, roll, unfold, gather, ...) moves the numbers in the same way, a
convolution or linear layer keeps the pixel at which it writes, and a matrix product keeps the rows of its first factor.
So nothing is assumed about windows: the numbers beside the values of an attention say which pixels they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from sr_hooks_attention.marks import name_of, tensors_in

__all__ = ["Numbers", "Positions", "constant"]

_MOVES = {
    "view", "reshape", "permute", "transpose", "movedim", "unsqueeze", "squeeze", "flatten", "unflatten", "expand",
    "repeat", "chunk", "split", "unbind", "getitem", "roll", "unfold", "narrow", "cat", "concat", "stack", "tile",
    "gather", "take_along_dim", "swapaxes", "swapdims", "T", "mT", "view_as", "reshape_as", "expand_as",
    "repeat_interleave", "tensor_split", "select", "rot90", "split_with_sizes",
    "scatter", "index_copy", "hsplit", "vsplit", "T.get", "mT.get",
}  # fmt: skip
_PRODUCTS = {"matmul", "bmm", "linear", "scaled_dot_product_attention"}
_NO_POSITION = {
    "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "full_like", "sort", "argsort", "topk",
    "argmax", "mean", "sum", "amax", "amin", "var", "std", "norm", "adaptive_avg_pool2d", "adaptive_max_pool2d",
    "new_zeros", "new_ones", "new_full", "new_empty", "fft2", "rfft2", "fftn", "rfftn", "fft_fft2", "fft_rfft2",
}  # fmt: skip
_EXACT = 2**24  # whole numbers that float32 holds


@dataclass(frozen=True)
class Numbers:
    """Pixel numbers beside a tensor.

    Attributes:
        values: as the tensor's shape: 1 + (t * h + y) * w + x of the input pixel; 0 for none (padding with zeros); the
            number negative where the value is a mirrored copy of a pixel's.
        cell: the side of the square of input pixels that a position stands for; its number is that of the first pixel.
    """

    values: torch.Tensor
    cell: int = 1


class Positions(TorchFunctionMode):
    """Follows the positions of the pixels of `image` (1,C,h,w), or clip (1,T,C,h,w), while the mode is active.

    with Positions(lr) as positions:
        output = network(lr)
    positions.of(tensor)  # the Numbers of a tensor that the network has made, or None
    """

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        height, width = image.shape[-2:]
        self.size, self.frames = (height, width), image.shape[1] if image.ndim == 5 else 1
        count = self.frames * height * width
        dtype = torch.float32 if count < _EXACT else torch.float64
        numbers = torch.arange(1, count + 1, device=image.device, dtype=dtype).view(-1, 1, height, width)
        self._numbers: Any = WeakTensorKeyDictionary()
        self._grids: dict[tuple[int, ...], Numbers] = {}
        self._resting = False
        self._put(image, Numbers(numbers.expand_as(image)))

    def of(self, tensor: Any) -> Numbers | None:
        """The pixel numbers beside a tensor; None where its values stand at no pixel, or that is not known."""
        return self._numbers.get(tensor) if isinstance(tensor, torch.Tensor) else None

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Operations inside are not followed."""
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

    def _put(self, tensor: torch.Tensor, numbers: Numbers) -> None:
        self._numbers[tensor] = numbers
        if tensor.ndim == 4 and len(tensor) == self.frames and tensor.shape[1] > 1:
            flat = numbers.values[:, :1]
            if numbers.values.stride(1) == 0:  # one number for all channels: an image
                self._grids.setdefault(tuple(tensor.shape[-2:]), Numbers(flat, numbers.cell))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        if not self._resting and isinstance(out, (torch.Tensor, tuple, list)):
            with torch.no_grad():
                self._follow(name_of(function), function, args, kwargs, out)
        return out

    def _follow(self, name: str, function: Any, args: Any, kwargs: Any, out: Any) -> None:
        if name == "get":  # of a property: x.T, x.mT
            name = f"{getattr(getattr(function, '__self__', None), '__name__', '')}.get"
        if name == "setitem":
            self._write(args)
            return
        inputs = [tensor for tensor in tensors_in((args, kwargs)) if self.of(tensor) is not None]
        results = [tensor for tensor in tensors_in(out) if tensor.is_floating_point()]
        if not results or name in _NO_POSITION:
            return
        if not inputs:
            self._reseed(results)
        elif name == "pad":
            self._put(results[0], self._padded(function, args, kwargs))
        elif name == "flip":
            self._move(lambda *a, **k: -function(*a, **k).abs(), args, kwargs, out)
        elif name == "index_select":
            self._move(_selected, args, kwargs, out)
        elif name in _MOVES:
            self._move(function, args, kwargs, out)
        elif name in _PRODUCTS:
            self._rows(next(iter(tensors_in((args, kwargs)))), results[0])
        elif name == "einsum":
            self._einsum(args, results[0])
        else:
            self._same_or_resized(inputs, results)

    def _write(self, args: Any) -> None:
        """x[index] = value."""
        target, index, value = args
        source = self.of(value)
        if source is not None and target.is_floating_point():
            now = self.of(target)
            values = torch.zeros_like(target, dtype=source.values.dtype) if now is None else now.values.clone()
            values[index] = source.values
            self._put(target, Numbers(values, source.cell))

    def _padded(self, function: Any, args: Any, kwargs: Any) -> Numbers:
        """Zeros where padded with a constant; negative numbers where padded with copies."""
        tensor = args[0] if args else kwargs["input"]
        pad = args[1] if len(args) > 1 else kwargs["pad"]
        mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
        before = self.of(tensor)
        assert before is not None
        inside = torch.nn.functional.pad(before.values, pad)
        if mode == "constant":
            return Numbers(inside, before.cell)
        outside = torch.nn.functional.pad(torch.ones_like(before.values), pad) == 0
        copies = torch.nn.functional.pad(before.values, pad, mode=mode)
        return Numbers(torch.where(outside, -copies.abs(), inside), before.cell)

    def _move(self, function: Callable[..., Any], args: Any, kwargs: Any, out: Any) -> None:
        """The numbers move as the values did. Values at no pixel count as 0."""
        cells = {numbers.cell for tensor in tensors_in((args, kwargs)) if (numbers := self.of(tensor)) is not None}
        if len(cells) > 1:
            return
        dtype = next(n.values.dtype for t in tensors_in((args, kwargs)) if (n := self.of(t)) is not None)
        values = [self._swapped(value, dtype) for value in args]
        named = {key: self._swapped(value, dtype) for key, value in kwargs.items()}
        if getattr(function, "__name__", "").endswith("_") and name_of(function) != "getitem":  # in place
            values[0] = values[0].clone() if isinstance(values[0], torch.Tensor) else values[0]
        try:
            moved = function(*values, **named)
        except RuntimeError:  # a view of numbers that are laid out in another way than the values
            moved = torch.Tensor.reshape(*values, **named)
        for tensor, values_there in zip(tensors_in(out), tensors_in(moved), strict=True):
            self._put(tensor, Numbers(values_there, *cells))

    def _swapped(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, torch.Tensor):
            numbers = self.of(value)
            if numbers is not None:
                return numbers.values
            return torch.zeros_like(value, dtype=dtype) if value.is_floating_point() else value
        if isinstance(value, (tuple, list)) and any(isinstance(item, torch.Tensor) for item in value):
            return type(value)([self._swapped(item, dtype) for item in value])
        return value

    def _rows(self, first: torch.Tensor, out: torch.Tensor) -> None:
        """A product mixes along the last dimension of its first factor: the position must be one along that."""
        numbers = self.of(first)
        row = None if numbers is None else constant(numbers.values, -1)
        if numbers is None or row is None or row.ndim != out.ndim:
            return
        self._put(out, Numbers(row.expand(out.shape), numbers.cell))

    def _einsum(self, args: Any, out: torch.Tensor) -> None:
        """As `_rows`, of the first operand that has one position along all that is summed."""
        spec, operands = args[0], list(tensors_in(args[1:]))
        if not isinstance(spec, str) or "->" not in spec or "." in spec:
            return
        left, right = spec.replace(" ", "").split("->")
        for letters, operand in zip(left.split(","), operands, strict=True):
            numbers = self.of(operand)
            values = None if numbers is None else numbers.values
            for dim, letter in reversed(list(enumerate(letters))):
                if values is not None and letter not in right:
                    values = constant(values, dim)
                    values = None if values is None else values.squeeze(dim)
            if numbers is None or values is None:
                continue
            common = [letter for letter in letters if letter in right]
            values = values.permute([common.index(letter) for letter in right if letter in common])
            for dim, letter in enumerate(right):
                values = values if letter in common else values.unsqueeze(dim)
            self._put(out, Numbers(values.expand(out.shape), numbers.cell))
            return

    def _same_or_resized(self, inputs: list[torch.Tensor], results: list[torch.Tensor]) -> None:
        """An output of an input's shape stands where that does; an image of another size is a finer or coarser grid."""
        for out in results:
            alike = [tensor for tensor in inputs if tensor.shape == out.shape]
            numbers = self.of(alike[0] if alike else inputs[0])
            assert numbers is not None
            if alike:
                self._put(out, numbers)
            elif out.ndim == 4 and inputs[0].ndim == 4 and len(out) == len(inputs[0]):
                resized = self._resized(numbers, out)
                if resized is not None:
                    self._put(out, resized)
            elif out.ndim == inputs[0].ndim == 5 and out.shape[2:] == inputs[0].shape[2:]:  # (N,C,T,h,w)
                grid = constant(numbers.values, 1)
                if grid is not None and len(out) == len(grid):
                    self._put(out, Numbers(grid.expand(out.shape), numbers.cell))
            elif out.ndim == inputs[0].ndim and out.shape[:-1] == inputs[0].shape[:-1]:
                self._rows(inputs[0], out)

    def _resized(self, numbers: Numbers, out: torch.Tensor) -> Numbers | None:
        grid, (height, width) = constant(numbers.values, 1), out.shape[-2:]
        if grid is None:
            return None
        step, factor = grid.shape[-2] // max(height, 1), height // max(grid.shape[-2], 1)
        if (height, width) == tuple(grid.shape[-2:]):
            return Numbers(grid.expand(out.shape), numbers.cell)
        if step > 1 and (height * step, width * step) == tuple(grid.shape[-2:]):
            return Numbers(grid[..., ::step, ::step].expand(out.shape), numbers.cell * step)
        finer = (grid.shape[-2] * factor, grid.shape[-1] * factor) == (height, width)
        if not finer or factor < 2 or numbers.cell % factor:
            return None
        cell = numbers.cell // factor
        fine = grid.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        index, pixels = (fine.abs() - 1).long(), self.size[0] * self.size[1]
        y = index % pixels // self.size[1] + torch.arange(height, device=grid.device)[:, None] % factor * cell
        x = index % self.size[1] + torch.arange(width, device=grid.device) % factor * cell
        beyond = (y >= self.size[0]) | (x >= self.size[1]) | (fine == 0)  # in the padding of a cell at the border
        fine = torch.where(beyond, -fine.abs(), fine.sign() * (1 + index // pixels * pixels + y * self.size[1] + x))
        return Numbers(fine.expand(out.shape), cell)

    def _reseed(self, results: list[torch.Tensor]) -> None:
        """An image of a size that was seen before stands on the same grid, though its way there was not followed."""
        for out in results:
            whole = out.ndim == 4 and len(out) == self.frames
            numbers = self._grids.get(tuple(out.shape[-2:])) if whole else None
            if numbers is not None and out.shape[1] > 3:
                self._put(out, Numbers(numbers.values.expand(out.shape), numbers.cell))


def _selected(values: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """index_select; where an index comes again, as in mirrored padding, its numbers are those of copies."""
    index = index.reshape(-1)
    again = (index[:, None] == index[None]).tril(-1).any(dim=1)
    shape = [-1 if d == dim % values.ndim else 1 for d in range(values.ndim)]
    result = values.index_select(dim, index)
    return torch.where(again.view(shape), -result.abs(), result)


def constant(values: torch.Tensor, dim: int) -> torch.Tensor | None:
    """The numbers along a dimension, of length 1, if they are all one; else None. Mirrored copies may differ."""
    first = values.narrow(dim, 0, 1)
    if values.stride(dim) == 0 or values.shape[dim] == 1:
        return first
    return first if bool(((values == first) | (values < 0) | (first < 0)).all()) else None
