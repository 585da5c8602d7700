"""A watched training run: what is due when, the run guarded while it is looked at, results handed to sinks.

A host's adapter calls `start` before the first step, `step` after every optimizer step, `validated`, `saving` and
`end` where it knows of them, and `close` always. Whatever an analysis or a sink does wrong stays in here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.results.run_index import RunIndex
from sr_hooks.training.binding import ImageSource, RunFacts, bind
from sr_hooks.training.config import Planned, WatchPlan
from sr_hooks.training.distributed import Ranks, time_limit
from sr_hooks.training.schedule import Budget
from sr_hooks.training.sinks import SinkContext, Sinks
from sr_hooks.training.state_guard import preserved
from sr_hooks.training.watched_analysis import Event, Watched, results_of

__all__ = ["Session"]

_DISTRIBUTED_LIMIT = 300.0
_FIRST_PICTURE = 1.0  # seconds to import matplotlib and draw, in the estimate of a first run
_NEVER = 1 << 62


@contextmanager
def _plain(network: Network) -> Iterator[None]:
    """No autocast and no grad mode of the host: the same answer from wherever it is asked."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(network.device.type, enabled=False):
        yield


@dataclass
class Session:
    """A watched run.

    Args:
        plan: what to watch.
        networks: "raw" and, where the run keeps a moving average, "ema"; bare modules, or Networks with what the host
            knows of them.
        images: gives an analysis's images.
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
    next_due: int = field(default=_NEVER, init=False)
    index: RunIndex | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.ranks = Ranks.here()
        self.watched: list[Watched] = []
        self._modules = [given.module if isinstance(given, Network) else given for given in self.networks.values()]
        self._networks: dict[str, Network] = {}
        self._sinks = Sinks()
        self._handles: list[Any] = []
        self._start = 0
        self._began = 0.0
        self._analysing = 0.0
        self._trained = 0.0  # in earlier processes of this run
        self._ended = self._closed = False

    # -- before training ---------------------------------------------------------------------------

    def start(self, iteration: int = 0) -> None:
        """Check all that was asked for, and take up what an earlier process left at this iteration.

        Raises:
            SRHooksError: something asked for cannot be done; nothing has been written or changed.
        """
        self.iteration = self._start = iteration
        with preserved(*self._modules):
            self._networks = {which: Network.of(given) for which, given in self.networks.items()}
            self.watched = [self._watch(planned) for planned in self.plan.analyses]
            if self.folder is not None:
                self.index = RunIndex(self.folder)
                self._resume(self.index, iteration)
                if self.ranks.is_first:
                    self.index.begin(iteration)
            if self.ranks.is_first:
                self._sinks.open(self.plan.sinks, SinkContext(self.index, self.tensorboard, self.log, self.run))
        for watched in self.watched if self.ranks.is_first else []:
            schedule = watched.plan.schedule
            self.log.info(
                "sr_hooks: watching %s (%s weights; %s; budget %s), results in %s",
                watched.name,
                watched.which,
                schedule.described(),
                schedule.budget,
                self.folder or "memory",
            )
        self._plan_next()
        self._began = time.perf_counter()

    def _watch(self, planned: Planned) -> Watched:
        facts = RunFacts(self.folder, self.plan.base, self.seed, self.total, self.ranks)
        watcher, which, expected = bind(planned, self._networks, self.images, facts)
        expected += _FIRST_PICTURE if {*self.plan.sinks} - {"log"} else 0.0
        return Watched(planned, watcher, which, Budget(planned.schedule.share, expected), self.log)

    def _resume(self, index: RunIndex, iteration: int) -> None:
        if iteration == 0:
            return
        self._trained = float(index.time.get("training", 0))
        for watched in self.watched:
            watched.take_up(index.time.get(watched.name, {}))
        needing = [watched for watched in self.watched if watched.overrides("load_state_dict")]
        found = index.load_state(iteration) if needing else None
        if needing and (found is None or found[0] != iteration):
            which = f"those of iteration {found[0]} are taken" if found else "they begin anew"
            self.log.warning("sr_hooks: there are no running sums of iteration %d: %s", iteration, which)
        for watched in needing:
            if found is not None and watched.name in found[1]:
                with watched.isolated("resuming"):
                    watched.watcher.load_state_dict(found[1][watched.name])

    @property
    def wants_steps(self) -> bool:
        """Whether any watcher is to be called around optimizer steps."""
        return any(w.wants("before_step") or w.wants("after_step") for w in self.watched)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call watchers around this optimizer's steps, where there are any that want it."""
        for method, register in (
            ("before_step", optimizer.register_step_pre_hook),
            ("after_step", optimizer.register_step_post_hook),
        ):
            mine = [watched for watched in self.watched if watched.wants(method)]
            if mine:
                self._handles.append(register(self._step_hook(mine, method)))

    def _step_hook(self, mine: list[Watched], method: str) -> Callable[..., None]:
        def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            with preserved():
                for watched in mine:
                    if not watched.is_aside:
                        with watched.isolated(f"{method} of iteration {self.iteration + 1}"):
                            getattr(watched.watcher, method)(self._networks["raw"], optimizer, self.iteration + 1)

        return hook

    # -- during training ---------------------------------------------------------------------------

    def step(self, iteration: int) -> None:
        """The weights are now those of `iteration`. A comparison, unless something is due."""
        self.iteration = iteration
        if iteration >= self.next_due:
            self._consider("step")
            self._plan_next()

    def validated(self) -> None:
        """A validation has ended."""
        self._consider("validation")

    def end(self) -> None:
        """Training has ended as it should; only the first call counts."""
        if not self._ended:
            self._ended = True
            self._consider("end")

    def saving(self) -> None:
        """The host is about to save a checkpoint of this iteration: keep the running sums that belong to it."""
        states = {}
        for watched in self.watched:
            self._reduce(watched, willing=True)
            if self.index is not None and self.ranks.is_first and watched.overrides("state_dict"):
                with watched.isolated("saving"):
                    states[watched.name] = watched.watcher.state_dict()
        if states and self.index is not None:
            try:
                self.index.save_state(self.iteration, states)
            except Exception as error:
                self.log.error("sr_hooks: running sums not saved: %s: %s", type(error).__name__, error)

    def close(self) -> None:
        """Take off every hook and close the sinks; to be called however the run ended."""
        if self._closed:
            return
        self._closed = True
        self.next_due = _NEVER
        for handle in self._handles:
            handle.remove()
        self._sinks.close()
        self._keep_time()

    @property
    def training(self) -> float:
        """Seconds of training so far, without the time that analyses took."""
        return self._trained + (time.perf_counter() - self._began if self._began else 0.0) - self._analysing

    @property
    def analysing(self) -> float:
        """Seconds that analyses took in this process."""
        return self._analysing

    # -- one look ----------------------------------------------------------------------------------

    def _plan_next(self) -> None:
        moments = [
            watched.plan.schedule.next_after(self.iteration)
            for watched in self.watched
            if not watched.is_aside or self._is_shared(watched)
        ]
        self.next_due = min((moment for moment in moments if moment is not None), default=_NEVER)

    def _is_shared(self, watched: Watched) -> bool:
        """Whether every rank must come along, since sums are reduced."""
        return self.ranks.size > 1 and watched.overrides("reduce")

    def _reduce(self, watched: Watched, *, willing: bool) -> bool:
        if not self._is_shared(watched):
            return willing
        willing = self.ranks.agree(willing and not watched.is_aside)
        if willing:
            with watched.isolated("reducing"):
                watched.watcher.reduce(self.ranks.all_reduce)
        return willing

    def _consider(self, event: Event) -> None:
        before = [watched.last for watched in self.watched]
        self._look_where_due(event)
        if self.saves_when_due:
            # Saving reduces, in which every rank must take part: the others know only of what was due on all of them.
            shared = any(map(self._is_shared, self.watched))
            ran = [w for w, last in zip(self.watched, before, strict=True) if w.last != last]
            if any(map(self._is_shared, ran)) if shared else ran:
                self.saving()

    def _look_where_due(self, event: Event) -> None:
        for watched in self.watched:
            if not watched.is_wanted(event, self.iteration) or (watched.is_aside and not self._is_shared(watched)):
                continue
            if not self.ranks.is_first and not self._is_shared(watched):
                continue
            affords = watched.is_forced(event, self.iteration) or watched.budget.affords(self.training)
            if self._reduce(watched, willing=not watched.is_aside and (affords or not self.ranks.is_first)):
                watched.last = self.iteration
                if self.ranks.is_first:
                    self._look(watched)
            elif self.ranks.is_first and not affords and not watched.is_aside:
                pace = self.training / max(self.iteration - self._start, 1)
                watched.postpone(self.iteration, self.training, pace)

    def _look(self, watched: Watched) -> None:
        begin = time.perf_counter()
        changes: list[str] = []
        limit = watched.plan.schedule.limit or (_DISTRIBUTED_LIMIT if self.ranks.size > 1 else None)
        try:
            with watched.isolated(f"iteration {self.iteration}"):
                network = self._networks[watched.which]
                with time_limit(limit), preserved(*self._modules, report=changes.append), _plain(network):
                    answer = watched.watcher.due(network, self.iteration)
                self._deliver(watched, results_of(watched.name, answer))
        finally:
            if changes:
                self.log.warning("sr_hooks: %s %s; all was put back", watched.name, ", ".join(changes[:4]))
            seconds = time.perf_counter() - begin
            self._analysing += seconds
            watched.budget.pay(seconds)
            watched.put_off = None
            self._keep_time()

    def _deliver(self, watched: Watched, results: list[Result]) -> None:
        for number, result in enumerate(results):
            place = f"{self.iteration}/{watched.name}" + (f"/{number}" if len(results) > 1 else "")
            result.provenance["watch"] = {
                "run": self.run,
                "iteration": self.iteration,
                "network": watched.which,
                "seed": self.seed,
                "put_off_from": watched.put_off,
            }
            self._sinks.write(result, iteration=self.iteration, place=place)

    def _keep_time(self) -> None:
        if self.index is None or not self.ranks.is_first:
            return
        accounts = {watched.name: watched.account() for watched in self.watched}
        self.index.time = {"training": round(self.training, 3), **accounts}
        try:
            self.index.write()
        except Exception as error:
            self.log.error("sr_hooks: the index cannot be written: %s: %s", type(error).__name__, error)
