"""Find the model of BasicSR that is built for training inside a function, and watch it.

While a search is on, the constructors of BasicSR's models report the models that they build.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from sr_hooks.adapters.basicsr import Attached
from sr_hooks.training.config import WatchPlan
from sr_hooks.training.distributed import stopping

__all__ = ["Planner", "model_classes", "searching"]

Planner = Callable[[Mapping[str, Any]], WatchPlan]
"""From the host's options to what is to be watched; raises SRHooksError for what is not understood."""


def model_classes() -> list[type]:
    """Every BaseModel of a BasicSR, or of a copy of it, that has been imported."""
    classes: dict[type, None] = {}
    for module in list(sys.modules.values()):
        cls = getattr(module, "__dict__", {}).get("BaseModel")
        if not isinstance(cls, type) or not callable(getattr(cls, "optimize_parameters", None)):
            continue
        if callable(getattr(cls, "feed_data", None)) or callable(getattr(cls, "feed_train_data", None)):
            classes[cls] = None
    return list(classes)


class _Search:
    """One search: what it has been told so far, and the watched model if there is one."""

    def __init__(self, planner: Planner, on_model: Callable[[], None]) -> None:
        self.planner, self.on_model = planner, on_model
        self.attached: Attached | None = None
        self.writers: list[Any] = []
        self._is_over = False

    def report(self, model: Any, options: Mapping[str, Any]) -> None:
        if self._is_over or not options.get("is_train", True):
            return
        self._is_over = True
        self.on_model()
        with stopping():
            plan = self.planner(options)
        if plan.analyses:
            self.attached = Attached(model, options, plan, self.writers)
        else:
            logging.getLogger("basicsr").info("sr_hooks: %s asks for no analysis, so nothing is watched", plan.where)


_searches: list[_Search] = []


@contextmanager
def searching(planner: Planner, on_model: Callable[[], None] = lambda: None) -> Iterator[_Search]:
    """Watch the first model that is built for training in the block; `on_model` is called when one is built.

    Of nested searches only the innermost is on.
    """
    search = _Search(planner, on_model)
    with ExitStack() as stack:
        for cls in model_classes():
            stack.enter_context(_reporting_models(cls))
        stack.enter_context(_reporting_writers())
        _searches.append(search)
        stack.callback(_searches.remove, search)
        try:
            yield search
            if search.attached is not None:
                search.attached.end()
        finally:
            if search.attached is not None:
                search.attached.close()


@contextmanager
def _reporting_models(cls: type) -> Iterator[None]:
    """For the block, each new instance of the class is reported to the innermost search."""
    original = cls.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def init(self: Any, opt: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        original(self, opt, *args, **kwargs)
        if _searches:
            _searches[-1].report(self, opt)

    cls.__init__ = init  # type: ignore[misc]
    try:
        yield
    finally:
        cls.__init__ = original  # type: ignore[misc]


@contextmanager
def _reporting_writers() -> Iterator[None]:
    """For the block, what `init_tb_logger` returns is kept by the innermost search, whichever module calls it."""
    functions = [
        (module, function)
        for module in list(sys.modules.values())
        if callable(function := getattr(module, "__dict__", {}).get("init_tb_logger"))
    ]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def init_tb_logger(*args: Any, **kwargs: Any) -> Any:
            writer = function(*args, **kwargs)
            if _searches and writer is not None and writer not in _searches[-1].writers:
                _searches[-1].writers.append(writer)
            return writer

        return init_tb_logger

    for module, function in functions:
        module.init_tb_logger = wrap(function)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, function in functions:
            module.init_tb_logger = function  # type: ignore[attr-defined]
