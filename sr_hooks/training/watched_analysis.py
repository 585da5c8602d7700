"""One analysis of a watched run: whether it is due, what it has cost, and how often it failed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from sr_hooks.analyses.base import Watcher
from sr_hooks.core import registry as plugins
from sr_hooks.core.torch_errors import is_out_of_memory, one_line
from sr_hooks.errors import PluginError, is_stop
from sr_hooks.inference.memory.fallback import release
from sr_hooks.networks.network import Network
from sr_hooks.results.drawing import set_options
from sr_hooks.results.result import Result
from sr_hooks.training.config import AnalysisPlan
from sr_hooks.training.schedule import Budget

__all__ = ["Event", "WatchedAnalysis", "logged", "results_of"]

Event = Literal["step", "validation", "end"]

MAX_ERRORS = 3


@dataclass
class WatchedAnalysis:
    """One analysis of a run: its watcher, its budget, and the number of its errors.

    Attributes:
        which: the network that the analysis looks at, "ema" or "raw".
        last: the iteration at which the analysis last ran.
        postponed_from: the first iteration since then at which the budget was not enough.
        ran_out: whether memory ran out in it.
    """

    plan: AnalysisPlan
    watcher: Watcher
    which: str
    budget: Budget
    log: logging.Logger
    errors: int = 0
    last: int = -1
    postponed_from: int | None = None
    ran_out: bool = False

    @property
    def name(self) -> str:
        return self.plan.kind.name

    @property
    def is_ours(self) -> bool:
        """Whether the watcher is one of this package, and not of a plugin."""
        return type(self.watcher).__module__.startswith("sr_hooks.")

    @property
    def is_disabled(self) -> bool:
        return self.ran_out or self.errors >= MAX_ERRORS

    def overrides(self, method: str) -> bool:
        """Whether the watcher's class overrides this method."""
        return getattr(type(self.watcher), method) is not getattr(Watcher, method)

    def wants(self, method: str) -> bool:
        """Whether this method is to be called around every optimizer step."""
        return self.overrides(method) and self.watcher.wants_steps()

    def is_wanted(self, event: Event, iteration: int) -> bool:
        """Whether the analysis is due by its schedule; the budget is another matter."""
        schedule = self.plan.schedule
        if iteration == self.last or iteration < 1:
            return False
        if event == "step":
            return schedule.is_fixed(iteration) or schedule.recurs(iteration)
        return schedule.watches_validation if event == "validation" else schedule.watches_end

    def is_forced(self, event: Event, iteration: int) -> bool:
        """Whether the analysis runs at this event regardless of the budget: at the end, and at those of `at`."""
        return event == "end" or (event == "step" and self.plan.schedule.is_fixed(iteration))

    def announce(self, folder: Path | None) -> None:
        """Log what is watched, when, at what cost, and where the results go."""
        self.log.info(
            "sr_hooks: watching %s (%s weights; %s; budget %s), results in %s",
            self.name,
            self.which,
            self.plan.schedule.described(),
            self.plan.schedule.budget,
            folder or "memory",
        )

    def install(self, network: Network) -> list[Any]:
        """The handles of the hooks that the watcher puts on the network in training; the session removes them."""
        with self.isolated("installing hooks"):
            return list(self.watcher.install(network))
        return []

    def postpone(self, iteration: int, training: float, pace: float) -> None:
        """Note that the budget is not enough, and log that once until the analysis runs again."""
        if self.postponed_from is not None:
            return
        self.postponed_from = iteration
        ahead = int((self.budget.needs() - training) / pace) if pace > 0 else 0
        self.log.info(
            "sr_hooks: %s postponed from iteration %d to about %d: a run takes some %.2g s, and its budget of %s has "
            "%.2g s (budget: 10%% for more, off for any)",
            self.name,
            iteration,
            iteration + max(ahead, 1),
            self.budget.cost,
            self.plan.schedule.budget,
            max(self.budget.share * training - self.budget.spent, 0.0),
        )

    def around_step(self, method: str, network: Network, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        """Call the watcher before or after the optimizer's step that makes the weights those of `iteration`."""
        if not self.is_disabled:
            with self.isolated(f"{method} of iteration {iteration}"):
                getattr(self.watcher, method)(network, optimizer, iteration)

    def why_silent(self, iteration: int) -> str:
        """Why the analysis has not run by the end of the run."""
        if self.ran_out:
            return "it does not fit into memory beside the training, as is said above"
        if self.errors:
            return f"its errors are above ({self.errors})"
        if self.postponed_from is not None:
            return f"its budget of {self.plan.schedule.budget} was not enough (budget: off for any)"
        return f"it was to run {self.plan.schedule.described()}, and the run ended at iteration {iteration}"

    def account(self) -> dict[str, Any]:
        """Seconds spent, as the index records them for a later process of the run."""
        return {"spent": round(self.budget.spent, 3), "last": [round(seconds, 4) for seconds in self.budget.last]}

    def take_up(self, account: Mapping[str, Any]) -> None:
        """Continue from an account of an earlier process."""
        self.budget.spent = float(account.get("spent", 0))
        self.budget.last = [float(seconds) for seconds in account.get("last", [])]

    @contextmanager
    def isolated(self, doing: str) -> Iterator[None]:
        """Log and count an error inside, the first with its traceback; `on_error: raise` lets the error pass.

        A SystemExit of a plugin is such an error too. Ctrl-C passes, and what the program's signal handlers raise.
        """
        try:
            yield
        except BaseException as error:
            if self.plan.schedule.on_error == "raise" or is_stop(error):
                raise
            if is_out_of_memory(error):
                self._disable_for_memory(doing, error)
            else:
                self._count(doing, error)

    def _count(self, doing: str, error: BaseException) -> None:
        self.errors += 1
        trace = "\n" + traceback.format_exc().rstrip() if self.errors == 1 else ""
        disabled = f"; disabled after {MAX_ERRORS} errors" if self.is_disabled else ""
        named = isinstance(error, PluginError)
        fault = None if named else plugins.registry().failure("register_analyses", self.name, doing, error)
        message = fault or f"{self.name} failed at {doing}: {type(error).__name__}: {error}"
        self.log.error("sr_hooks: %s%s; training goes on%s", message, disabled, trace)

    def _disable_for_memory(self, doing: str, error: BaseException) -> None:
        """Disable the analysis at once: what does not fit beside the training now will not fit later."""
        self.ran_out = True
        self.log.error(
            "sr_hooks: %s ran out of memory at %s and is disabled; training goes on. %s",
            self.name,
            doing,
            one_line(error),
        )
        traceback.clear_frames(error.__traceback__)  # they hold what the analysis had allocated
        release()


@contextmanager
def logged(log: logging.Logger, what: str) -> Iterator[None]:
    """Log an error inside, and go on."""
    try:
        yield
    except BaseException as error:
        if is_stop(error):
            raise
        log.error("sr_hooks: %s: %s: %s", what, type(error).__name__, error)


def results_of(plan: AnalysisPlan, answer: Any) -> list[Result]:
    """The results that a watcher returned, as a list, each with the figure options of the plan.

    Raises:
        PluginError: the watcher returned something that is no result.
    """
    results = [] if answer is None else list(answer) if isinstance(answer, Sequence) else [answer]
    for result in results:
        if not isinstance(result, Result):
            raise PluginError(f"the watcher of {plan.kind.name} returned a {type(result).__name__}, not a Result")
        set_options(result, plan.figure)
    return results
