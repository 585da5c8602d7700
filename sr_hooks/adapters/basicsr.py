"""The events of a BasicSR model (from PyPI, its master or a vendored copy) as events of a watched run.

A model of BasicSR has net_g, feed_data and optimize_parameters. Its own methods are wrapped on the instance, so that no
class of BasicSR is changed, and arguments that a vendored copy has added pass through.
"""

from __future__ import annotations

import copy
import functools
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.config import WatchPlan
from sr_hooks.training.distributed import stopping
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

__all__ = ["Attached", "is_model"]


def is_model(model: Any) -> bool:
    """Whether the object has what a model of BasicSR has: net_g and optimize_parameters."""
    return hasattr(model, "net_g") and callable(getattr(model, "optimize_parameters", None))


class Attached:
    """A watched model: each of its events is told to the session."""

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
        """The first event of BasicSR's loop: all is built and, on resume, loaded; nothing is trained yet."""
        self._unwrap("update_learning_rate")
        self._begin(_iteration(args, kwargs))
        return original(*args, **kwargs)

    def _optimize_parameters(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        session = self.session or self._begin(_iteration(args, kwargs))
        result = original(*args, **kwargs)
        iteration = _iteration(args, kwargs)
        session.step(session.iteration + 1 if iteration is None else iteration)
        return result

    def _validation(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if hasattr(value, "add_scalar") and value not in self._writers:
                self._writers.append(value)
        result = original(*args, **kwargs)
        if self.session is not None:
            self.session.validated()
        return result

    def _save(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.session is not None:
            self.session.saving()  # before the checkpoint, so that none is without its running sums
        result = original(*args, **kwargs)
        if self.session is not None and _iteration(args[1:], kwargs) == -1:
            self.session.end()
        return result

    # -- the session -------------------------------------------------------------------------------

    def _begin(self, next_iteration: int | None) -> Session:
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
            session.start(next_iteration - 1 if next_iteration else 0)
            if session.wants_steps:
                session.attach(self._optimizer())
        self.session = session
        return session

    def _optimizer(self) -> torch.optim.Optimizer:
        own_weights = {id(p) for p in unwrap(self.model.net_g).parameters()}
        candidates = [getattr(self.model, "optimizer_g", None), *getattr(self.model, "optimizers", [])]
        for optimizer in candidates:
            if optimizer is not None and any(id(p) in own_weights for g in optimizer.param_groups for p in g["params"]):
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
                path = item.get(f"{key}_path") or item.get("folder") or f"{label} {index}"
                names.append(Path(str(path)).name)
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
        """Do what is due at the end: the function that trains has returned."""
        if self.session is not None:
            self.session.end()

    def close(self) -> None:
        """Take our methods off the model, and close the session."""
        self._unwrap(*list(self._wrapped))
        if self.session is not None:
            self.session.close()


def _by_name(dataset: Any) -> list[int]:
    """A dataset's indices in the order of its file names: BasicSR lists folders in the file system's order."""
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
