"""A watched plain PyTorch loop: step hooks of the optimizer count the iterations."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sr_hooks.errors import NetworkError, OptionError, nearest
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.config import BLOCK, WatchPlan
from sr_hooks.training.distributed import stopping
from sr_hooks.training.notices import Request, leaving_alone
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

__all__ = ["Watch", "first_step", "torch_optimizer", "trained_variable", "trains", "variable", "waiting", "watch_loop"]


class Watch:
    """A watched plain loop, which `sr_hooks.watch` returns. Close it, or use it as a context manager.

    Attributes:
        iteration: optimizer steps counted, from the start iteration on.
    """

    def __init__(self, session: Session, optimizer: torch.optim.Optimizer, *, start: int = 0) -> None:
        self.session = session
        self._handler = _log_handler(session.log)
        try:
            session.start(start)
        except BaseException:
            self._remove_log_handler()
            raise
        session.attach(optimizer)
        # The loop updates a moving average after the optimizer's step. The average is therefore analysed just before
        # the next step, when the weights have not changed since. Weights in training are analysed right after the step.
        self._waits_for_average = any(watched.which == "ema" for watched in session.watched)
        self._step_is_pending = False
        self._handles = [optimizer.register_step_post_hook(self._stepped)]
        if self._waits_for_average:
            self._handles.append(optimizer.register_step_pre_hook(self._stepping))

    @property
    def iteration(self) -> int:
        return self.session.iteration + int(self._step_is_pending)

    def _stepped(self, *_: Any) -> None:
        if self._waits_for_average:
            self._step_is_pending = True
        else:
            self.session.step(self.session.iteration + 1)

    def _stepping(self, *_: Any) -> None:
        if self._step_is_pending:
            self._step_is_pending = False
            self.session.step(self.session.iteration + 1)

    def validated(self) -> None:
        """Tell that a validation has ended, for `on_validation`; call it on every rank of a distributed run."""
        self._stepping()
        self.session.validated()

    def saving(self) -> None:
        """Tell that a checkpoint is about to be saved, so that running sums are saved too; call it on every rank."""
        self._stepping()
        self.session.saving()

    def end(self) -> None:
        """Training has ended without an error: run what is due `at_end`, and close the watch."""
        self._stepping()
        self.session.end()
        self.session.saving()
        self.close()

    def close(self) -> None:
        """Remove every hook from the optimizer and the network."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.session.close()
        self._remove_log_handler()

    def _remove_log_handler(self) -> None:
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


def _log_handler(log: logging.Logger) -> logging.Handler | None:
    """A handler to standard error if the program has set up no logging; without one, nobody would see the results."""
    if log.hasHandlers():
        return None
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    return handler


def torch_optimizer(optimizer: Any) -> Any:
    """Return the optimizer of torch inside a wrapper of Accelerate or Lightning, whose own step may not step."""
    while not hasattr(optimizer, "_optimizer_step_post_hooks") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def trains(optimizer: torch.optim.Optimizer, module: nn.Module) -> bool:
    """Whether the optimizer holds any weight of the module."""
    own_weights = {id(parameter) for parameter in module.parameters()}
    return any(id(parameter) in own_weights for group in optimizer.param_groups for parameter in group["params"])


@contextmanager
def first_step(begin: Callable[[torch.optim.Optimizer, FrameType], bool]) -> Iterator[Callable[[], None]]:
    """Call begin(optimizer, frame of its step) before steps of any optimizer until it answers that it has begun.

    Yields:
        A function that ends the wait.
    """
    is_waiting = [True]

    def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if is_waiting and begin(optimizer, sys._getframe(1)):
            is_waiting.clear()  # the hook cannot be removed here: torch is iterating over its hooks

    handle = register_optimizer_step_pre_hook(hook)
    try:
        yield is_waiting.clear
    finally:
        handle.remove()


def trained_variable(
    optimizer: torch.optim.Optimizer, frame: FrameType | None, until: CodeType | None
) -> nn.Module | None:
    """The largest network in the variables from here up to the function `until` whose weights the optimizer holds."""
    candidates: list[nn.Module] = []
    while frame is not None:
        candidates += [v for v in frame.f_locals.values() if isinstance(v, nn.Module) and trains(optimizer, v)]
        if frame.f_code is until:
            break
        frame = frame.f_back
    return max(candidates, key=lambda module: sum(p.numel() for p in module.parameters()), default=None)


def variable(name: str, frame: FrameType | None, until: CodeType | None, *, called: str = "network") -> Any:
    """The value of `name` or `name.attribute` in the frames from here up to that of the function `until`.

    Args:
        called: the keyword of `watch` that names the variable; all but "tensorboard" must be networks.

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


def watch_loop(
    network: Any,
    optimizer: Any,
    plan: WatchPlan,
    *,
    ema: nn.Module | None = None,
    folder: str | Path | None = None,
    name: str | None = None,
    tensorboard: Any = None,
    start: int = 0,
) -> Watch:
    """Begin to watch a plain loop; see `sr_hooks.watch`."""
    if not plan.analyses:
        raise OptionError("nothing to watch: name an analysis, e.g. lam={'windows': [[96, 120, 16]], 'every': 1000}")
    module = unwrap(network)
    if not isinstance(module, nn.Module):
        raise NetworkError(f"watch takes a torch.nn.Module, not a {type(module).__name__}")
    optimizer = torch_optimizer(optimizer)
    if not isinstance(optimizer, torch.optim.Optimizer) or not trains(optimizer, module):
        raise OptionError("give the optimizer that holds the network's weights: watch(network, optimizer, ...)")
    networks = {"raw": module} if ema is None else {"raw": module, "ema": unwrap(ema, like=module)}
    name = name or type(module).__name__
    session = Session(
        plan,
        networks,
        image_source(plan.base, None),
        folder=Path(folder or Path("experiments") / name / BLOCK),
        tensorboard=lambda: tensorboard,
        log=logging.getLogger("sr_hooks.watch"),
        run=name,
        seed=plan.seed or 0,
        saves_when_due=True,
    )
    return Watch(session, optimizer, start=start)


@contextmanager
def waiting(
    code: Any, network: str | None, plan: Callable[[], WatchPlan], loop: dict[str, Any], request: Request
) -> Iterator[Callable[[], None]]:
    """Wait for the first step of an optimizer that holds the network's weights, and watch from there."""
    watches: list[Watch] = []
    is_off: list[bool] = []

    def begin(optimizer: torch.optim.Optimizer, frame: FrameType) -> bool:
        with leaving_alone("the training loop"), stopping():
            module = variable(network, frame, code) if network else trained_variable(optimizer, frame, code)
            if module is None or not trains(optimizer, unwrap(module)):
                return False
            keywords = dict(loop)
            for key in ("ema", "tensorboard"):
                if isinstance(keywords.get(key), str):
                    keywords[key] = variable(keywords[key], frame, code, called=key)
            watches.append(watch_loop(module, optimizer, plan(), **keywords))
        return True

    with ExitStack() as stack:
        call_off = stack.enter_context(first_step(begin))

        def off() -> None:
            is_off.append(True)
            call_off()

        try:
            yield off
            for each in watches:
                each.end()
            if not watches and not is_off:
                what = f"the weights of {network}" if network else "a network in its variables: analyze(network='net')"
                request.reason = f"no optimizer stepped {what}"
        finally:
            for each in watches:
                each.close()
