"""Hooks that a watcher installs on the network in training: they see every step, and none is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from sr_hooks.analyses.base import Watcher
from sr_hooks.core.registry import registered
from sr_hooks.hookspecs import hookimpl
from tests.support.training import IMAGE, Poke, loop  # `loop` asserts that no hook is left


class Listening(Watcher):
    """Counts the forward passes of the network in training."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def install(self, network: Any) -> list[Any]:
        def look(_: Any, args: tuple[torch.Tensor, ...]) -> None:
            type(self).seen.append(tuple(args[0].shape))

        return [network.module.register_forward_pre_hook(look)]


class Fails(Listening):
    def install(self, network: Any) -> list[Any]:
        raise ValueError("not these hooks")


class Listens(Poke):
    name = "listens"
    watcher_type = Listening


class Refuses(Poke):
    name = "refuses"
    watcher_type = Fails


class Plugin:
    @hookimpl
    def register_analyses(self) -> list[Any]:
        return [Listens, Refuses]


@pytest.fixture(autouse=True)
def third_party() -> Iterator[None]:
    Listening.seen.clear()
    with registered(Plugin(), name="third_party"):
        yield


def test_hooks_see_training_alone_change_no_bit_and_leave_none() -> None:
    plain = loop(5)
    assert loop(5, watch={"image": IMAGE, "budget": "off", "sinks": [], "listens": {"every": 2}}) == plain
    assert Listening.seen == [(2, 3, 12, 12)] * 5, "the looks at iterations 2 and 4 run no hook of the training"


def test_hooks_that_cannot_be_installed_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    plain = loop(3)
    assert loop(3, watch={"image": IMAGE, "budget": "off", "sinks": [], "refuses": {"every": 3}}) == plain
    assert "installing hooks" in caplog.text and "not these hooks" in caplog.text
