"""Save what a training run depends on and restore it bit for bit, however the code in between ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import torch
from torch import nn

from sr_hooks.core.seeds import guard_streams
from sr_hooks.training.guard.attributes import Attributes
from sr_hooks.training.guard.hook_tables import global_hooks
from sr_hooks.training.guard.interrupts import Deferral
from sr_hooks.training.guard.network_state import NetworkState
from sr_hooks.training.guard.surroundings import surroundings
from sr_hooks.training.guard.switches import switches

__all__ = ["plain_modes", "preserved"]

_ATTEMPTS = 3  # at one step of the undo that an interrupt breaks off


class preserved:
    """Restore what a training run depends on, however the block ends.

    Always: the random streams of Python, NumPy and torch, torch's switches and modes, and the process's surroundings
    (working directory, environment, standard streams, warning filters, ...). Of the modules given: weights and buffers
    to the bit, which tensor objects they are and how they lie in memory, `.grad` (out of reach inside: it is None
    there), `requires_grad`, train or eval mode of every part, every hook, and the state in plain attributes, where it
    can be copied. Inside, hooks of the training code do not run; torch's own and the network's own do. A copy of
    weights and buffers is held meanwhile. Ctrl-C during saving or restoring waits until that is complete.

    Args:
        report: is called with a sentence for every change beyond mode and randomness; the code inside caused it.
        report_state: is called with a sentence for every attribute that has changed, which may be the network's habit.
        only_streams: restore the random streams alone, around code that is known to change nothing else.
    """

    def __init__(
        self,
        *modules: nn.Module,
        report: Callable[[str], None] | None = None,
        report_state: Callable[[str], None] | None = None,
        only_streams: bool = False,
    ) -> None:
        self._modules, self._report, self._report_state = modules, report, report_state
        self._savers = (guard_streams,) if only_streams else (switches, surroundings, guard_streams)
        self._undo: list[tuple[Callable[[], list[str]], Callable[[str], None] | None]] = []
        self._deferral = Deferral(preserved.__enter__.__code__, preserved.__exit__.__code__)

    def __enter__(self) -> None:
        self._deferral.install()
        try:
            self._save()
        except BaseException:
            self._restore()
            self._deferral.release()
            raise
        if self._deferral.pending:
            self._restore()
            self._deferral.release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._restore()
        except KeyboardInterrupt:  # not from a signal: those wait
            self._restore()
            raise
        finally:
            self._deferral.release()

    def _save(self) -> None:
        for save in self._savers:
            self._undo.append((save(), None))
        for module in self._modules:
            state = NetworkState(module)
            self._undo.append((state.restore, self._report))
            self._undo.append((Attributes(module).restore, self._report_state))
            state.hide()
        if self._modules:
            self._undo.append((global_hooks(), self._report))

    def _restore(self) -> None:
        """Undo the last first. A step that was broken off is begun again; one that fails does not stop the others."""
        interrupt: KeyboardInterrupt | None = None
        attempts = 0
        while self._undo:
            step, report = self._undo[-1]
            try:
                changes = step()
            except KeyboardInterrupt as error:
                interrupt, attempts = error, attempts + 1
                if attempts < _ATTEMPTS:
                    continue
                changes = []
            except Exception as error:
                changes = [f"could not restore all: {type(error).__name__}: {error}"]
                report = report or self._report
            self._undo.pop()
            attempts = 0
            with suppress(Exception):
                for change in changes:
                    (report or _forget)(change)
        if interrupt is not None:
            raise interrupt


def _forget(change: str) -> None:
    """Take a sentence that nobody asked for."""


@contextmanager
def plain_modes(device: torch.device) -> Iterator[None]:
    """Gradients on, no inference mode and no autocast inside, so that an analysis gives the same result anywhere."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield
