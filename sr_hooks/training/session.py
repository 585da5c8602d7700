"""A watched training run: run each analysis when it is due, protect the run's state, hand results to sinks.

An adapter calls `start` before the first step, `step` after every optimizer step, `validated`, `saving` and `end` where
the training code has such events, and `close` always. No error of an analysis or a sink leaves this module.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.results.run_index import RunIndex
from sr_hooks.training.binding import ImageSource, RunFacts, bind
from sr_hooks.training.config import AnalysisPlan, WatchPlan
from sr_hooks.training.distributed import Ranks, time_limit
from sr_hooks.training.guard.preserved import plain_modes, preserved
from sr_hooks.training.guard.wholeness import check_whole
from sr_hooks.training.notices import SESSIONS, Habits, tell_of_silence
from sr_hooks.training.schedule import Budget, RunClock
from sr_hooks.training.sinks import SinkContext, Sinks
from sr_hooks.training.watched_analysis import Event, WatchedAnalysis, logged, results_of

__all__ = ["Session"]

_DISTRIBUTED_LIMIT = 300.0
_NEVER = 1 << 62


@dataclass(eq=False)
class Session:
    """A watched run.

    Args:
        plan: what to watch.
        networks: "raw" and, where the run keeps a moving average, "ema"; bare modules, or Networks with what the host
            knows of them.
        images: gives the images of an analysis.
        folder: for results, index and states; None to write nothing.
        tensorboard: gives the run's SummaryWriter, or None.
        run: its name.
        seed: recorded, and given to analyses.
        total: iterations of the whole run, where known.
        saves_when_due: keep running sums after each due step, where the host does not call `saving`.
    """

    plan: WatchPlan
    networks: Mapping[str, nn.Module | Network]
    images: ImageSource
    folder: Path | None = None
    tensorboard: Callable[[], Any] = lambda: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("sr_hooks"))
    run: str = "run"
    seed: int = 0
    total: int | None = None
    saves_when_due: bool = False

    iteration: int = field(default=0, init=False)
    started_at: int = field(default=0, init=False)
    next_due: int = field(default=_NEVER, init=False)
    index: RunIndex | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.ranks = Ranks.here()
        self.watched: list[WatchedAnalysis] = []
        self._modules = [item.module if isinstance(item, Network) else item for item in self.networks.values()]
        self._networks: dict[str, Network] = {}
        self._sinks = Sinks()
        self._handles: list[Any] = []
        self._clock = RunClock()
        self._habits = Habits(self.log)
        self._ended = self._closed = False

    # -- before training ---------------------------------------------------------------------------

    def start(self, iteration: int = 0) -> None:
        """Check every analysis of the plan, and continue from what an earlier process left at this iteration.

        Raises:
            SRHooksError: an analysis of the plan cannot be done; nothing has been written or changed.
        """
        self.iteration = self.started_at = iteration
        check_whole(dict(zip(self.networks, self._modules, strict=True)))
        with preserved(*self._modules, report=self._habits.add, report_state=self._habits.add):
            self._networks = {which: Network.of(item) for which, item in self.networks.items()}
            self.watched = [self._watch(plan) for plan in self.plan.analyses]
            if self.folder is not None:
                self.index = RunIndex(self.folder)
                self._resume(self.index, iteration)
                if self.ranks.is_first:
                    self.index.begin(iteration)
            if self.ranks.is_first:
                self._sinks.open(self.plan.sinks, SinkContext(self.index, self.tensorboard, self.log, self.run))
        if self.ranks.is_first:
            for watched in self.watched:
                watched.announce(self.folder)
            self._habits.announce(self._modules)
        self._handles += [handle for watched in self.watched for handle in watched.install(self._networks["raw"])]
        self._plan_next()
        SESSIONS.add(self)
        self._clock.start()

    def _watch(self, plan: AnalysisPlan) -> WatchedAnalysis:
        facts = RunFacts(self.folder, self.plan.base, self.seed, self.total, self.ranks, self.plan.draws, self.log)
        watcher, which, expected = bind(plan, self._networks, self.images, facts)
        return WatchedAnalysis(plan, watcher, which, Budget(plan.schedule.share, expected), self.log)

    def _resume(self, index: RunIndex, iteration: int) -> None:
        if iteration == 0:
            return
        needing = [watched for watched in self.watched if watched.overrides("load_state_dict")]
        accounts, saved = self.ranks.from_first(lambda: (index.time, index.load_state(iteration) if needing else None))
        self._clock.earlier = float(accounts.get("training", 0))
        for watched in self.watched:
            watched.take_up(accounts.get(watched.name, {}))
        if needing and (saved is None or saved[0] != iteration):
            which = f"those of iteration {saved[0]} are taken" if saved else "they begin anew"
            self.log.warning("sr_hooks: there are no running sums of iteration %d: %s", iteration, which)
        for watched in needing:
            if saved is not None and watched.name in saved[1]:
                with watched.isolated("resuming"):
                    watched.watcher.load_state_dict(saved[1][watched.name])

    @property
    def wants_steps(self) -> bool:
        """Whether any watcher is to be called around optimizer steps."""
        return any(w.wants("before_step") or w.wants("after_step") for w in self.watched)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call the watchers that want steps around the steps of this optimizer."""
        for method, register in (
            ("before_step", optimizer.register_step_pre_hook),
            ("after_step", optimizer.register_step_post_hook),
        ):
            wanting = [watched for watched in self.watched if watched.wants(method)]
            if wanting:
                self._handles.append(register(partial(self._around_step, wanting, method)))

    def _around_step(
        self, wanting: list[WatchedAnalysis], method: str, optimizer: torch.optim.Optimizer, *_: Any
    ) -> None:
        with preserved(only_streams=all(watched.is_ours for watched in wanting)):
            for watched in wanting:
                watched.around_step(method, self._networks["raw"], optimizer, self.iteration + 1)

    # -- during training ---------------------------------------------------------------------------

    def step(self, iteration: int) -> None:
        """The weights are now those of `iteration`. This costs one comparison, unless an analysis is due."""
        self.iteration = iteration
        if iteration >= self.next_due:
            self._consider("step")
            self._plan_next()

    def validated(self) -> None:
        """A validation has ended."""
        self._consider("validation")

    def end(self) -> None:
        """Training has ended without an error; only the first call counts."""
        if not self._ended:
            self._ended = True
            self._consider("end")

    def saving(self) -> None:
        """A checkpoint of this iteration is about to be saved: save the running sums that belong to it."""
        states = {}
        keeping = [watched for watched in self.watched if watched.overrides("state_dict") or self._is_shared(watched)]
        with preserved(*self._modules) if keeping else nullcontext():
            for watched in keeping:
                self._reduce(watched, willing=True)
                if self.index is not None and self.ranks.is_first and watched.overrides("state_dict"):
                    with watched.isolated("saving"):
                        states[watched.name] = watched.watcher.state_dict()
        if states and self.index is not None:
            with logged(self.log, "running sums not saved"):
                self.index.save_state(self.iteration, states)

    def close(self) -> None:
        """Remove every hook and close the sinks; to be called however the run ended."""
        if self._closed:
            return
        self._closed = True
        self.next_due = _NEVER
        for handle in self._handles:
            handle.remove()
        with preserved(*self._modules):
            self._sinks.close()
        if self.index is not None:
            self.index.end()
        self._record_time()
        tell_of_silence(self)

    @property
    def training(self) -> float:
        """Seconds of training so far, without the time that analyses took."""
        return self._clock.training

    @property
    def analysing(self) -> float:
        """Seconds that analyses took in this process."""
        return self._clock.analysing

    # -- one analysis ------------------------------------------------------------------------------

    def _plan_next(self) -> None:
        moments = [
            watched.plan.schedule.next_after(self.iteration)
            for watched in self.watched
            if not watched.is_disabled or self._is_shared(watched)
        ]
        self.next_due = min((moment for moment in moments if moment is not None), default=_NEVER)

    def _is_shared(self, watched: WatchedAnalysis) -> bool:
        """Whether every rank must take part, since sums are reduced over ranks."""
        return self.ranks.size > 1 and watched.overrides("reduce")

    def _reduce(self, watched: WatchedAnalysis, *, willing: bool) -> bool:
        if not self._is_shared(watched):
            return willing
        willing = self.ranks.agree(willing and not watched.is_disabled)
        if willing:
            with watched.isolated("reducing"):
                watched.watcher.reduce(self.ranks.all_reduce)
        return willing

    def _consider(self, event: Event) -> None:
        before = [watched.last for watched in self.watched]
        self._run_due(event)
        if self.saves_when_due:
            # Saving reduces, in which every rank must take part: the others know only of what was due on all of them.
            shared = any(map(self._is_shared, self.watched))
            ran = [w for w, last in zip(self.watched, before, strict=True) if w.last != last]
            if any(map(self._is_shared, ran)) if shared else ran:
                self.saving()

    def _run_due(self, event: Event) -> None:
        for watched in self.watched:
            if not watched.is_wanted(event, self.iteration) or (watched.is_disabled and not self._is_shared(watched)):
                continue
            if not self.ranks.is_first and not self._is_shared(watched):
                continue
            affords = watched.is_forced(event, self.iteration) or watched.budget.affords(self.training)
            if self._reduce(watched, willing=not watched.is_disabled and (affords or not self.ranks.is_first)):
                watched.last = self.iteration
                if self.ranks.is_first:
                    self._run(watched)
            elif self.ranks.is_first and not affords and not watched.is_disabled:
                pace = self.training / max(self.iteration - self.started_at, 1)
                watched.postpone(self.iteration, self.training, pace)

    def _run(self, watched: WatchedAnalysis) -> None:
        begin = time.perf_counter()
        changes: list[str] = []
        limit = watched.plan.schedule.limit or (_DISTRIBUTED_LIMIT if self.ranks.size > 1 else None)
        try:
            with watched.isolated(f"iteration {self.iteration}"):
                network = self._networks[watched.which]
                with preserved(*self._modules, report=changes.append, report_state=self._habits.add):
                    with time_limit(limit), plain_modes(network.device):
                        answer = watched.watcher.due(network, self.iteration)
                    self._deliver(watched, results_of(watched.plan, answer))
        finally:
            if changes:
                self.log.warning("sr_hooks: %s %s; all was restored", watched.name, ", ".join(changes[:4]))
            self._habits.announce_new(watched.name)
            seconds = time.perf_counter() - begin
            self._clock.analysing += seconds
            watched.budget.pay(seconds)
            watched.postponed_from = None
            self._record_time()

    def _deliver(self, watched: WatchedAnalysis, results: list[Result]) -> None:
        for number, result in enumerate(results):
            folder = f"{self.iteration}/{watched.name}" + (f"/{number}" if len(results) > 1 else "")
            result.provenance["watch"] = {
                "run": self.run,
                "iteration": self.iteration,
                "network": watched.which,
                "seed": self.seed,
                "put_off_from": watched.postponed_from,
            }
            self._sinks.write(result, iteration=self.iteration, folder=folder)

    def _record_time(self) -> None:
        if self.index is None or not self.ranks.is_first:
            return
        self.index.time = {"training": round(self.training, 3), **{w.name: w.account() for w in self.watched}}
        with logged(self.log, "the index cannot be written"):
            self.index.write()
