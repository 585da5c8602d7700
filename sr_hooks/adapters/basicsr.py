"""BasicSR, from PyPI, its master, and vendored copies: a model that has net_g, feed_data and optimize_parameters.

While a hunt is on, the first model that is built for training is watched: its own methods are wrapped on the
instance, so that no class of BasicSR is changed for longer than the hunt, and whatever arguments a vendored copy
has added pass through.
"""

from __future__ import annotations

import copy
import functools
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.config import WatchPlan
from sr_hooks.training.distributed import stopping
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

__all__ = ["Attached", "Planner", "hunting", "is_model", "model_classes"]

Planner = Callable[[Mapping[str, Any]], WatchPlan]
"""From the host's options to what is to be watched; raises SRHooksError for what is not understood."""


def is_model(thing: Any) -> bool:
    """Whether it is, to all appearances, a model of BasicSR."""
    return hasattr(thing, "net_g") and callable(getattr(thing, "optimize_parameters", None))


def model_classes() -> list[type]:
    """Every BaseModel of a BasicSR, or of a copy of it, that has been imported."""
    found: dict[type, None] = {}
    for module in list(sys.modules.values()):
        cls = getattr(module, "__dict__", {}).get("BaseModel")
        if not isinstance(cls, type) or not callable(getattr(cls, "optimize_parameters", None)):
            continue
        if callable(getattr(cls, "feed_data", None)) or callable(getattr(cls, "feed_train_data", None)):
            found[cls] = None
    return list(found)


class Attached:
    """A model that is watched: its events become a session's."""

    def __init__(self, model: Any, options: Mapping[str, Any], plan: WatchPlan, writers: Sequence[Any] = ()) -> None:
        self.model, self.options, self.plan = model, options, plan
        self.session: Session | None = None
        self._writers = list(writers)
        self._wrapped: list[str] = []
        for name in ("update_learning_rate", "optimize_parameters", "validation", "save"):
            if callable(getattr(model, name, None)):
                self._wrap(name, getattr(self, f"_{name}"))

    def _wrap(self, name: str, around: Callable[..., Any]) -> None:
        original = getattr(self.model, name)

        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(self.model, name, method)
        self._wrapped.append(name)

    def _unwrap(self, *names: str) -> None:
        for name in names:
            if name in self._wrapped:
                self._wrapped.remove(name)
                vars(self.model).pop(name, None)

    # -- the host's events -------------------------------------------------------------------------

    def _update_learning_rate(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The first event of every BasicSR's loop: all is built and, on resume, loaded; nothing is trained yet."""
        self._unwrap("update_learning_rate")
        self._begin(_iteration(args, kwargs))
        return original(*args, **kwargs)

    def _optimize_parameters(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        session = self.session or self._begin(_iteration(args, kwargs))
        answer = original(*args, **kwargs)
        iteration = _iteration(args, kwargs)
        session.step(session.iteration + 1 if iteration is None else iteration)
        return answer

    def _validation(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if hasattr(value, "add_scalar") and value not in self._writers:
                self._writers.append(value)
        answer = original(*args, **kwargs)
        if self.session is not None:
            self.session.validated()
        return answer

    def _save(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.session is not None:
            self.session.saving()  # first, so that a checkpoint without its running sums cannot be
        answer = original(*args, **kwargs)
        if self.session is not None and _iteration(args[1:], kwargs) == -1:
            self.session.end()
        return answer

    # -- the session -------------------------------------------------------------------------------

    def _begin(self, coming: int | None) -> Session:
        networks = {"raw": unwrap(self.model.net_g)}
        if getattr(self.model, "net_g_ema", None) is not None:
            networks["ema"] = unwrap(self.model.net_g_ema)
        options = self.options
        root = (options.get("path") or {}).get("experiments_root")
        train = options.get("train") or {}
        seed = self.plan.seed if self.plan.seed is not None else options.get("manual_seed")
        session = Session(
            self.plan,
            networks,
            image_source(self.plan.base, self._validation_images if self._phases() else None),
            folder=Path(root) / "sr_hooks" if root else None,
            tensorboard=self._writer,
            log=logging.getLogger("basicsr").getChild("sr_hooks"),
            run=str(options.get("name", "run")),
            seed=int(seed or 0),
            total=int(train.get("total_iter") or train.get("total_iters") or 0) or None,
        )
        with stopping():
            session.start(coming - 1 if coming else 0)
            if session.wants_steps:
                session.attach(self._optimizer())
        self.session = session
        return session

    def _optimizer(self) -> torch.optim.Optimizer:
        mine = {id(p) for p in unwrap(self.model.net_g).parameters()}
        known = [getattr(self.model, "optimizer_g", None), *getattr(self.model, "optimizers", [])]
        for optimizer in known:
            if optimizer is not None and any(id(p) in mine for g in optimizer.param_groups for p in g["params"]):
                return cast("torch.optim.Optimizer", optimizer)
        raise NetworkError(f"no optimizer of {type(self.model).__name__} holds weights of its net_g")

    def _writer(self) -> Any:
        return next((writer for writer in self._writers if writer is not None), None)

    def _phases(self) -> list[Mapping[str, Any]]:
        datasets = self.options.get("datasets") or {}
        return [options for phase, options in datasets.items() if str(phase).split("_")[0] == "val"]

    def _validation_images(self, takes: str, count: int) -> tuple[list[torch.Tensor], list[str]]:
        key = "lq" if takes == "lr" else "gt"
        images: list[torch.Tensor] = []
        names: list[str] = []
        for options in self._phases():
            dataset, label = self._dataset(options), options.get("name")
            for index in _by_name(dataset)[: count - len(images)]:
                item = dataset[index]
                if key not in item:
                    raise ImageError(f"the validation set {label} has no {key} images: name some with `image`")
                images.append(item[key][None])
                said = item.get(f"{key}_path") or item.get("folder") or f"{label} {index}"
                names.append(Path(str(said)).name)
        return images, names

    def _dataset(self, options: Mapping[str, Any]) -> Any:
        package = next(c.__module__ for c in type(self.model).__mro__ if c.__name__ == "BaseModel").split(".models")[0]
        data = importlib.import_module(f"{package}.data")
        build = getattr(data, "build_dataset", None) or getattr(data, "create_dataset", None)
        if build is None:
            raise ImageError(f"{package}.data builds no datasets: name the images with `image`")
        return build(copy.deepcopy(dict(options)))

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        self.close()

    def end(self) -> None:
        """The function that trains has returned."""
        if self.session is not None:
            self.session.end()

    def close(self) -> None:
        """Leave the model as it was."""
        self._unwrap(*list(self._wrapped))
        if self.session is not None:
            self.session.close()


def _by_name(dataset: Any) -> list[int]:
    """Its indices in the order of its files' names: BasicSR lists folders as the file system does, in any order."""
    paths = getattr(dataset, "paths", None)
    indices = list(range(len(dataset)))
    if isinstance(paths, list) and len(paths) == len(indices):
        indices.sort(key=lambda index: str(paths[index]))
    return indices


def _iteration(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
    """The current iteration among a method's arguments, wherever the copy of BasicSR puts it."""
    for value in (kwargs.get("current_iter"), *args):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


class _Hunt:
    """What a hunt has met so far."""

    def __init__(self, planner: Planner, met: Callable[[], None]) -> None:
        self.planner, self.met = planner, met
        self.attached: Attached | None = None
        self.writers: list[Any] = []
        self._is_over = False

    def model(self, model: Any, options: Mapping[str, Any]) -> None:
        if self._is_over or not options.get("is_train", True):
            return
        self._is_over = True
        self.met()
        with stopping():
            plan = self.planner(options)
        if plan.analyses:
            self.attached = Attached(model, options, plan, self.writers)
        else:
            logging.getLogger("basicsr").info("sr_hooks: %s asks for no analysis, so nothing is watched", plan.where)


_hunts: list[_Hunt] = []


@contextmanager
def hunting(planner: Planner, met: Callable[[], None] = lambda: None) -> Iterator[_Hunt]:
    """Watch the first model that is built for training inside; `met` is called when it is.

    Of nested hunts only the innermost is on.
    """
    hunt = _Hunt(planner, met)
    with ExitStack() as stack:
        for cls in model_classes():
            stack.enter_context(_telling(cls))
        stack.enter_context(_writers())
        _hunts.append(hunt)
        stack.callback(_hunts.remove, hunt)
        try:
            yield hunt
            if hunt.attached is not None:
                hunt.attached.end()
        finally:
            if hunt.attached is not None:
                hunt.attached.close()


@contextmanager
def _telling(cls: type) -> Iterator[None]:
    """Its instances tell the innermost hunt that they are being built."""
    original = cls.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def init(self: Any, opt: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        original(self, opt, *args, **kwargs)
        if _hunts:
            _hunts[-1].model(self, opt)

    cls.__init__ = init  # type: ignore[misc]
    try:
        yield
    finally:
        cls.__init__ = original  # type: ignore[misc]


@contextmanager
def _writers() -> Iterator[None]:
    """Remember what `init_tb_logger` returns, in whichever module it has been imported by name."""
    found = [
        (module, function)
        for module in list(sys.modules.values())
        if callable(function := getattr(module, "__dict__", {}).get("init_tb_logger"))
    ]

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def init_tb_logger(*args: Any, **kwargs: Any) -> Any:
            writer = function(*args, **kwargs)
            if _hunts and writer is not None and writer not in _hunts[-1].writers:
                _hunts[-1].writers.append(writer)
            return writer

        return init_tb_logger

    for module, function in found:
        module.init_tb_logger = wrap(function)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, function in found:
            module.init_tb_logger = function  # type: ignore[attr-defined]
