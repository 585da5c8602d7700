"""Nobody who asks for a watch and gets none is left without a word, and no host is stopped by what it is not."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sr_hooks.errors import SRHooksError, is_stop
from sr_hooks.training.notices import SESSIONS, tell_of_silence

__all__ = ["Request", "leaving_alone", "note"]

_log = logging.getLogger("sr_hooks.watch")
_reasons: list[str] = []  # why hosts were left alone, in order


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
    def message(self) -> str:
        """What is told where no watch has begun."""
        reasons = [*_reasons[self._known :], *([self.reason] if self.reason else [])]
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


def note(reason: str) -> None:
    """Keep why a host is not watched, for the end of the run."""
    _reasons.append(reason)


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
