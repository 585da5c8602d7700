"""One analysis of a watched run: when it is due, what it has cost, and how often it failed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from sr_hooks.analyses.base import Watcher
from sr_hooks.core import registry as plugins
from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import PluginError
from sr_hooks.results.result import Result
from sr_hooks.training.config import Planned
from sr_hooks.training.schedule import Budget

__all__ = ["Event", "Watched", "results_of"]

Event = Literal["step", "validation", "end"]

FAULTS = 3


@dataclass
class Watched:
    """One analysis with its account.

    Attributes:
        which: of the run's networks it looks at, "ema" or "raw".
        last: the iteration at which it last ran.
        put_off: the first iteration since then at which the budget put it off.
    """

    plan: Planned
    watcher: Watcher
    which: str
    budget: Budget
    log: logging.Logger
    faults: int = 0
    last: int = -1
    put_off: int | None = None

    @property
    def name(self) -> str:
        return self.plan.kind.name

    @property
    def is_aside(self) -> bool:
        return self.faults >= FAULTS

    def overrides(self, method: str) -> bool:
        """Whether its watcher does more than nothing at this method."""
        return getattr(type(self.watcher), method) is not getattr(Watcher, method)

    def wants(self, method: str) -> bool:
        """Whether it is to be called at this method of every optimizer step."""
        return self.overrides(method) and self.watcher.wants_steps()

    def is_wanted(self, event: Event, iteration: int) -> bool:
        """Whether the schedule asks for it, the budget apart."""
        schedule = self.plan.schedule
        if iteration == self.last or iteration < 1:
            return False
        if event == "step":
            return schedule.is_appointed(iteration) or schedule.recurs(iteration)
        return schedule.watches_validation if event == "validation" else schedule.watches_end

    def is_forced(self, event: Event, iteration: int) -> bool:
        """Whether it is an appointment, which is kept whatever the budget."""
        return event == "end" or (event == "step" and self.plan.schedule.is_appointed(iteration))

    def postpone(self, iteration: int, training: float, pace: float) -> None:
        """Note that the budget does not reach, and say so once until it runs again."""
        if self.put_off is not None:
            return
        self.put_off = iteration
        ahead = int((self.budget.needs() - training) / pace) if pace > 0 else 0
        self.log.info(
            "sr_hooks: %s put off from iteration %d to about %d: a run takes some %.2g s, and its budget of %s has "
            "%.2g s (budget: 10%% for more, off for any)",
            self.name,
            iteration,
            iteration + max(ahead, 1),
            self.budget.cost,
            self.plan.schedule.budget,
            max(self.budget.share * training - self.budget.spent, 0.0),
        )

    def account(self) -> dict[str, Any]:
        """What it has spent, as the index keeps it for a later process of the run."""
        return {"spent": round(self.budget.spent, 3), "last": [round(seconds, 4) for seconds in self.budget.last]}

    def take_up(self, account: Mapping[str, Any]) -> None:
        """Go on from such an account."""
        self.budget.spent = float(account.get("spent", 0))
        self.budget.last = [float(seconds) for seconds in account.get("last", [])]

    @contextmanager
    def isolated(self, doing: str) -> Iterator[None]:
        """A fault inside is logged, the first with its traceback, and counted; with `on_error: raise` it passes."""
        try:
            yield
        except Exception as error:
            if self.plan.schedule.on_error == "raise":
                raise
            self.faults += 1
            trace = "\n" + traceback.format_exc().rstrip() if self.faults == 1 else ""
            aside = f"; set aside after {FAULTS} faults" if self.is_aside else ""
            named = isinstance(error, PluginError) or is_out_of_memory(error)
            fault = None if named else plugins.registry().failure("register_analyses", self.name, doing, error)
            said = fault or f"{self.name} failed at {doing}: {type(error).__name__}: {error}"
            self.log.error("sr_hooks: %s%s; training goes on%s", said, aside, trace)
            if is_out_of_memory(error) and torch.cuda.is_available():
                torch.cuda.empty_cache()


def results_of(name: str, answer: Any) -> list[Result]:
    """What a watcher answered, as a list.

    Raises:
        PluginError: it is no result.
    """
    found = [] if answer is None else list(answer) if isinstance(answer, Sequence) else [answer]
    for result in found:
        if not isinstance(result, Result):
            raise PluginError(f"the watcher of {name} returned a {type(result).__name__}, not a Result")
    return found
