"""Checkpoint files of every making, written from the weights of one network: what people hand over."""

from __future__ import annotations

import argparse
import datetime
import json
import pickle
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from sr_hooks.networks.loading.compact_resnet import CompactResNet

ARGUMENTS = {"features": 8, "blocks": 2, "scale": 2}
State = dict[str, torch.Tensor]


def network() -> CompactResNet:
    """The network whose weights all files hold."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return CompactResNet(**ARGUMENTS).eval()


def other() -> State:
    """Weights of the same names that are not those which should be taken."""
    return {name: value + 1 for name, value in network().state_dict().items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def compiled_inside(state: State) -> State:
    return {name.replace("body.", "body._orig_mod."): value for name, value in state.items()}


def counted(state: State) -> State:
    """As thop leaves a network: two counters in every part."""
    parts = {name.rpartition(".")[0] for name in state} | {"body", ""}
    counters = {
        f"{part}.{kind}".lstrip("."): torch.zeros(1) for part in parts for kind in ("total_ops", "total_params")
    }
    return {**state, **counters}


def optimizer() -> dict[str, Any]:
    module = network()
    adam = torch.optim.Adam(module.parameters())
    sum(parameter.sum() for parameter in module.parameters()).backward()  # type: ignore[union-attr]
    adam.step()
    return adam.state_dict()


def discriminator() -> State:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 1)).state_dict()


W = network().state_dict()
OTHER = other()

LAYOUTS: dict[str, Callable[[], Any]] = {
    "bare": lambda: W,
    "ordered": lambda: OrderedDict(W),
    "defaultdict": lambda: {"params": _default(W)},
    "params": lambda: {"params": W},
    "params_ema beside params": lambda: {"params": OTHER, "params_ema": W},
    "ema beside model": lambda: {"ema": W, "model": OTHER},
    "model beside ema, other order": lambda: {"model": OTHER, "epoch": 3, "ema": W},
    "ema_state_dict beside state_dict": lambda: {"state_dict": OTHER, "ema_state_dict": W},
    "state_dict_ema": lambda: {"state_dict": OTHER, "state_dict_ema": W, "arch": "x"},
    "model_ema": lambda: {"model": OTHER, "model_ema": W},
    "ema with a decay": lambda: {"model": OTHER, "ema": {"decay": 0.999, "module": prefixed(W, "module.")}},
    "average without some names": lambda: {
        "model": {**OTHER, "conv_last.bias": W["conv_last.bias"]},
        "ema": {name: value for name, value in W.items() if name != "conv_last.bias"},
    },
    "g_ema": lambda: {"g": OTHER, "d": discriminator(), "g_ema": W, "g_optim": optimizer()},
    "net_g_ema": lambda: {"net_g": OTHER, "net_g_ema": W, "net_d": discriminator()},
    "netG": lambda: {"netG": W, "netD": discriminator(), "iter": 5},
    "gen": lambda: {"gen": W, "disc": discriminator()},
    "generator": lambda: {"generator": W, "discriminator": discriminator()},
    "model_state": lambda: {"model_state": W, "optimizer_state": optimizer()},
    "model_state_dict": lambda: {"model_state_dict": W, "optimizer_state_dict": optimizer(), "loss": torch.tensor(0.5)},
    "weight": lambda: {"weight": W},
    "weights": lambda: {"weights": W, "epoch": 7},
    "net": lambda: {"net": W, "acc": 1.0},
    "one odd key": lambda: {"my_network": W, "optimizer": optimizer()},
    "nested": lambda: {"checkpoint": {"model": {"state": W}}},
    "LIIF": lambda: {
        "model": {"name": "edsr", "args": {"n": 3}, "sd": W},
        "optimizer": {"name": "adam", "sd": optimizer()},
    },
    "pair with optimizer": lambda: (W, optimizer()),
    "module.": lambda: prefixed(W, "module."),
    "module._orig_mod.": lambda: prefixed(W, "module._orig_mod."),
    "_orig_mod.module.": lambda: {"params": prefixed(W, "_orig_mod.module.")},
    "_orig_mod. inside": lambda: compiled_inside(W),
    "module. and _orig_mod. inside": lambda: prefixed(compiled_inside(W), "module."),
    "module. inside": lambda: {name.replace("body.", "body.module."): value for name, value in W.items()},
    "model.": lambda: prefixed(W, "model."),
    "net_g.": lambda: {"state_dict": prefixed(W, "net_g.")},
    "model.net.": lambda: {"state_dict": prefixed(W, "model.net."), "pytorch-lightning_version": "2.0"},
    "model.module.": lambda: prefixed(W, "model.module."),
    "backbone.": lambda: prefixed(W, "backbone."),
    "Lightning of a GAN": lambda: {
        "state_dict": {**prefixed(OTHER, "net_g."), **prefixed(W, "net_g_ema."), **prefixed(discriminator(), "net_d.")},
        "epoch": 3,
        "global_step": 5,
        "callbacks": {},
        "optimizer_states": [optimizer()],
        "lr_schedulers": [],
        "hyper_parameters": argparse.Namespace(lr=1e-4),
    },
    "Lightning with losses": lambda: {
        "state_dict": {**prefixed(W, "generator."), **prefixed(discriminator(), "perceptual_loss.vgg.")}
    },
    "AveragedModel": lambda: torch.optim.swa_utils.AveragedModel(network()).state_dict(),
    "AveragedModel of a GAN": lambda: {
        "net_g": OTHER,
        "net_g_ema": {"n_averaged": torch.tensor(3), **prefixed(W, "module.")},
    },
    "ema_pytorch": lambda: {
        "initted": torch.tensor(True),
        "step": torch.tensor(9),
        **prefixed(W, "ema_model."),
        **prefixed(OTHER, "online_model."),
    },
    "ema_pytorch without the online model": lambda: {
        "initted": torch.tensor(True),
        "step": torch.tensor(9),
        **prefixed(W, "ema_model."),
    },
    "mmengine's average": lambda: {
        "meta": {"iter": 3},
        "state_dict": {
            **prefixed(OTHER, "generator."),
            **prefixed(W, "generator_ema.module."),
            "generator_ema.steps": torch.tensor(3),
        },
    },
    "DeepSpeed": lambda: {
        "module": prefixed(W, "module."),
        "ds_version": "0.14",
        "dtype": torch.float32,
        "shapes": [OrderedDict((name, value.shape) for name, value in W.items())],
    },
    "LitEma": lambda: {
        "state_dict": {
            **prefixed(OTHER, "model."),
            **{f"model_ema.{name.replace('.', '')}": value for name, value in W.items()},
            "model_ema.decay": torch.tensor(0.9),
            "model_ema.num_updates": torch.tensor(3),
        }
    },
    "average as a list": lambda: {"model": W, "ema": {"decay": 0.9, "shadow_params": list(OTHER.values())}},
    "random stream": lambda: {"params": W, "rng": torch.get_rng_state()},
    "checkpoint wrapper and FSDP": lambda: prefixed(
        {name.replace("body.0.", "body.0._checkpoint_wrapped_module."): value for name, value in W.items()},
        "_fsdp_wrapped_module.",
    ),
    "thop": lambda: counted(W),
    "thop in params": lambda: {"params": counted(prefixed(W, "module."))},
    "Namespace": lambda: {"model": W, "args": argparse.Namespace(lr=0.1, data=Path("a/b"))},
    "path": lambda: {"params": W, "file": Path("/a/b"), "pure": Path("c").parent},
    "dates": lambda: {"params": W, "when": datetime.datetime(2026, 1, 2), "for": datetime.timedelta(3)},
    "numpy numbers": lambda: {
        "params": W,
        "psnr": np.float64(30.1),
        "epoch": np.int64(4),
        "best": np.array([1.0, 2.0]),
    },
    "records": lambda: {
        "params": W,
        "log": defaultdict(list, {"loss": [0.1]}),
        "kinds": {1, 2},
        "opt": OrderedDict(a=1),
    },
    "nn.Parameter": lambda: {name: nn.Parameter(value) for name, value in W.items()},
    "pruned": lambda: _pruned(),
    "weight norm": lambda: _weight_normed(),
    "weight norm, older": lambda: _weight_normed_older(),
    "spectral norm": lambda: _spectral_normed(parametrizations.spectral_norm),
    "spectral norm, older": lambda: _spectral_normed(nn.utils.spectral_norm),
    "LoRA of peft": lambda: {"state_dict": _adapted(prefix="base_model.model."), "lora_alpha": 8},
    "sparse": lambda: {name: value.to_sparse() if value.ndim == 4 else value for name, value in W.items()},
    "NumPy arrays": lambda: as_arrays(W),
    "NumPy arrays under a key": lambda: {"params": as_arrays(prefixed(W, "module.")), "epoch": np.int64(3)},
    "NumPy arrays of an average": lambda: {"ema": as_arrays(W), "model": as_arrays(OTHER)},
    "double": lambda: {name: value.double() for name, value in W.items()},
}
"""What each file holds; each loads with outputs equal to the bit to those of the plain file of its weights."""

PLAIN: dict[str, Callable[[], State]] = {
    "pruned": lambda: _folded("pruned"),
    "weight norm": lambda: _folded("weight norm"),
    "weight norm, older": lambda: _folded("weight norm, older"),
    "spectral norm": lambda: _folded("spectral norm"),
    "spectral norm, older": lambda: _folded("spectral norm, older"),
    "LoRA of peft": lambda: _merged(),
}
"""The plain weights where they are not the network's own."""

REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "LFS pointer": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"),  # type: ignore[arg-type,return-value]
        "Git LFS pointer.*git lfs pull",
    ),
    "HTML": (lambda p: p.write_text("<!DOCTYPE html>\n<html><body>Sign in</body></html>"), "web page"),  # type: ignore[arg-type,return-value]
    "HTML after blanks": (lambda p: p.write_text("\n\n  <html lang='en'>"), "web page"),  # type: ignore[arg-type,return-value]
    "XML": (lambda p: p.write_text("<?xml version='1.0'?><Error>AccessDenied</Error>"), "XML"),  # type: ignore[arg-type,return-value]
    "text": (lambda p: p.write_text("404: Not Found"), "a text that begins with"),  # type: ignore[arg-type,return-value]
    "empty": (lambda p: p.write_bytes(b""), "is empty"),  # type: ignore[arg-type,return-value]
    "GGUF": (lambda p: p.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(64)), "GGUF"),  # type: ignore[arg-type,return-value]
    "ONNX": (lambda p: p.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.4.0:" + bytes(64)), "ONNX"),  # type: ignore[arg-type,return-value]
    "HDF5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), "HDF5"),  # type: ignore[arg-type,return-value]
    "NumPy of other things": (lambda p: _numpy_archive(p, weight=np.zeros(3)), "conv_first"),
    "NumPy of objects": (lambda p: _numpy_archive(p, weight=np.array([{}], object)), "NumPy arrays.*allow_pickle"),
    "NumPy of texts": (lambda p: _numpy_archive(p, weight=np.array(["a"])), "no numbers"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08" + bytes(64)), "gzip"),  # type: ignore[arg-type,return-value]
    "TorchScript": (lambda p: torch.jit.save(torch.jit.script(nn.Conv2d(3, 3, 3)), str(p)), "TorchScript"),
    "cut": (lambda p: _cut(p), "truncated"),
    "pickle of Python": (lambda p: p.write_bytes(pickle.dumps({"epoch": 3})), "truncated, corrupt or no torch file"),  # type: ignore[arg-type,return-value]
    "whole module": (lambda p: torch.save(network(), p), "asks for sr_hooks.*CompactResNet.*run code"),
    "complex": (lambda p: _saved(p, lambda v: v + 0j), "complex64.*float32"),
    "int8": (lambda p: _saved(p, lambda v: (v * 100).to(torch.int8)), "int8.*float32"),
    "bool": (lambda p: _saved(p, lambda v: v > 0), "bool.*float32"),
    "int64": (lambda p: _saved(p, lambda v: (v * 100).long()), "int64.*float32"),
    "quantised": (
        lambda p: _saved(p, lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)),
        "quantised.*floating point",
    ),
    "meta": (lambda p: _saved(p, lambda v: v.to("meta")), "has no values"),
    "NaN": (lambda p: _saved(p, lambda v: v * torch.nan), "holds NaN"),
    "infinite": (lambda p: _saved(p, lambda v: v * torch.inf), "infinite|NaN"),
    "double that overflows": (lambda p: _saved(p, lambda v: v.double().abs() * 1e300 + 1e300), "infinite"),
    "no weights": (lambda p: torch.save({"epoch": 3, "optimizer": optimizer()}, p), "holds no weights.*epoch"),
    "only a discriminator": (lambda p: torch.save({"net_d": discriminator()}, p), "holds no weights"),
    "several": (lambda p: torch.save({"one": W, "two": OTHER}, p), "several weights.*one, two.*weights_key"),
    "another network": (lambda p: torch.save(discriminator(), p), "not those of this CompactResNet"),
    "LoRA without alpha": (lambda p: torch.save(_adapted(), p), "lora_alpha"),
    "LoRA alone": (lambda p: torch.save({"state_dict": _adapter(), "lora_alpha": 4}, p), "adapter without the base"),
    "LoRA of another layout": (
        lambda p: torch.save({**W, "lora_unet_body.lora_down.weight": torch.zeros(2, 2)}, p), "not peft's",
    ),
    "unknown parametrization": (lambda p: torch.save(_orthogonal(), p), "parametrization that cannot be folded"),
}  # fmt: skip
"""Writers of files that are refused, and a pattern of the sentence."""

SUFFIXES = (".pth", ".PTH", ".pt", ".ckpt", ".pth.tar", ".pkl", ".bin")


def safetensors_as(path: Path) -> None:
    """A safetensors file, whatever its name."""
    save_file({name: value.contiguous() for name, value in W.items()}, str(path))


def _default(state: State) -> defaultdict[str, torch.Tensor]:
    result: defaultdict[str, torch.Tensor] = defaultdict(torch.Tensor.__class__)
    result.default_factory = list  # type: ignore[assignment]
    result.update(state)
    return result


def _pruned() -> State:
    module = network()
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            prune.l1_unstructured(part, "weight", 0.3)
    return module.state_dict()


def _weight_normed() -> State:
    module = network()
    parametrizations.weight_norm(module.conv_first)
    parametrizations.weight_norm(module.body[0].conv1)
    return module.state_dict()


def _weight_normed_older() -> State:
    module = network()
    nn.utils.weight_norm(module.conv_last)
    return module.state_dict()


def _spectral_normed(norm: Callable[[nn.Module], nn.Module]) -> State:
    module = network()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)  # the vectors begin with random numbers
        norm(module.body[1].conv2)
    return module.eval().state_dict()


def _folded(row: str) -> State:
    """The effective weights, by torch's own functions on the network that wrote the file."""
    module = network()
    if row == "pruned":
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                prune.l1_unstructured(part, "weight", 0.3)
                prune.remove(part, "weight")
        return module.state_dict()
    state = dict(module.state_dict())
    parts = {
        "weight norm": ("conv_first", "body.0.conv1"),
        "weight norm, older": ("conv_last",),
        "spectral norm": ("body.1.conv2",),
        "spectral norm, older": ("body.1.conv2",),
    }[row]
    norm: Any = {
        "weight norm": parametrizations.weight_norm,
        "weight norm, older": nn.utils.weight_norm,
        "spectral norm": parametrizations.spectral_norm,
        "spectral norm, older": nn.utils.spectral_norm,
    }[row]
    for name in parts:
        part = module.get_submodule(name)
        norm(part)
        module.eval().load_state_dict(LAYOUTS[row](), strict=False)
        part(torch.zeros(1, part.in_channels, 8, 8))  # type: ignore[arg-type,operator]
        state[f"{name}.weight"] = part.weight.detach()  # type: ignore[union-attr,operator]
    return state


def _adapter(prefix: str = "") -> State:
    generator = torch.Generator().manual_seed(2)
    layer = f"{prefix}body.0.conv1"
    return {
        f"{layer}.lora_A.default.weight": torch.randn(4, 8, 3, 3, generator=generator) * 0.1,
        f"{layer}.lora_B.default.weight": torch.randn(8, 4, 1, 1, generator=generator) * 0.1,
    }


def _adapted(prefix: str = "") -> State:
    state = {name.replace("body.0.conv1.", "body.0.conv1.base_layer."): value for name, value in W.items()}
    return {**prefixed(state, prefix), **_adapter(prefix)}


def _merged() -> State:
    """The adapter merged as peft's Conv2d does (stand-in: peft is not installed)."""
    down, up = _adapter().values()
    update = torch.nn.functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3) * (8 / 4)
    return {**W, "body.0.conv1.weight": W["body.0.conv1.weight"] + update}


def _orthogonal() -> State:
    module = network()
    parametrizations.orthogonal(module.conv_first)
    return module.state_dict()


def _saved(path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.save({"params": {**W, "conv_first.weight": change(W["conv_first.weight"])}}, path)


def _cut(path: Path) -> None:
    torch.save(W, path)
    path.write_bytes(path.read_bytes()[:900])


def _numpy_archive(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def as_arrays(state: State) -> dict[str, np.ndarray]:
    """The weights as NumPy arrays."""
    return {name: value.numpy() for name, value in state.items()}


def _write_archive(path: Path, save: Callable[..., None]) -> None:
    with path.open("wb") as file:
        save(file, **as_arrays(W))


ARRAY_FILES: dict[str, Callable[[Path], object]] = {
    ".npz": lambda p: _write_archive(p, np.savez),
    ".npz, compressed": lambda p: _write_archive(p, np.savez_compressed),
    **{
        f"pickle of arrays, protocol {protocol}": lambda p, protocol=protocol: p.write_bytes(  # type: ignore[misc]
            pickle.dumps({"params": as_arrays(W), "epoch": np.int64(3)}, protocol=protocol)
        )
        for protocol in (2, 4, 5)
    },
}
"""Files of arrays that torch did not write."""


def write_adapter_config(folder: Path) -> None:
    """peft's settings beside an adapter."""
    (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 4, "peft_type": "LORA"}))


def safetensors_head(length: int) -> bytes:
    """The beginning of a safetensors file that says that its header has that many bytes."""
    return struct.pack("<Q", length) + b"{"
