"""What a watched run tells besides its results: traces of forward passes, and why nothing was watched."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from torch import nn

from sr_hooks.core.seeds import other_threads_may_draw
from sr_hooks.errors import SRHooksError, is_stop
from sr_hooks.training.guard.hook_tables import UsersHooks

__all__ = ["SESSIONS", "Habits", "Request", "leaving_alone", "note", "tell_of_silence"]

_log = logging.getLogger("sr_hooks.watch")
_reasons: list[tuple[str, bool]] = []  # why hosts were left alone, in order, and whether that is a fault

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


def tell_of_silence(session: Any) -> None:
    """Log which analyses of a session that ends have never run, and why: their results would be missed otherwise."""
    SESSIONS.discard(session)
    silent = [watched for watched in session.watched if watched.last < 0] if session.ranks.is_first else []
    if silent and session.iteration == session.started_at:
        session.log.warning("sr_hooks: nothing was watched: no training step was seen")
        return
    for watched in silent:
        session.log.warning("sr_hooks: %s never ran: %s", watched.name, watched.why_silent(session.iteration))


class Sessions(WeakSet[Any]):
    """The sessions that are open, and the number of those that ever were: whether a watch has begun at all."""

    count = 0

    def add(self, item: Any) -> None:
        """Take a session that has begun."""
        self.count += 1
        super().add(item)


SESSIONS = Sessions()


def _list(items: Iterable[str]) -> str:
    texts = list(items)
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")


class Request:
    """A request for a watch: whether one has begun since, and if not, why."""

    def __init__(self) -> None:
        self._before = SESSIONS.count
        self._known = len(_reasons)
        self.reason = ""

    @property
    def is_met(self) -> bool:
        """Whether a watch has begun since the request."""
        return SESSIONS.count > self._before

    @property
    def is_empty(self) -> bool:
        """Whether no watch has begun because the request asks for no analysis, which is no fault."""
        known = _reasons[self._known :]
        return not self.is_met and bool(known) and not self.reason and not any(fault for _, fault in known)

    @property
    def message(self) -> str:
        """What is told where no watch has begun."""
        reasons = [*(text for text, _ in _reasons[self._known :]), *([self.reason] if self.reason else [])]
        return "nothing was watched: " + ("; ".join(reasons) or _NOTHING_MET)

    def tell(self) -> None:
        """Warn where no watch has begun; on standard error where the program logs no warnings."""
        if self.is_met:
            return
        if _log.isEnabledFor(logging.WARNING):
            _log.warning("sr_hooks: %s", self.message)
        else:
            print(f"sr_hooks: {self.message}", file=sys.stderr)


_NOTHING_MET = (
    "no model of BasicSR and no Runner of mmengine began to train. For a plain loop name the network, "
    'analyze(network="net", lam={...}), or use watch(net, optimizer, lam={...})'
)


def note(reason: str, *, is_fault: bool = True) -> None:
    """Keep why a host is not watched, for the end of the run; a block that asks for no analysis is no fault."""
    _reasons.append((reason, is_fault))


@contextmanager
def leaving_alone(host: str) -> Iterator[None]:
    """Log an error of ours about a host that we do not understand, instead of raising it into the host.

    A user's mistake, an SRHooksError, still stops the run before its first step.
    """
    try:
        yield
    except SRHooksError:
        raise
    except BaseException as error:
        if is_stop(error):
            raise
        reason = f"{host} is not understood and was left alone ({type(error).__name__}: {error})"
        note(reason)
        _log.error("sr_hooks: %s", reason, exc_info=_log.isEnabledFor(logging.DEBUG))


@atexit.register
def _tell_of_open_sessions() -> None:
    """At the end of the process: watches that were begun and never closed have told nothing yet."""
    for session in list(SESSIONS):
        tell_of_silence(session)
