"""Where the results of a watched run go: a folder with an index, TensorBoard, the log, and the sinks of plugins."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sr_hooks.core import registry as plugins
from sr_hooks.core.text import cell, label
from sr_hooks.errors import SRHooksError, is_stop
from sr_hooks.figures.style import pixels
from sr_hooks.files.regular_files import is_disk_full
from sr_hooks.hookspecs import hookimpl
from sr_hooks.results.result import Result
from sr_hooks.results.run_index import RunIndex

__all__ = ["FolderSink", "LogSink", "Sink", "SinkContext", "Sinks", "TensorBoardSink"]

MAX_ERRORS = 3


@dataclass(frozen=True)
class SinkContext:
    """What a sink may know of the run.

    Attributes:
        index: the run's index, with its folder; None where nothing is written to disk.
        tensorboard: gives the run's SummaryWriter, or None where it has none (as yet).
        log: the run's logger.
        run: the run's name.
    """

    index: RunIndex | None
    tensorboard: Callable[[], Any]
    log: logging.Logger
    run: str


class Sink(ABC):
    """Base of sinks. A plugin's `register_sinks` gives name to class; an option file then says `sinks: [folder, name]`.

    A sink is called in one process only, rank 0. A sink that raises is logged, and disabled after its third error.
    """

    def __init__(self, context: SinkContext) -> None:
        self.context = context

    @abstractmethod
    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        """Take a result. `folder` is its folder in the run, such as "5000/lam" or "5000/lam/0"."""

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """The run has ended."""


class Sinks:
    """The sinks of a run. An error of a sink is logged; after its third error the sink is disabled."""

    def __init__(self) -> None:
        self._open: list[tuple[str, Sink]] = []
        self._errors: dict[str, int] = {}
        self._log = logging.getLogger("sr_hooks")

    def open(self, names: Sequence[str], context: SinkContext) -> None:
        """Open the registered sinks of these names, in order of registration."""
        self._log = context.log
        for name, make in plugins.contributions("register_sinks").items():
            if name in names:
                with self._isolated(name, "opening"):
                    self._open.append((name, make(context)))

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        """Hand a result to each sink."""
        for name, sink in self._open:
            if self._errors.get(name, 0) < MAX_ERRORS:
                with self._isolated(name, folder):
                    sink.write(result, iteration=iteration, folder=folder)

    def close(self) -> None:
        """Close all sinks; a second call does nothing."""
        closing, self._open = self._open, []
        for name, sink in closing:
            with self._isolated(name, "closing"):
                sink.close()

    @contextmanager
    def _isolated(self, name: str, doing: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if is_stop(error):
                raise
            self._errors[name] = count = self._errors.get(name, 0) + 1
            disabled = f"; disabled after {MAX_ERRORS} errors" if count >= MAX_ERRORS else ""
            kind = type(error).__name__
            fault = plugins.registry().failure("register_sinks", name, f"sink {name}, {doing}", error)
            message = fault or f"the sink {name} failed at {doing}: {kind}: {error}"
            self._log.error("sr_hooks: %s%s", message, disabled)


class FolderSink(Sink):
    """`<folder>/<iteration>/<analysis>/` with result.json, arrays.npz and figure.png, and an index of them all.

    A full disk costs the results that find no room, each with a line in the log. The next result is tried again.
    """

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        index = self.context.index
        if index is None:
            return
        listed = list(index.entries)
        try:
            self._write(index, result, iteration, folder)
        except SRHooksError as error:
            if not is_disk_full(error):
                raise
            if (index.folder / folder).is_dir() and index.entries != listed:
                index.entries = listed  # what is there is whole: the earlier result, or this one
            self.context.log.error("sr_hooks: %s is not saved: %s; the next result is tried again", folder, error)

    def _write(self, index: RunIndex, result: Result, iteration: int, folder: str) -> None:
        index.remove(folder)
        self._save(result, index.folder / folder)
        index.add(
            {
                "iteration": iteration,
                "analysis": result.analysis,
                "folder": folder,
                "network": result.provenance.get("watch", {}).get("network"),
                "seconds": result.provenance.get("seconds"),
                "headline": _numbers(result),
                "verdict": result.verdict,
            }
        )

    def _save(self, result: Result, path: Path) -> None:
        try:
            result.save(path)
        except (SRHooksError, OSError):
            raise
        except BaseException as error:  # in drawing: the numbers are sound
            if is_stop(error):
                raise
            result.save(path, figure=False)
            kind = type(error).__name__
            self.context.log.warning("sr_hooks: no figure of %s: %s: %s", result.analysis, kind, error)


class TensorBoardSink(Sink):
    """The answers `sr_hooks/<analysis>/<name>` and the figure, into the run's own event file, and so into wandb.

    A number is a scalar; a text, such as a layer's name, is a text where the writer takes texts.
    """

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        writer = self.context.tensorboard()
        if writer is None:
            return
        tag = "sr_hooks/" + "/".join(folder.split("/")[1:])
        answers = result.answers()
        for name, value in _finite(answers).items():
            writer.add_scalar(f"{tag}/{name}", value, iteration)
        for name, text in answers.items():
            if isinstance(text, str) and hasattr(writer, "add_text"):
                writer.add_text(f"{tag}/{name}", text, iteration)
        image = self._picture(result, folder)
        if image is not None:
            writer.add_image(f"{tag}/figure", image, iteration, dataformats="HWC")
        writer.flush()

    def _picture(self, result: Result, folder: str) -> np.ndarray | None:
        """The figure that the folder sink drew, or one that is drawn now."""
        if self.context.index is not None:
            path = self.context.index.folder / folder / "figure.png"
            drawn = cv2.imread(str(path)) if path.is_file() else None
            if drawn is not None:
                return drawn[:, :, ::-1].copy()
        try:
            figure = result.figure()
        except BaseException as error:
            if is_stop(error):
                raise
            return None  # no matplotlib, or a plugin that cannot draw: the scalars are there
        return None if figure is None else pixels(figure)


class LogSink(Sink):
    """One line a result."""

    def write(self, result: Result, *, iteration: int, folder: str) -> None:
        numbers = ", ".join(f"{label(name)} {cell(value)}" for name, value in _numbers(result).items())
        which = result.provenance.get("watch", {}).get("network", "")
        line = f"{numbers or 'no numbers'}; {result.verdict}".rstrip("; ")
        self.context.log.info("sr_hooks: %s (%s): %s", _called(folder), which, line)


def _called(folder: str) -> str:
    iteration, _, name = folder.partition("/")
    return f"{name} at iteration {iteration}"


def _numbers(result: Result) -> dict[str, float]:
    """The finite numbers of the result's headline."""
    return _finite(result.headline())


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among values: JSON and TensorBoard have no others."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


@hookimpl
def register_sinks() -> Mapping[str, Callable[..., Any]]:
    return {"folder": FolderSink, "tensorboard": TensorBoardSink, "log": LogSink}
