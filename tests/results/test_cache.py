"""Results by content: what changes the answer changes the key, and what is kept is whole or absent."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.errors import OptionError, ResultError
from sr_hooks.networks.network import Network
from sr_hooks.results.cache import Cache, key_of
from tests.support.networks import Tiny


@dataclass(frozen=True)
class Options:
    strength: float = 0.5
    more: Any = None


def test_what_changes_the_answer_changes_the_key(small_lr):
    network = Network(Tiny())
    changed = Network(Tiny())
    with torch.no_grad():
        changed.module.head.bias[0] += 1e-6
    questions = [
        ("cem", network, small_lr, Options()),
        ("csm", network, small_lr, Options()),
        ("cem", changed, small_lr, Options()),
        ("cem", Network(Tiny(), input_range=255), small_lr, Options()),
        ("cem", network, small_lr + 1e-6, Options()),
        ("cem", network, small_lr.flip(-1), Options()),
        ("cem", network, [small_lr], Options()),
        ("cem", network, small_lr, Options(0.6)),
        ("cem", network, small_lr, Options(more="0.5")),
        ("cem", network, small_lr, Options(more=0.5)),
        ("cem", network, small_lr, Options(more=(0.5,))),
        ("cem", network, small_lr, Options(more={"a": np.zeros(2)})),
        ("cem", network, small_lr, Options(more={"a": np.zeros(3)})),
    ]
    keys = [key_of(*question) for question in questions]
    assert len(set(keys)) == len(keys) and all(len(key) == 64 for key in keys)
    again = Network(Tiny(), name="by another name")
    assert key_of("cem", again, small_lr.numpy().copy(), Options()) == keys[0]


def test_what_has_no_content_is_refused(small_lr):
    with pytest.raises(OptionError, match="has no content"):
        key_of("cem", Network(Tiny()), small_lr, Options(more=lambda x: x))


def test_put_and_get(tmp_path, caplog):
    cache = Cache(tmp_path / "cache")
    key = "ab" * 32
    assert cache.get(key) is None and not cache.folder.exists()
    result = sr_hooks.Result("nothing", {"map": np.arange(6.0).reshape(2, 3)}, {"n": 3}, {"seed": 1}, "sound.")
    cache.put(key, result)
    cache.put(key, result)
    found = cache.get(key)
    assert found is not None and np.array_equal(found.arrays["map"], result.arrays["map"])
    assert found.scalars == result.scalars and found.verdict == "sound."
    assert [p.name for p in cache.path(key).parent.iterdir()] == [key]  # and no half-written neighbour
    (cache.path(key) / "arrays.npz").write_bytes(b"PK")
    with caplog.at_level(logging.WARNING, "sr_hooks"):
        assert cache.get(key) is None
    assert "computed again" in caplog.text
    cache.put(key, result)
    assert cache.get(key) is not None
    (tmp_path / "file").touch()
    with pytest.raises(ResultError):
        Cache(tmp_path / "file").put(key, result)
