"""A module with what an analysis must know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.checkpoints import Weights
from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.images import reflect_pad

__all__ = ["Network"]

Selector = int | str | Callable[[Any], torch.Tensor]


class Network:
    """Any `torch.nn.Module` that maps an image to an image, with its scale, range, padding and name.

    Call it on (N,C,h,w) in [0, 1]; it pads, scales the range, runs the module, picks the output, crops and
    scales back. The module itself is never changed. What is not given is inferred by a forward pass or two
    on small inputs.

    Args:
        module: the network. A `torch.compile`d one is refused: hooks added to it do not fire.
        scale: output pixels per input pixel.
        input_range: the value that white has inside, 1 or 255. The border is [0, 1] either way.
        multiple: input height and width are padded (mirrored) to a multiple of it.
        channels: of the input, 1 or 3.
        output: which of several outputs is the image: an index, a key, or a function.
        name: how results call it; the class name by default.
        weights: where the weights came from, for provenance and for writing them back.

    Raises:
        NetworkError: no module, compiled, or it does not map images to images.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        scale: float | None = None,
        input_range: float | None = None,
        multiple: int | None = None,
        channels: int | None = None,
        output: Selector | None = None,
        name: str | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.module = _plain(module)
        self.output = output
        self.weights = weights
        self.name = name or type(self.module).__name__
        self.input_range = _range_of(self.module) if input_range is None else float(input_range)
        if self.input_range <= 0:
            raise NetworkError(f"input_range is {input_range}; it is the value of white, 1 or 255")
        if multiple is not None and multiple < 1:
            raise NetworkError(f"multiple is {multiple}; it must be at least 1")
        self._scale = None if scale is None else _number(scale)
        self._multiple = multiple
        self._channels = channels

    # -- where networks come from ------------------------------------------------------------------

    @classmethod
    def of(cls, network: Network | nn.Module) -> Network:
        """The network itself, or a bare module wrapped."""
        return network if isinstance(network, Network) else cls(network)

    @classmethod
    def from_basicsr(
        cls,
        arch_or_option_file: str | Path,
        arguments: Mapping[str, Any] | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> Network:
        """An architecture registered with BasicSR, by name, or the `network_g` of an option file.

        With an option file and no `weights`, its `path: pretrain_network_g` is loaded where it is set.
        """
        from sr_hooks import loaders

        return loaders.from_basicsr(arch_or_option_file, arguments, weights=weights, **facts)

    @classmethod
    def from_file(cls, path: str | Path, **facts: Any) -> Network:
        """Any checkpoint file of an architecture that spandrel recognises."""
        from sr_hooks import loaders

        return loaders.from_file(path, **facts)

    @classmethod
    def from_import(
        cls,
        target: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        weights: str | Path | None = None,
        **facts: Any,
    ) -> Network:
        """`package.module:Class` or `path/to/file.py:Class`, built with `arguments`. This runs the code there."""
        from sr_hooks import loaders

        return loaders.from_import(target, arguments, weights=weights, **facts)

    # -- what is known of it -----------------------------------------------------------------------

    @property
    def scale(self) -> float:
        """Output pixels per input pixel: a whole number, or a fraction for networks that shrink."""
        self._infer()
        assert self._scale is not None
        return self._scale

    @property
    def multiple(self) -> int:
        """What input sizes are padded to."""
        self._infer()
        assert self._multiple is not None
        return self._multiple

    @property
    def channels(self) -> int:
        """Input channels, 1 or 3."""
        self._infer()
        assert self._channels is not None
        return self._channels

    @property
    def device(self) -> torch.device:
        return _first_tensor(self.module).device

    @property
    def dtype(self) -> torch.dtype:
        dtype = _first_tensor(self.module).dtype
        return dtype if dtype.is_floating_point else torch.float32

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(H,W) of the output for an input of height x width."""
        return round(height * self.scale), round(width * self.scale)

    def sha256(self) -> str:
        """SHA-256 over names, kinds, shapes and bytes of all weights and buffers, in state-dict order."""
        digest = hashlib.sha256()
        for key, value in self.module.state_dict().items():
            if isinstance(value, torch.Tensor):
                value = value.detach().cpu().contiguous()
                digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
                digest.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What a result records of the network."""
        return {
            "name": self.name,
            "class": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "sha256": self.sha256(),
            "weights": (self.weights.place or "bare") if self.weights else "as given",
            "file": self.weights.path.name if self.weights else None,
            "scale": self.scale,
            "input_range": self.input_range,
            "multiple": self.multiple,
            "channels": self.channels,
        }

    def __repr__(self) -> str:
        known = f"scale={self._scale}, channels={self._channels}" if self._scale else "not yet probed"
        return f"Network({self.name}, {known}, input_range={self.input_range:g})"

    # -- running it --------------------------------------------------------------------------------

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) in [0, 1] to (N,C',H,W), differentiable; the output is not clipped.

        Raises:
            NetworkError: the module returns no image, or one of another size than `scale` says.
        """
        self._infer()
        return self._run(x, self.multiple, self.scale)

    def _run(self, x: torch.Tensor, multiple: int, scale: float | None) -> torch.Tensor:
        h, w = x.shape[-2:]
        more_h, more_w = -h % multiple, -w % multiple
        inside = reflect_pad(x, 0, more_h, 0, more_w) if more_h or more_w else x
        inside = inside * self.input_range if self.input_range != 1 else inside
        out = self._pick(self.module(inside.to(self.dtype)))
        if scale is not None:
            expected = (round((h + more_h) * scale), round((w + more_w) * scale))
            if tuple(out.shape[-2:]) != expected:
                raise NetworkError(
                    f"{self.name} returned {_size(out)} pixels for an input of {h + more_h}x{w + more_w}, where scale "
                    f"{scale:g} gives {expected[0]}x{expected[1]}: set Network(module, scale=..., multiple=...)"
                )
            out = out[..., : round(h * scale), : round(w * scale)]
        return out / self.input_range if self.input_range != 1 else out

    def _pick(self, out: Any) -> torch.Tensor:
        if self.output is not None:
            try:
                out = self.output(out) if callable(self.output) else out[self.output]
            except (KeyError, IndexError, TypeError) as error:
                raise NetworkError(f"{self.name} returned {_kind(out)}; output={self.output!r} is not in it") from error
        if not isinstance(out, torch.Tensor):
            raise NetworkError(
                f"{self.name} returned {_kind(out)}, not one image: say which with Network(module, output=0), "
                "an index, a key or a function"
            )
        if out.ndim != 4:
            raise NetworkError(f"{self.name} returned a tensor of shape {tuple(out.shape)}, not (N,C,H,W)")
        return out

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """In evaluation mode and without parameter gradients; both are put back as they were, module by module."""
        modes = [(m, m.training) for m in self.module.modules()]
        wanting = [p for p in self.module.parameters() if p.requires_grad]
        try:
            self.module.eval()
            for parameter in wanting:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in wanting:
                parameter.requires_grad_(True)
            for module, training in modes:
                module.training = training

    # -- inference of what was not given -----------------------------------------------------------

    def check(self, x: torch.Tensor) -> None:
        """Refuse a batch whose channel count is not the network's."""
        if x.shape[1] != self.channels:
            remedy = "repeat it to 3 (image.expand(-1, 3, -1, -1))" if self.channels == 3 else "give a grey image"
            raise ImageError(f"the image has {x.shape[1]} channel(s) and {self.name} takes {self.channels}: {remedy}")

    def _infer(self) -> None:
        if None not in (self._scale, self._multiple, self._channels):
            return
        with torch.no_grad(), self.prepared(), torch.random.fork_rng(devices=[]):
            self._probe()

    def _probe(self) -> None:
        failures: list[str] = []
        for channels in [self._channels] if self._channels else _channel_guesses(self.module):
            for multiple in [self._multiple] if self._multiple else _multiple_guesses(self.module):
                # A size that the next larger multiple does not divide, so that a need for it shows.
                sides = (3 * multiple, 5 * multiple) if multiple >= 8 else (17 * multiple, 19 * multiple)
                try:
                    scale = self._scale_at(channels, multiple, sides)
                except NetworkError as error:
                    failures.append(str(error))
                    if _returns_no_image(error):
                        raise
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
                else:
                    self._channels, self._multiple, self._scale = channels, multiple, scale
                    return
        raise NetworkError(
            f"{self.name} does not run on small test images, or returns sizes that are no multiple of theirs; set "
            f"scale=, multiple= and channels= of Network. First fault: {failures[0]}"
        )

    def _scale_at(self, channels: int, multiple: int, sides: tuple[int, int]) -> float:
        h, w = sides
        ramp = torch.linspace(0.2, 0.8, h * w, device=self.device).view(1, 1, h, w).expand(1, channels, h, w)
        out = self._run(ramp, 1, None)
        ratios = Fraction(out.shape[-2], h), Fraction(out.shape[-1], w)
        whole = ratios[0] == ratios[1] and (ratios[0].denominator == 1 or ratios[0].numerator == 1)
        found = float(ratios[0])
        if not whole or (self._scale is not None and found != self._scale):
            stated = f"scale={self._scale:g} was stated" if self._scale is not None else "that is no scale"
            raise NetworkError(f"{self.name} returned {_size(out)} pixels for an input of {h}x{w}: {stated}")
        return _number(found)


def _plain(module: Any) -> nn.Module:
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetworkError(f"{module.__name__} is a class; give an instance: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        raise NetworkError(f"a network is a torch.nn.Module or a sr_hooks.Network, not a {type(module).__name__}")
    for name, part in module.named_modules():
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            where = f"its part {name}" if name else type(module).__name__
            raise NetworkError(
                f"{where} is compiled by torch.compile, and hooks added to it do not fire: give the original module "
                "(compiled._orig_mod), it shares the same weights"
            )
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    return module


def _number(scale: float) -> float:
    if not scale > 0:
        raise NetworkError(f"scale is {scale}; it must be positive")
    return int(scale) if float(scale).is_integer() else float(scale)


def _first_tensor(module: nn.Module) -> torch.Tensor:
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            return tensor
    return torch.empty(0)


def _range_of(module: nn.Module) -> float:
    """255 where the module says so, or begins by taking an 8-bit mean from its input (EDSR's `sub_mean`)."""
    if getattr(module, "rgb_range", None) == 255:
        return 255.0
    for part in module.children():
        if isinstance(part, nn.Conv2d) and part.weight.shape[:2] == (3, 3) and part.kernel_size == (1, 1):
            if part.bias is not None and float(part.bias.detach().abs().max()) > 2:
                return 255.0
    return 1.0


def _channel_guesses(module: nn.Module) -> list[int]:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return [1, 3] if part.in_channels == 1 else [3, 1]
    return [3, 1]


def _multiple_guesses(module: nn.Module) -> list[int]:
    guesses = [1, 2, 4, 8, 16, 32, 64]
    window = getattr(module, "window_size", None)
    if isinstance(window, (tuple, list)):
        window = max(window)
    if isinstance(window, int) and window > 1:
        guesses.insert(0, window)
    return guesses


def _returns_no_image(error: NetworkError) -> bool:
    return "not one image" in str(error) or "is not in it" in str(error) or "not (N,C,H,W)" in str(error)


def _size(out: torch.Tensor) -> str:
    return f"{out.shape[-2]}x{out.shape[-1]}"


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {', '.join(map(repr, list(value)[:6]))}"
    return f"a {type(value).__name__}"
