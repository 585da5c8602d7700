"""A plain PyTorch loop: the optimizer's own step hooks tell when a step has been taken."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sr_hooks.errors import NetworkError, OptionError, nearest
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.session import Session

__all__ = ["Watch", "first_step", "trained_variable", "trains", "variable"]


class Watch:
    """A plain loop that is watched; what `sr_hooks.watch` returns. Close it, or use it as a context.

    Attributes:
        iteration: optimizer steps counted, from the start iteration on.
    """

    def __init__(self, session: Session, optimizer: torch.optim.Optimizer, *, start: int = 0) -> None:
        self.session = session
        self._handler = _visible(session.log)
        try:
            session.start(start)
        except BaseException:
            self._hide()
            raise
        session.attach(optimizer)
        # A moving average is brought up to date after the optimizer's step, so that it is looked at just before
        # the next: the weights have not moved since. What is in training can be looked at at once.
        self._late = any(watched.which == "ema" for watched in session.watched)
        self._due = False
        self._handles = [optimizer.register_step_post_hook(self._stepped)]
        if self._late:
            self._handles.append(optimizer.register_step_pre_hook(self._stepping))

    @property
    def iteration(self) -> int:
        return self.session.iteration + int(self._due)

    def _stepped(self, *_: Any) -> None:
        if self._late:
            self._due = True
        else:
            self.session.step(self.session.iteration + 1)

    def _stepping(self, *_: Any) -> None:
        if self._due:
            self._due = False
            self.session.step(self.session.iteration + 1)

    def validated(self) -> None:
        """Say that a validation has ended, for `on_validation`; in a distributed run, on every rank."""
        self._stepping()
        self.session.validated()

    def saving(self) -> None:
        """Say that a checkpoint is about to be saved: running sums are kept beside it; on every rank."""
        self._stepping()
        self.session.saving()

    def end(self) -> None:
        """Training has ended as it should: what is due `at_end` is done, and the watch closed."""
        self._stepping()
        self.session.end()
        self.session.saving()
        self.close()

    def close(self) -> None:
        """Take every hook off the optimizer and the network."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.session.close()
        self._hide()

    def _hide(self) -> None:
        if self._handler is not None:
            self.session.log.removeHandler(self._handler)
            self.session.log.setLevel(logging.NOTSET)
            self._handler = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        else:
            self.close()


def _visible(log: logging.Logger) -> logging.Handler | None:
    """A handler to standard error where the program has set up no logging, or result lines would go nowhere."""
    if log.hasHandlers():
        return None
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


def trains(optimizer: torch.optim.Optimizer, module: nn.Module) -> bool:
    """Whether the optimizer holds any weight of the module."""
    mine = {id(parameter) for parameter in module.parameters()}
    return any(id(parameter) in mine for group in optimizer.param_groups for parameter in group["params"])


@contextmanager
def first_step(begin: Callable[[torch.optim.Optimizer, FrameType], bool]) -> Iterator[Callable[[], None]]:
    """Call begin(optimizer, frame of its step) before steps of any optimizer until it answers that it has begun.

    Yields:
        A function that calls the wait off.
    """
    waiting = [True]

    def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if waiting and begin(optimizer, sys._getframe(1)):
            waiting.clear()  # the hook itself must not be removed while torch goes through its table

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield waiting.clear
    finally:
        handle.remove()


def trained_variable(
    optimizer: torch.optim.Optimizer, frame: FrameType | None, until: CodeType | None
) -> nn.Module | None:
    """The largest network in the variables from here up to the function `until` whose weights the optimizer holds."""
    found: list[nn.Module] = []
    while frame is not None:
        found += [v for v in frame.f_locals.values() if isinstance(v, nn.Module) and trains(optimizer, v)]
        if frame.f_code is until:
            break
        frame = frame.f_back
    return max(found, key=lambda module: sum(p.numel() for p in module.parameters()), default=None)


def variable(name: str, frame: FrameType | None, until: CodeType | None, *, called: str = "network") -> Any:
    """The value of `name` or `name.attribute` in the frames from here up to that of the function `until`.

    Args:
        called: the keyword that asked for it; all but "tensorboard" must be networks.

    Raises:
        OptionError: no such variable, with the networks that there are.
    """
    function = until.co_name if until is not None else "function"
    head, *attributes = name.split(".")
    networks: list[str] = []
    while frame is not None:
        local = frame.f_locals
        if head in local:
            value = local[head]
            for attribute in attributes:
                value = getattr(value, attribute, None)
            if called != "tensorboard" and not isinstance(unwrap(value), nn.Module):
                raise NetworkError(f"{called}={name!r} is a {type(value).__name__}, not a torch.nn.Module")
            return value
        networks += [key for key, value in local.items() if isinstance(value, nn.Module) and key != "self"]
        if frame.f_code is until:
            break
        frame = frame.f_back
    raise OptionError(f"{called}={name!r}: {function}() has no such variable; {nearest(name, networks)}")
