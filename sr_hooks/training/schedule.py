"""When an analysis of a training run is due, what it may cost, and the clock of the run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from sr_hooks.core.options import option

__all__ = ["Budget", "RunClock", "Schedule", "parse_share"]

DEFAULT_BUDGET = "2%"
_MARGIN = 1.25  # a run may cost this much more than the last ones did, and the share still holds


@dataclass(frozen=True)
class Schedule:
    """The keys that every block of an option file has, for all analyses.

    Where none of every, at, on_validation and at_end is given, the analysis is due at each validation and at the end.
    """

    every: int | None = option(
        None, "due at each multiple of so many iterations, as far as the budget goes", at_least=1
    )
    at: int | list[int] | None = option(None, "due at these iterations, regardless of the budget", at_least=1)
    on_validation: bool | None = option(None, "due after each validation, as far as the budget goes")
    at_end: bool | None = option(None, "due when training ends, regardless of the budget")
    budget: Any = option(
        DEFAULT_BUDGET, "time that the analysis may take, as a share of training time (2%, 0.02), or off"
    )
    network: Literal["ema", "raw"] | None = option(None, "weights to look at; by default those that validation uses")
    on_error: Literal["log", "raise"] = option("log", "an error is logged and training goes on, or ends the run")
    image: Any = option(None, "what to look at: file, folder, list of them, or how many of the validation images")
    images: Any = option(None, "the same as image")
    background: str | None = option(
        None, "the colour below transparent pixels of image files: white, #808080; else such files are refused"
    )
    limit: float | None = option(
        None, "seconds after which the analysis is stopped; in a distributed run 300 where not given"
    )

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(f"every is {self.every}: it must be at least 1")
        if any(moment < 1 for moment in self.fixed_iterations):
            raise ValueError(f"at is {self.at}: iterations are counted from 1")
        if self.limit is not None and not self.limit > 0:
            raise ValueError(f"limit is {self.limit}: it is a number of seconds above 0")
        if self.image is not None and self.images is not None:
            raise ValueError("image and images are the same key: give one of them")
        parse_share(self.budget)

    @property
    def fixed_iterations(self) -> list[int]:
        """The iterations of `at`, in order."""
        return sorted([self.at] if isinstance(self.at, int) else self.at or [])

    @property
    def wanted(self) -> Any:
        """The value of `image` or of `images`."""
        return self.image if self.image is not None else self.images

    @property
    def share(self) -> float:
        """The budget as a number; infinite for off."""
        return parse_share(self.budget)

    @property
    def is_silent(self) -> bool:
        """Whether the block names no moment."""
        return self.every is None and self.at is None and self.on_validation is None and self.at_end is None

    @property
    def watches_validation(self) -> bool:
        return bool(self.on_validation) or self.is_silent

    @property
    def watches_end(self) -> bool:
        return bool(self.at_end) or self.is_silent

    def described(self) -> str:
        """When the analysis is due, in words."""
        moments = [f"at {', '.join(map(str, self.fixed_iterations))}"] if self.at is not None else []
        moments += [f"every {self.every}"] if self.every is not None else []
        moments += ["after validations"] if self.watches_validation else []
        moments += ["at the end"] if self.watches_end else []
        return ", ".join(moments) or "never"

    def is_fixed(self, iteration: int) -> bool:
        return iteration in self.fixed_iterations

    def recurs(self, iteration: int) -> bool:
        return self.every is not None and iteration % self.every == 0

    def next_after(self, iteration: int) -> int | None:
        """The next iteration at which the analysis may be due, but for validations and the end."""
        moments = [moment for moment in self.fixed_iterations if moment > iteration]
        if self.every is not None:
            moments.append((iteration // self.every + 1) * self.every)
        return min(moments, default=None)


def parse_share(value: Any) -> float:
    """ "2%", 0.02 or "0.02" as 0.02; "off" as infinity."""
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() in ("off", "none", "no")):
        return math.inf
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    share = number / 100 if text.endswith("%") else number
    if not share > 0 or isinstance(value, bool):
        raise ValueError(f"budget is {value!r}: write a share of training time above 0, such as 2% or 0.02, or off")
    if not text.endswith("%") and share > 1:
        raise ValueError(f"budget is {value!r}: write {text}% or, as a share, {number / 100:g}")
    return share


@dataclass
class Budget:
    """Time spent on one analysis against its share of training time.

    A run is afforded if the share still holds after the expected cost. The expected cost is that of the most expensive
    of the last three runs; that of the first run is `expected`.
    """

    share: float
    expected: float = 0.0
    spent: float = 0.0
    last: list[float] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """Seconds that the next run is expected to take at most."""
        return _MARGIN * max(self.last) if self.last else self.expected

    def affords(self, training: float) -> bool:
        """Whether a run now would hold the share, after so many seconds of training without analyses."""
        return math.isinf(self.share) or self.share * training >= self.spent + self.cost

    def needs(self) -> float:
        """Seconds of training at which the next run is afforded."""
        return (self.spent + self.cost) / self.share

    def pay(self, seconds: float) -> None:
        """Add the cost of a run."""
        self.spent += seconds
        self.last = [*self.last[-2:], seconds]


class RunClock:
    """Seconds of training, without the time that analyses took, over all processes of a run."""

    def __init__(self) -> None:
        self.earlier = 0.0
        """Seconds of training in earlier processes of the run."""
        self.analysing = 0.0
        """Seconds that analyses took in this process."""
        self._started = 0.0

    def start(self) -> None:
        """Training begins."""
        self._started = time.perf_counter()

    @property
    def training(self) -> float:
        """Seconds of training so far."""
        return self.earlier + (time.perf_counter() - self._started if self._started else 0.0) - self.analysing
