"""The base class of results: arrays, scalars, provenance and a verdict, saved whole or not at all, and loaded."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from sr_hooks.core.options import with_options
from sr_hooks.core.text import one_line
from sr_hooks.errors import ResultError
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.shrink import showing_bands
from sr_hooks.files.regular_files import is_file
from sr_hooks.files.strict_json import restored, to_json
from sr_hooks.results.card import Card
from sr_hooks.results.display import html_table, numbers_line, picture_html, shorten
from sr_hooks.results.drawing import draw_figure, save_beside, taken_by
from sr_hooks.results.reading import digest_of, facts_of, read_arrays, read_record, write_arrays
from sr_hooks.results.writing import recover, write_folder

__all__ = ["RESULT_FILE", "Result", "iteration_of", "read_result", "with_warnings"]

FORMAT = 1
RESULT_FILE = "result.json"
_CARD = "card.json"
_LONGEST_VERDICT = 200  # characters, in the one line of a console
_TRIES = 20  # readings of a folder that another process replaces meanwhile
_log = logging.getLogger("sr_hooks")


def with_warnings(verdict: str, sentences: Sequence[str]) -> str:
    """A verdict that begins with these sentences, and that does not call the answer sound any more."""
    if not sentences:
        return verdict
    rest = re.sub(r"^sound\b[:;,]?\s*", "", verdict)
    return "; ".join([*sentences, rest] if rest else sentences)


@dataclass(repr=False)
class Result:
    """The result of an analysis: arrays, numbers, a verdict, and what is needed to compute them again.

    Attributes:
        analysis: the name of the analysis.
        arrays: name to array; the documentation of the analysis describes them.
        scalars: name to number, text, or nested lists and mappings of them.
        provenance: options, versions, network and SHA-256 of its weights, SHA-256 of the inputs, seed, device, seconds.
        verdict: in words, whether the answer can be trusted and why.
        card: the card that `sr_hooks.check` made of the result, or None.

    Examples:
        >>> import numpy as np, sr_hooks
        >>> result = sr_hooks.Result("residual", {"map": np.ones((4, 4))}, {"mean": 1.0}, {"seed": 0}, "sound")
        >>> folder = result.save("out/residual")
        >>> sorted(path.name for path in folder.iterdir())
        ['arrays.npz', 'result.json']
        >>> sr_hooks.load(folder).scalars
        {'mean': 1.0}
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
            write_arrays(part / "arrays.npz", self.arrays)
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
                "arrays": facts_of(self.arrays),
                "provenance": self.provenance,
                "figure": "figure.png" if drawn else None,
            }
            record["sha256"] = digest_of(record)
            (part / RESULT_FILE).write_text(to_json(record), encoding="utf-8")

        return write_folder(folder, fill, marker=RESULT_FILE)

    def contradictions(self) -> list[str]:
        """Sentences on numbers that do not follow from the arrays; `read_result` refuses a result that has any.

        An analysis's own class of result may override this method, to compute its numbers again.
        """
        return []

    @with_options(FigureOptions, draw_figure, where="figure")
    def figure(
        self,
        *,
        colormap: Any = None,
        scale: Literal["linear", "sqrt", "log"] | None = None,
        overlay: Literal["apart", "red", "grey"] | None = None,
        panels: Sequence[str] | None = None,
        crop: Sequence[int] | None = None,
        zoom: bool | Sequence[int] | None = None,
        columns: Literal["networks", "rows"] | None = None,
        width: float | Literal["single", "double"] | None = None,
        font_size: float | None = None,
        title: str | None = None,
        notes: bool | None = None,
        look: Literal["safe", "paper"] | None = None,
        axes: Any = None,
    ) -> Any:
        """Draw the analysis's figure of this result: a matplotlib Figure, or None if the analysis draws none.

        Its method `save("x.pdf")` writes PDF, SVG or PNG.

        Args:
            ...: the options.

        Raises:
            OptionError: an option does not fit.
        """
        raise NotImplementedError  # with_options calls draw_figure

    def figure_options(self) -> tuple[str, ...]:
        """The options that the figure of this result takes beside those that every figure takes."""
        from sr_hooks.core import registry as plugins

        kind = plugins.contributions("register_analyses").get(self.analysis)
        return () if kind is None else taken_by(kind)

    def painter(self) -> Callable[..., Any] | None:
        """The function that draws the figure of this result: the classmethod `figure` of its analysis."""
        from sr_hooks.core import registry as plugins

        known = plugins.contributions("register_analyses")
        figure = getattr(known.get(self.analysis), "figure", None)
        bands = (self.provenance.get("network") or {}).get("bands")
        if figure is None or bands is None:
            return figure

        @wraps(figure)
        def with_bands(*arguments: Any, **options: Any) -> Any:
            with showing_bands(bands):
                return figure(*arguments, **options)

        return with_bands

    def _draw(self, path: Path) -> bool:
        from sr_hooks.core import registry as plugins

        try:
            figure = self.figure()
            if figure is None:
                return False
            save_beside(figure, path, self.provenance)
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

    def answers(self) -> dict[str, Any]:
        """The numbers and short texts that a run's TensorBoard shows: what the analysis found out; the headline."""
        return self.headline()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({numbers_line(self.headline())}; {shorten(self.verdict, _LONGEST_VERDICT)})"

    def _repr_html_(self) -> str:
        numbers = html_table([{"": k, " ": v} for k, v in self.headline().items()], heads=False)
        card = "" if self.card is None else f"<p>{html.escape(self.card.overall)}</p>"
        return f"{picture_html(self.figure, self.analysis)}{numbers}<p>{html.escape(self.verdict)}</p>{card}"


def read_result(folder: str | Path) -> Result:
    """Load a saved result of any analysis: `sr_hooks.load`.

    Numbers that are not finite stand in result.json as the texts "NaN", "Infinity" and "-Infinity". In `scalars` they
    are numbers again.

    Args:
        folder: the folder that `save` wrote.

    Returns:
        The result, in the result class of its analysis if that analysis is installed; else a plain Result.

    Raises:
        ResultError: the folder holds no result, one of a newer format, or a damaged one. Damaged means: a file cannot
            be read or is cut off, arrays or numbers differ from the saved ones, or numbers do not follow from arrays.

    Examples:
        >>> import torch, sr_hooks
        >>> network = torch.nn.Conv2d(3, 3, 3, padding=1)
        >>> result = sr_hooks.lam(network, torch.rand(1, 3, 12, 12), window=(4, 4, 4))
        >>> folder = result.save("out/lam", figure=False)
        >>> sr_hooks.load("out/lam").diffusion_index == result.diffusion_index
        True
    """
    folder = Path(folder)
    for _ in range(_TRIES):
        source = recover(folder)
        if not is_file(source / RESULT_FILE):
            if recover(folder) == source:
                raise ResultError(f"no result in {folder}: there is no {RESULT_FILE}")
            continue
        before = _identity(source)
        try:
            return _read(source)
        except ResultError as error:
            raise ResultError(f"the result in {folder} {error}") from None
        except Exception as error:
            if _identity(source) == before:
                kind = type(error).__name__
                raise ResultError(f"the result in {folder} is damaged: {kind}: {one_line(str(error), 300)}") from None
    raise ResultError(f"the result in {folder} cannot be read: another process replaces it all the time")


def _identity(folder: Path) -> tuple[int, int]:
    """The identity of a folder: another one after another process has replaced it."""
    try:
        status = folder.stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_ctime_ns  # the number of a folder that was removed is used again


def _read(folder: Path) -> Result:
    from sr_hooks.core import registry as plugins

    newer = read_record(folder / RESULT_FILE, {"format": int})["format"]
    if newer > FORMAT:
        raise ResultError(f"was written by a newer sr_hooks (format {newer}); upgrade")
    kinds = {"analysis": str, "scalars": dict, "provenance": dict, "verdict": str}
    record = read_record(folder / RESULT_FILE, kinds)
    facts = record.get("arrays")
    if facts is not None and record.get("sha256") != digest_of(record):
        raise ValueError(f"{RESULT_FILE} was changed after it was written")
    arrays = read_arrays(folder / "arrays.npz", facts)
    card = Card.read(folder / _CARD) if (folder / _CARD).exists() else None
    kind = getattr(plugins.contributions("register_analyses").get(record["analysis"]), "result_type", Result)
    scalars = restored(record["scalars"])
    result = cast("Result", kind(record["analysis"], arrays, scalars, record["provenance"], record["verdict"], card))
    contradictions = result.contradictions()
    if contradictions:
        raise ValueError("; ".join(contradictions))
    return result


def iteration_of(result: Result) -> int | None:
    """The iteration of a watched run that a result is of, or None."""
    return cast("int | None", result.provenance.get("watch", {}).get("iteration"))
