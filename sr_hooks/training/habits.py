"""What the forward passes of a network change beside its output, and which hooks rest meanwhile: told once."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import nn

from sr_hooks.core.seeds import other_threads_may_draw
from sr_hooks.training.guard.hook_tables import UsersHooks

__all__ = ["Habits"]

_SHOWN = 6


class Habits:
    """What a network's forward passes change of its own state, as the guard reports it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._changes: dict[str, None] = {}
        self._told: set[str] = set()

    def add(self, change: str) -> None:
        """Take one sentence of the guard, such as "calls changes"."""
        self._changes[change] = None

    def announce(self, modules: Iterable[nn.Module]) -> None:
        """Say before the first step what an analysis leaves alone, and what it cannot."""
        owners = dict.fromkeys(owner for module in modules for owner in UsersHooks(module).owners())
        if owners:
            self._log.info(
                "sr_hooks: hooks of the training code on %s do not run while an analysis looks, and what they change "
                "is left out of its results",
                _list(owners),
            )
        if other_threads_may_draw():
            self._log.info(
                "sr_hooks: other threads run beside the training; analyses draw from random streams of their own, and "
                "the global ones are not rewound"
            )
        self.announce_new("")

    def announce_new(self, name: str) -> None:
        """Say what has not been told yet."""
        new = [change for change in self._changes if change not in self._told]
        self._told.update(new)
        lost = [change for change in new if "cannot be restored" in change]
        habits = [change for change in new if change not in lost]
        begin = f"sr_hooks: {name}: " if name else "sr_hooks: "
        if habits:
            self._log.info("%sforward passes of an analysis have traces, which are undone: %s", begin, _list(habits))
        if lost:
            self._log.warning("%sthe run differs from one without analyses: %s", begin, _list(lost))


def _list(items: Iterable[str]) -> str:
    texts = list(items)
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
