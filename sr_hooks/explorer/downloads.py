"""What the page shows, as files: a figure as PNG or PDF, and all results with their figures in one zip archive."""

from __future__ import annotations

import io
import re
import secrets
import tempfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.errors import ResultError
from sr_hooks.explorer.scene import Answer
from sr_hooks.figures.options import FigureOptions
from sr_hooks.results.drawing import set_options

__all__ = ["Download", "ShownAnswers"]

_REMEMBERED = 32  # answers


class Download(NamedTuple):
    """A file: its name and its bytes."""

    name: str
    data: bytes


class ShownAnswers:
    """The answers that pages show or showed lately, by a key that cannot be guessed."""

    def __init__(self) -> None:
        self._shown: OrderedDict[str, tuple[list[Answer], FigureOptions]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, answers: Sequence[Answer], figure: FigureOptions) -> str:
        """Remember answers with the options of their figures; the key by which they are found."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._shown[key] = list(answers), figure
            while len(self._shown) > _REMEMBERED:
                self._shown.popitem(last=False)
        return key

    def file(self, key: str, name: str) -> Download:
        """The file of a name: "all.zip", or "0.png" and "0.pdf" of the first network, and so on.

        Raises:
            ResultError: the answers are forgotten, or have no such file.
        """
        with self._lock:
            shown = self._shown.get(key)
        if shown is None:
            raise ResultError("these answers are not remembered any more: ask for the window again")
        answers, figure = shown
        if name == "all.zip":
            return Download("explored.zip", _archive(answers, figure))
        number, _, kind = name.partition(".")
        result = answers[int(number)].result if number.isdecimal() and int(number) < len(answers) else None
        if result is None or kind not in ("png", "pdf"):
            raise ResultError(f"there is no file {name!r} of these answers")
        return Download(f"lam_{_file_name(answers[int(number)].name)}.{kind}", _figure(result, figure, kind))


def _figure(result: LamResult, figure: FigureOptions, kind: str) -> bytes:
    """The whole figure, with all panels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"figure.{kind}"
        result.figure(**figure.stated()).save(file)
        return file.read_bytes()


def _archive(answers: Sequence[Answer], figure: FigureOptions) -> bytes:
    """A folder for each result, as `Result.save` writes it, with the figure as PDF too."""
    buffer = io.BytesIO()
    names: list[str] = []
    with tempfile.TemporaryDirectory() as text, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = Path(text)
        for number, answer in enumerate(answers):
            if answer.result is None:
                continue
            name = _file_name(answer.name)
            name = f"{name}_{number}" if name in names else name
            names.append(name)
            result = replace(answer.result, provenance=dict(answer.result.provenance))
            set_options(result, figure)
            result.save(folder / name)
            result.figure(**figure.stated()).save(folder / name / "figure.pdf")
            for file in sorted((folder / name).iterdir()):
                archive.write(file, file.relative_to(folder))
    return buffer.getvalue()


def _file_name(name: str) -> str:
    """A name of a network as a part of a file's name on every system."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:80] or "network"
