"""The events of a model of BasicSR, of a copy of it, of traiNNer-redux or of neosr as events of a watched run.

Such a model has net_g, feed_data and optimize_parameters. Its own methods are wrapped on the instance, so that no
class of the host is changed, and arguments that a host has added pass through.

An iteration is what the host's logs and checkpoints call one. With accumulated gradients the host calls
optimize_parameters several times an iteration: the analysis then runs after the call in which the optimizer stepped.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sr_hooks.adapters.loop import trains
from sr_hooks.errors import ImageError, NetworkError
from sr_hooks.networks.unwrap import unwrap
from sr_hooks.training.config import WatchPlan, setting
from sr_hooks.training.distributed import stopping
from sr_hooks.training.notices import leaving_alone
from sr_hooks.training.session import Session
from sr_hooks.training.watch_images import image_source

__all__ = ["BASE_NAMES", "Attached", "is_model"]

BASE_NAMES = ("BaseModel", "base")
"""Names of the class that all models of a host are derived from: in neosr it is `base`."""

_TOTALS = (("train", "total_iter"), ("train", "total_iters"), ("logger", "total_iter"))


def is_model(model: Any) -> bool:
    """Whether the object has what a model of BasicSR has: net_g and optimize_parameters."""
    return hasattr(model, "net_g") and callable(getattr(model, "optimize_parameters", None))


class Attached:
    """A watched model: each of its events is told to the session."""

    def __init__(self, model: Any, options: Any, plan: WatchPlan, writers: Sequence[Any] = ()) -> None:
        self.model, self.options, self.plan = model, options, plan
        self.session: Session | None = None
        self._accumulated = _whole(setting(options, "datasets", "train", "accumulate")) or 1  # neosr counts batches
        self._steps = 0  # of the optimizer of net_g
        self._untold: int | None = None  # an iteration in which that optimizer has not stepped
        self._handles: list[Any] = []
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
        if self.session is None:
            self._try_to_begin((_iteration(args, kwargs) or 1) - 1)
        return original(*args, **kwargs)

    def _optimize_parameters(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._unwrap("update_learning_rate")
        current = _iteration(args, kwargs)
        session = self.session or self._try_to_begin(self._done_before(original, current, args, kwargs))
        if session is None:
            return original(*args, **kwargs)
        iteration = session.iteration + 1 if current is None else current // self._accumulated
        if self._untold is not None and iteration > self._untold:
            self._tell()
        self._untold, steps = None, self._steps
        result = original(*args, **kwargs)
        if self._steps > steps or not self._handles:
            session.step(iteration)
        else:
            self._untold = iteration
        return result

    def _done_before(self, original: Any, current: int | None, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
        """How many iterations are done before this call: traiNNer-redux counts one as it applies the gradients."""
        try:
            applies = inspect.signature(original).bind(*args, **kwargs).arguments.get("apply_gradient", True)
        except (TypeError, ValueError):
            applies = True
        return max((current or 1) - bool(applies), 0) // self._accumulated

    def _tell(self) -> None:
        """Tell of an iteration without a step of net_g's optimizer: the next iteration or a validation begins."""
        if self.session is not None and self._untold is not None:
            self.session.step(self._untold)
            self._untold = None

    def _validation(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if hasattr(value, "add_scalar") and value not in self._writers:
                self._writers.append(value)
        self._tell()
        result = original(*args, **kwargs)
        if self.session is not None:
            self.session.validated()
        return result

    def _save(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._tell()
        if self.session is not None:
            self.session.saving()  # before the checkpoint, so that none is without its running sums
        result = original(*args, **kwargs)
        if self.session is not None and _iteration(args[1:], kwargs) == -1:
            self.session.end()
        return result

    # -- the session -------------------------------------------------------------------------------

    def _try_to_begin(self, done: int) -> Session | None:
        """The session; None, and nothing of ours left on the model, where the host is not understood."""
        with leaving_alone(f"the model {type(self.model).__name__}"):
            return self._begin(done)
        self.close()
        return None

    def _begin(self, done: int) -> Session:
        networks = {"raw": unwrap(self.model.net_g)}
        if getattr(self.model, "net_g_ema", None) is not None:
            networks["ema"] = unwrap(self.model.net_g_ema)
        options = self.options
        root = setting(options, "path", "experiments_root")
        totals = [setting(options, *names) for names in _TOTALS]
        seed = self.plan.seed if self.plan.seed is not None else setting(options, "manual_seed")
        session = Session(
            self.plan,
            networks,
            image_source(self.plan.base, self._validation_images if self._phases() else None),
            folder=Path(root) / "sr_hooks" if root else None,
            tensorboard=self._writer,
            log=logging.getLogger(host_package(self.model)).getChild("sr_hooks"),
            run=str(setting(options, "name") or "run"),
            seed=int(seed or 0),
            total=next((count for count in map(_whole, totals) if count), None),
        )
        with stopping():
            session.start(done)
            if session.wants_steps:
                session.attach(self._optimizer())
        self._handles = [optimizer.register_step_post_hook(self._stepped) for optimizer in self._optimizers()[:1]]
        self.session = session
        return session

    def _stepped(self, *_: Any) -> None:
        self._steps += 1

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizers that hold weights of net_g."""
        candidates = [getattr(self.model, "optimizer_g", None), *getattr(self.model, "optimizers", [])]
        module = unwrap(self.model.net_g)
        return [o for o in candidates if isinstance(o, torch.optim.Optimizer) and trains(o, module)]

    def _optimizer(self) -> torch.optim.Optimizer:
        for optimizer in self._optimizers():
            return optimizer
        raise NetworkError(f"no optimizer of {type(self.model).__name__} holds weights of its net_g")

    def _writer(self) -> Any:
        return next((writer for writer in self._writers if writer is not None), None)

    def _phases(self) -> list[Any]:
        datasets = setting(self.options, "datasets") or {}
        return [options for phase, options in datasets.items() if str(phase).split("_")[0] == "val"]

    def _validation_images(self, takes: str, count: int) -> tuple[list[torch.Tensor], list[str]]:
        key = "lq" if takes == "lr" else "gt"
        images: list[torch.Tensor] = []
        names: list[str] = []
        for options in self._phases():
            dataset, label = self._dataset(options), setting(options, "name")
            for index in _by_name(dataset)[: count - len(images)]:
                item = dataset[index]
                if key not in item:
                    raise ImageError(f"the validation set {label} has no {key} images: name some with `image`")
                images.append(item[key][None])
                path = item.get(f"{key}_path") or item.get("folder") or f"{label} {index}"
                names.append(Path(str(path)).name)
        return images, names

    def _dataset(self, options: Any) -> Any:
        package = host_package(self.model)
        data = importlib.import_module(f"{package}.data")
        build = getattr(data, "build_dataset", None) or getattr(data, "create_dataset", None)
        if build is None:
            raise ImageError(f"{package}.data builds no datasets: name the images with `image`")
        return build(copy.deepcopy(dict(options) if isinstance(options, Mapping) else options))

    def __enter__(self) -> Attached:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        self.close()

    def end(self) -> None:
        """Do what is due at the end: the function that trains has returned."""
        self._tell()
        if self.session is not None:
            self.session.end()

    def close(self) -> None:
        """Take our methods off the model, and close the session."""
        self._unwrap(*list(self._wrapped))
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self.session is not None:
            self.session.close()


def host_package(model: Any) -> str:
    """The package that the model's base class is from, e.g. "basicsr"; messages go to the logger of that name."""
    bases = [cls for cls in type(model).__mro__ if cls.__name__ in BASE_NAMES] or [type(model)]
    return bases[0].__module__.split(".models")[0]


def _whole(value: Any) -> int | None:
    """The number, where an option holds one."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


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
