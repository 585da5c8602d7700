"""Find the model of BasicSR that is built for training inside a function, and watch it.

While a search is on, the constructors of BasicSR's models report the models that they build.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from sr_hooks.adapters.basicsr import BASE_NAMES, Attached, host_package
from sr_hooks.training.config import WatchPlan, setting
from sr_hooks.training.distributed import stopping
from sr_hooks.training.notices import leaving_alone, note

__all__ = ["Planner", "model_classes", "searching"]

Planner = Callable[[Any], WatchPlan]
"""From the host's options to what is to be watched; raises SRHooksError for what is not understood."""

_MODULE_NAMES = ("base", "base_model")
"""Modules in which the hosts define the base class of their models."""


def model_classes() -> list[type]:
    """Every base class of models of a BasicSR, of a copy of it, of traiNNer-redux or neosr that has been imported."""
    return list(dict.fromkeys(cls for module in list(sys.modules.values()) for cls in _classes_of(module)))


def _classes_of(module: Any) -> list[type]:
    values = getattr(module, "__dict__", {})
    return [
        cls
        for name in BASE_NAMES
        if isinstance(cls := values.get(name), type)
        and callable(getattr(cls, "optimize_parameters", None))
        and (callable(getattr(cls, "feed_data", None)) or callable(getattr(cls, "feed_train_data", None)))
    ]


class _Search:
    """One search: what it has been told so far, and the watched model if there is one."""

    def __init__(self, planner: Planner, on_model: Callable[[], None]) -> None:
        self.planner, self.on_model = planner, on_model
        self.attached: Attached | None = None
        self.writers: list[Any] = []
        self._is_over = False

    def report(self, model: Any, options: Any) -> None:
        if self._is_over or setting(options, "is_train") is False:
            return
        self._is_over = True
        self.on_model()
        with stopping():
            plan = self.planner(options)
        if plan.analyses:
            self.attached = Attached(model, options, plan, self.writers)
            return
        note(f"{plan.where} asks for no analysis", is_fault=False)
        logging.getLogger(host_package(model)).info(
            "sr_hooks: %s asks for no analysis, so nothing is watched", plan.where
        )


_searches: list[_Search] = []


@contextmanager
def searching(planner: Planner, on_model: Callable[[], None] = lambda: None) -> Iterator[_Search]:
    """Watch the first model that is built for training in the block; `on_model` is called when one is built.

    Of nested searches only the innermost is on.
    """
    search = _Search(planner, on_model)
    with ExitStack() as stack:
        known = model_classes()
        for cls in known:
            stack.enter_context(_reporting_models(cls))
        stack.enter_context(_reporting_writers())
        stack.enter_context(_reporting_later_classes(stack, known))
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
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if _searches:
            with leaving_alone(f"the model {type(self).__name__}"):
                options = args[0] if args else kwargs.get("opt", getattr(self, "opt", None))
                _searches[-1].report(self, options)

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


class _LateModules(importlib.abc.MetaPathFinder):
    """Sees the modules that are imported during a search, and finds none itself."""

    def __init__(self, imported: Callable[[ModuleType], None]) -> None:
        self.imported = imported

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.rpartition(".")[2] not in _MODULE_NAMES:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None and hasattr(spec.loader, "exec_module"):
                return self._announcing(spec)
        return None

    def _announcing(self, spec: Any) -> Any:
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(spec.loader).pop("exec_module", None)
            run(module)
            self.imported(module)

        with contextlib.suppress(AttributeError):  # a loader without attributes is left alone
            spec.loader.exec_module = exec_module
        return spec


@contextmanager
def _reporting_later_classes(stack: ExitStack, known: list[type]) -> Iterator[None]:
    """For the block, classes of models that are imported meanwhile report as well; the stack takes them off again."""

    def imported(module: ModuleType) -> None:
        for cls in _classes_of(module):
            if cls not in known and cls.__module__ == module.__name__:
                known.append(cls)
                stack.enter_context(_reporting_models(cls))

    finder = _LateModules(imported)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
