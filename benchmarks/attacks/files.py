"""Spoil results, checkpoints, caches, images and YAML files in all ways, and read them."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import safetensors.torch
import torch

import sr_hooks
from benchmarks.attacks.outcome import Outcome, limited, one_line_or_reason
from sr_hooks.core.yaml_files import read_yaml
from sr_hooks.errors import CheckpointError, ImageError, OptionError, ResultError, SRHooksError
from sr_hooks.images.image import read_image, write_image
from sr_hooks.inference import calibration
from sr_hooks.networks.loading.checkpoints import read_weights
from tests.support.networks import Tiny

_SECONDS = 20
Spoil = Callable[[random.Random, Path], None]


def _flip(dice: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 1, 3, 50])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def _cut(dice: random.Random, path: Path) -> None:
    os.truncate(path, dice.randrange(path.stat().st_size))


def _insert(dice: random.Random, path: Path) -> None:
    data, position = path.read_bytes(), dice.randrange(path.stat().st_size)
    path.write_bytes(data[:position] + dice.randbytes(dice.choice([1, 7, 1000])) + data[position:])


def _zeros(dice: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    start = dice.randrange(len(data))
    data[start : start + 512] = bytes(len(data[start : start + 512]))
    path.write_bytes(data)


def _noise(dice: random.Random, path: Path) -> None:
    path.write_bytes(dice.randbytes(dice.choice([0, 1, 100, 10_000])))


def _twice(dice: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _swapped(dice: random.Random, path: Path) -> None:
    data = path.read_bytes()
    position = dice.randrange(len(data))
    path.write_bytes(data[position:] + data[:position])


def _deep(dice: random.Random, path: Path) -> None:
    path.write_bytes(dice.choice([b"[", b'{"a":', b"{a: ", b"- "]) * 100_000)


def _pipe(dice: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(dice: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(dice.choice(["/dev/zero", "/dev/urandom", "/dev/null", "/dev/full"]))


def _folder(dice: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


def _gone(dice: random.Random, path: Path) -> None:
    path.unlink()


def _bomb(dice: random.Random, path: Path) -> None:
    name = dice.choice(["attribution.npy", "archive/data.pkl", "archive/data/0", "x"])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (2**26,)})
        for _ in range(256):
            stream.write(bytes(2**20))


_ANY: list[Spoil] = [_flip, _flip, _cut, _insert, _zeros, _noise, _twice, _swapped, _deep, _pipe, _device, _folder]
_ANY += [_gone, _bomb]


def _numbers(dice: random.Random, path: Path) -> None:
    """A result.json whose text is sound and whose numbers are not."""
    record = json.loads(path.read_text())
    key = dice.choice(["diffusion_index", "gini", "effective_pixels", "completeness_gap", "window"])
    record["scalars"][key] = dice.choice([0, 99.0, None, "12", [], {}, 1e300])
    if dice.random() < 0.5:  # as a version without digests wrote it
        del record["arrays"], record["sha256"]
    path.write_text(json.dumps(record))


def _arrays(dice: random.Random, path: Path) -> None:
    """An arrays.npz that is sound and of another result."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = dice.choice(list(arrays))
    change: Callable[[np.ndarray], Any] = dice.choice(
        [
            lambda a: np.full_like(a, np.nan),
            lambda a: a.astype(np.float16),
            lambda a: a.reshape(-1),
            lambda a: np.array([{}], dtype=object),
            lambda a: a + 1,
        ]
    )
    arrays[name] = change(arrays[name])
    if dice.random() < 0.3:
        del arrays[name]
    np.savez_compressed(path, **arrays)


def _results(folder: Path) -> tuple[list[Path], Callable[[Path], Any], type[SRHooksError]]:
    lr = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    result = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
    result.save(folder / "result", figure=False)

    def read(path: Path) -> Any:
        loaded = sr_hooks.load(path.parent)
        return loaded.scalars, {name: array.tobytes() for name, array in loaded.arrays.items()}, loaded.verdict

    return [folder / "result/result.json", folder / "result/arrays.npz"], read, ResultError


def _checkpoints(folder: Path) -> tuple[list[Path], Callable[[Path], Any], type[SRHooksError]]:
    state = {"params": Tiny().state_dict()}
    torch.save(state, folder / "new.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(dict(state["params"]), folder / "x.safetensors")
    return (
        [folder / name for name in ("new.pth", "old.pth", "x.safetensors")],
        lambda path: read_weights(path),
        CheckpointError,
    )


def _images(folder: Path) -> tuple[list[Path], Callable[[Path], Any], type[SRHooksError]]:
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    paths = [folder / f"photo.{suffix}" for suffix in ("png", "jpg", "bmp", "tif", "webp")]
    for path in paths:
        write_image(image, path)
    return paths, read_image, ImageError


def _yaml(folder: Path) -> tuple[list[Path], Callable[[Path], Any], type[SRHooksError]]:
    text = "a: &x {every: 5000, images: [a.png, 'b.png'], steps: 0x1f}\nlam: {<<: *x, windows: [[96, 120, 16]]}\n"
    (folder / "options.yml").write_text(text * 1 + "b: 2026-11-27\nc: 1.5e-3\nd: !!set {x}\n" + "e: |\n  text\n")
    return [folder / "options.yml"], read_yaml, OptionError


_KINDS = {
    "results": (_results, [*_ANY, _numbers, _arrays], 0.4),
    "checkpoints": (_checkpoints, _ANY, 0.2),
    "images": (_images, _ANY, 0.15),
    "YAML": (_yaml, _ANY, 0.15),
}
_WHOLE = {"results"}  # what is read must be what was written: their files tell


def attack(count: int, seed: int) -> Iterator[Outcome]:
    for kind, (prepare, spoils, share) in _KINDS.items():
        with TemporaryDirectory() as name:
            paths, read, error = prepare(Path(name))
            expected = {path: _comparable(read(path)) for path in paths}
            for number in range(max(round(share * count), 1)):
                dice = random.Random(f"{seed} {kind} {number}")
                spoil = dice.choice(spoils)
                suffix = {_numbers: ".json", _arrays: ".npz"}.get(spoil)
                path = dice.choice([path for path in paths if suffix in (None, path.suffix)])
                with TemporaryDirectory() as copy:
                    shutil.copytree(path.parent, Path(copy) / "x")
                    target = Path(copy) / "x" / path.name
                    spoil(dice, target)
                    failure = _try(lambda read=read, target=target: read(target), error, target)
                    if failure is not None and not isinstance(failure, str):
                        same = _comparable(failure[0]) == expected[path]
                        failure = "" if same or kind not in _WHOLE else "another content is read"
                yield Outcome(kind, f"seed {seed}, {kind} {number}: {spoil.__name__[1:]} of {path.name}", str(failure))
    yield from _caches(max(round(0.1 * count), 1), seed)


def _try(read: Callable[[], Any], error: type[SRHooksError], path: Path) -> Any:
    """(what is read,), or "" where it is refused as it must be, or what is wrong."""
    try:
        with limited(_SECONDS):
            return (read(),)
    except error as refusal:
        named = path.name in str(refusal) or str(path.parent) in str(refusal)
        return one_line_or_reason(str(refusal)) or ("" if named else f"without the path: {refusal}")
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"


def _comparable(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue() if not isinstance(value, tuple) else repr(value).encode()


def _caches(count: int, seed: int) -> Iterator[Outcome]:
    """Spoil each file of the cache between two calls of LAM, whose maps must agree."""
    lr = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with TemporaryDirectory() as name, mock.patch.dict(os.environ, {"SR_HOOKS_CACHE": name}):
        for number in range(count):
            dice = random.Random(f"{seed} cache {number}")
            calibration._plans.clear()
            shutil.rmtree(name, ignore_errors=True)
            expected = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=5).attribution
            spoil = dice.choice(_ANY)
            for path in Path(name).rglob("*.json"):
                spoil(dice, path)
            calibration._plans.clear()
            result = _try(lambda: sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=5), SRHooksError, Path(name))
            failure = result if isinstance(result, str) else ""
            if not isinstance(result, str):
                distance = np.abs(result[0].attribution - expected).max() / np.abs(expected).max()
                failure = "" if distance < 1e-5 else f"the maps differ by {distance:.2g}"
            yield Outcome("caches", f"seed {seed}, cache {number}: {spoil.__name__[1:]}", failure or "")
