"""The answers about a window as HTML: of each network the patch, the map, the numbers and the verdict."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sr_hooks.analyses.lam.figure import common_zoom
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.explorer.scene import Answer, Question, Scene
from sr_hooks.figures.options import FigureOptions

__all__ = ["TEMPLATES", "answer_html", "line_html"]

TEMPLATES = Path(__file__).with_name("templates")
_INCHES, _POINTS, _DOTS = 2.15, 6.5, 300  # width, text and resolution of a map's figure


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def answer_html(scene: Scene, question: Question, answers: Sequence[Answer], figure: FigureOptions, key: str) -> str:
    """The answers side by side.

    Args:
        figure: options of the maps; with `zoom`, each map is drawn around the window, all of the same part.
        key: names the answers in the addresses of what can be downloaded.
    """
    zoomed = figure.zoom not in (None, False)
    if zoomed:
        figure = replace(figure, zoom=common_zoom([answer.result for answer in answers], figure))
    cards = [_card(answer, scene, figure, "zoom" if zoomed else "map") for answer in answers]
    words = question.window.as_tuple()
    template = _environment().get_template("answer.html")
    return template.render(cards=cards, window=words, question=question, key=key)


def _card(answer: Answer, scene: Scene, figure: FigureOptions, panel: str) -> dict[str, Any]:
    card: dict[str, Any] = {"name": answer.name, "error": answer.error, "result": answer.result}
    if answer.result is None:
        return card
    result = answer.result
    top, left, height, width = result.window
    patch = scene.pictures[answer.name][..., top : top + height, left : left + width]
    verdict = result.verdict
    return card | {
        "patch": scene.uri(answer.name, patch),
        "map": _map_uri(result, figure, panel),
        "numbers": _numbers(result),
        "is_sound": verdict.startswith("sound"),
    }


def _map_uri(result: LamResult, figure: FigureOptions, panel: str) -> str:
    """The map alone, as the figure options say; of a clip the whole figure, which has a map for each frame."""
    options = {"font_size": _POINTS} | figure.stated() | {"width": _INCHES, "title": "", "notes": False}
    if not result.is_clip:
        options["panels"] = (panel,)
    buffer = io.BytesIO()
    result.figure(**options).savefig(buffer, format="png", dpi=_DOTS, bbox_inches="tight", pad_inches=0.03)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _numbers(result: LamResult) -> list[tuple[str, str]]:
    """Names and values of the numbers beside the diffusion index."""
    numbers = [("effective pixels", f"{result.effective_pixels:.0f}")]
    if result.window_psnr is not None:
        numbers.append(("PSNR of the window", f"{result.window_psnr:.2f} dB"))
    numbers.append(("completeness gap", f"{100 * result.completeness_gap:.2g} %"))
    numbers.append(("gradients", str(result.steps)))
    return numbers


def line_html(message: str, *, is_error: bool = False) -> str:
    """One line for the page."""
    kind = ' class="error" role="alert"' if is_error else ""
    return f"<p{kind}>{html.escape(message)}</p>"
