"""A cache of results: the key follows from the content of analysis, network, image and options."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr_hooks.errors import OptionError, ResultError
from sr_hooks.files.regular_files import is_file
from sr_hooks.networks.network import Network
from sr_hooks.results.result import RESULT_FILE, Result, read_result
from sr_hooks.results.writing import recover
from sr_hooks.version import __version__

__all__ = ["Cache", "Content", "content_of", "facts_of", "key_of"]

_log = logging.getLogger("sr_hooks")


class Content(str):
    """The content of a value, computed once for many keys; see `content_of`."""


def content_of(value: Any) -> Content:
    """What stands for the image or the options in `key_of`, so that their values are hashed once for many keys."""
    return Content(_content(value))


def facts_of(network: Network) -> Content:
    """What stands for the network's facts and weights in `key_of`, hashed once for many keys."""
    facts = {name: value for name, value in network.describe().items() if name not in ("name", "weights", "file")}
    return content_of(facts)


def key_of(kind: str, network: Network, image: Any, options: Any, *, facts: Content | None = None) -> str:
    """The key of a result: 64 hexadecimal digits.

    They follow from `kind`, the network's class, facts and weights, its device and number format, the image's values,
    the options' values, and the versions of sr_hooks and torch. Everything that changes the answer changes the key.
    The rest (the name of a file, the time) is no part of it.

    Args:
        kind: what is computed, e.g. the analysis's name; with a plugin's own version in it ("cem 0.2"), an answer of
            older code is not taken for one of newer.
        image: a tensor, an array, or nested sequences and mappings of them; None for none.
        options: a dataclass, a mapping or plain values; tensors and arrays in it count by their values.
        facts: of `facts_of` for this very network, to compute many keys.

    Raises:
        OptionError: options hold something that has no content to go by, such as a function.
    """
    digest = hashlib.sha256()
    versions = {"sr_hooks": __version__, "torch": torch.__version__}
    hardware = [network.device.type, str(network.dtype), repr(network.output)]
    for part in (kind, versions, facts or facts_of(network), hardware, image, options):
        digest.update(_content(part).encode() + b"\n")
    return digest.hexdigest()


def _content(value: Any) -> str:
    """One text for one value, with a mark of its type, so that 1, "1" and (1,) differ."""
    if isinstance(value, Content):
        return str(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().float().numpy() if value.dtype == torch.bfloat16 else value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        return f"array {data.dtype} {data.shape} {hashlib.sha256(data.tobytes()).hexdigest()}"
    if isinstance(value, bytes):
        return f"bytes {hashlib.sha256(value).hexdigest()}"
    if is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: getattr(value, field.name) for field in fields(value)}
        return f"{type(value).__module__}.{type(value).__qualname__}{_content(inside)}"
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{_content(k)}:{_content(v)}" for k, v in value.items())) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "[" + ",".join(map(_content, value)) + "]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return json.dumps(value)
    raise OptionError(
        f"a {type(value).__name__} ({value!r}) has no content by which a result could be kept: give it by name"
    )


class Cache:
    """A folder of results, one under each key, each whole or absent. Several processes may share it.

    Args:
        folder: made at the first `put`. Anything in it may be deleted at any time; it is then computed again.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """The folder of the result of a key, whether it exists or not."""
        return self.folder / key[:2] / key

    def get(self, key: str) -> Result | None:
        """The result under a key; None where there is none or it is damaged, which is logged."""
        path = self.path(key)
        if not is_file(recover(path) / RESULT_FILE):
            return None
        try:
            return read_result(path)
        except ResultError as error:
            _log.warning("%s; it is computed again", error)
            return None

    def put(self, key: str, result: Result) -> None:
        """Save a result under a key, without its figure. A result that is there already is replaced.

        Raises:
            ResultError: the folder cannot be written.
        """
        try:
            result.save(self.path(key), figure=False)
        except ResultError:
            if self.get(key) is None:  # unless another process has just put it there
                raise
