"""The base class of results: arrays, scalars, provenance and a verdict, saved whole or not at all, and loaded."""

from __future__ import annotations

import html
import json
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from sr_hooks.errors import ResultError
from sr_hooks.results.card import Card

__all__ = ["Result", "check_folder", "iteration_of", "read_result", "with_warnings", "write_file", "write_folder"]

FORMAT = 1
_FILE = "result.json"
_CARD = "card.json"
_log = logging.getLogger("sr_hooks")


def with_warnings(verdict: str, sentences: Sequence[str]) -> str:
    """A verdict that begins with these sentences, and that does not call the answer sound any more."""
    if not sentences:
        return verdict
    rest = re.sub(r"^sound\b[:;,]?\s*", "", verdict)
    return "; ".join([*sentences, rest] if rest else sentences)


@dataclass(repr=False)
class Result:
    """The result of an analysis.

    Attributes:
        analysis: the analysis's name.
        arrays: name to array; what they are stands in the analysis's own documentation.
        scalars: name to number, text, or nested lists and mappings of them.
        provenance: options, versions, network and its weights' SHA-256, inputs' SHA-256, seed, device, seconds.
        verdict: in words, whether the answer can be trusted and why.
        card: of the checks that `sr_hooks.check` made of it; None where none were.
    """

    analysis: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    verdict: str = ""
    card: Card | None = None

    def save(self, folder: str | Path, *, figure: bool = True) -> Path:
        """Write result.json, arrays.npz and, where matplotlib is installed, figure.png; with a card, that too.

        The folder appears whole or not at all. One that holds a result already is replaced; any other
        folder with something in it is refused.

        Raises:
            ResultError: the folder cannot be written, is a file, or holds something else.
        """

        def fill(part: Path) -> None:
            np.savez_compressed(part / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
            drawn = figure and self._draw(part / "figure.png")
            if self.card is not None:
                self.card.write(part / _CARD)
                if drawn:
                    self.card.figure().savefig(part / "card.png")
            record = {
                "format": FORMAT,
                "analysis": self.analysis,
                "verdict": self.verdict,
                "scalars": self.scalars,
                "provenance": self.provenance,
                "figure": "figure.png" if drawn else None,
            }
            (part / _FILE).write_text(
                json.dumps(record, indent=1, ensure_ascii=False, default=_plain), encoding="utf-8"
            )

        return write_folder(folder, fill)

    def figure(self) -> Any:
        """The analysis's figure of this result, a matplotlib Figure, or None where it draws none."""
        from sr_hooks.core import registry as plugins

        known = plugins.contributions("register_analyses")
        draw: Callable[[Result], Any] | None = getattr(known.get(self.analysis), "figure", None)
        return draw(self) if draw else None

    def _draw(self, path: Path) -> bool:
        from sr_hooks.core import registry as plugins

        try:
            figure = self.figure()
            if figure is None:
                return False
            figure.savefig(path)
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            _log.info("no figure: matplotlib is not installed (pip install 'sr_hooks[figures]')")
            return False
        except Exception as error:
            registry = plugins.registry()
            fault = registry.failure("register_analyses", self.analysis, "figure", error)
            if fault is None:
                raise
            registry.report(fault, error)  # the numbers are sound
            return False
        return True

    def headline(self) -> dict[str, Any]:
        """The few numbers that a table or a log line shows."""
        return {k: v for k, v in self.scalars.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={_short(v)}" for k, v in self.headline().items())
        return f"{type(self).__name__}({numbers}; {self.verdict})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(_short(v))}</td></tr>"
            for k, v in self.headline().items()
        )
        return f"{_figure_html(self)}<table>{rows}</table><p>{html.escape(self.verdict)}</p>"


def _figure_html(result: Result) -> str:
    import base64
    import io

    try:
        figure = result.figure()
    except ModuleNotFoundError:
        return ""
    if figure is None:
        return ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='{html.escape(result.analysis)}' src='data:image/png;base64,{data}'>"


def check_folder(folder: str | Path, *, marker: str = _FILE) -> Path:
    """Refuse early what `write_folder` would refuse, before anything costly is computed.

    A folder with something in it may be replaced only if it holds `marker`, which says that we wrote it.
    """
    folder = Path(folder)
    if folder.is_symlink() and not folder.exists():
        raise ResultError(f"cannot write to {folder}: it is a link to nothing")
    if folder.exists() and not folder.is_dir():
        raise ResultError(f"cannot write to {folder}: it is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / marker).is_file():
        raise ResultError(f"cannot write to {folder}: it holds other files; give a new or empty folder")
    above = folder.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise ResultError(f"cannot write to {folder}: {above} is a file, not a folder")
    writable = folder.absolute().parent if folder.exists() else above
    if not os.access(writable, os.W_OK | os.X_OK) or (folder.exists() and not os.access(folder, os.W_OK | os.X_OK)):
        raise ResultError(f"cannot write to {folder}: no permission to write there")
    return folder


def write_folder(folder: str | Path, fill: Callable[[Path], None], *, marker: str = _FILE) -> Path:
    """Fill a hidden folder beside `folder`, then rename it to `folder`; on any failure nothing is left behind."""
    folder = check_folder(folder, marker=marker)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise ResultError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        part.chmod(0o755)
        fill(part)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
            folder.replace(old / "was")
            part.replace(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            part.replace(folder)
    except OSError as error:
        raise ResultError(f"cannot write to {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a hidden file beside `path`, sync it to disk, then rename it to `path`.

    Raises:
        ResultError: the file cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ResultError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def read_result(folder: str | Path) -> Result:
    """The saved result of any analysis, as the analysis's own class where that is installed.

    Raises:
        ResultError: no result there, damaged, or of a newer format.
    """
    from sr_hooks.core import registry as plugins

    folder = Path(folder)
    if not (folder / _FILE).is_file():
        raise ResultError(f"no result in {folder}: there is no {_FILE}")
    try:
        record = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if record["format"] > FORMAT:
            raise ResultError(
                f"the result in {folder} was written by a newer sr_hooks (format {record['format']}); upgrade"
            )
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        kind = getattr(plugins.contributions("register_analyses").get(record["analysis"]), "result_type", Result)
        card = Card.read(folder / _CARD) if (folder / _CARD).is_file() else None
        return kind(record["analysis"], arrays, record["scalars"], record["provenance"], record["verdict"], card)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ResultError(f"the result in {folder} is damaged: {type(error).__name__}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def iteration_of(result: Result) -> int | None:
    """The iteration of a watched run that a result is of, or None."""
    return cast("int | None", result.provenance.get("watch", {}).get("iteration"))
