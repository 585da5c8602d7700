"""`Explorer`: what happens at each event of the page, without the page: asked, drawn, uploaded, kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_hooks.core import registry as plugins
from sr_hooks.errors import OptionError, nearest
from sr_hooks.explorer.answer_page import answer_html, line_html
from sr_hooks.explorer.downloads import ShownAnswers
from sr_hooks.explorer.grid_file import keep_window
from sr_hooks.explorer.latest import LatestOnly
from sr_hooks.explorer.scene import Question, Scene, message_of
from sr_hooks.explorer.windows import of_mouse, of_text, resized
from sr_hooks.figures.options import FigureOptions, read_figure_options
from sr_hooks.images.image import read_image
from sr_hooks.images.windows import Window
from sr_hooks.networks.network import Network

__all__ = ["OVERLAYS", "Explorer", "Fields", "View"]

OVERLAYS = ("apart", "grey", "red")


@dataclass(frozen=True)
class Fields:
    """The fields of the page, as they stand at an event.

    Attributes:
        window: text "top, left, height, width".
        size: side of the window that a click asks for.
        shown: the network whose output is the picture.
        overlay, colormap, zoom: how maps are drawn, see `FigureOptions`; colormap "" is the usual one.
    """

    window: str = ""
    size: int = 32
    objective: str = "gradient"
    path: str = "blur"
    shown: str = ""
    overlay: str = "apart"
    colormap: str = ""
    zoom: bool = False


@dataclass(frozen=True)
class View:
    """What the page shows after an event. None leaves what is there.

    Attributes:
        answers: HTML.
        window: the window that is marked on the picture.
        message: HTML of the line above the answers, "" for none.
    """

    answers: str | None = None
    window: Window | None = None
    message: str = ""


@dataclass
class Explorer:
    """The networks and the image that the page begins with, and what its events do.

    Attributes:
        networks: name to network.
        scene: the first image, with the networks' outputs.
        grid: the file that windows are kept in.
        figure: options of all figures, where the page's fields do not state others.
    """

    networks: Mapping[str, Network]
    scene: Scene
    grid: Path = Path("grid.yml")
    figure: FigureOptions = field(default_factory=FigureOptions)
    latest: LatestOnly = field(default_factory=LatestOnly)
    shown: ShownAnswers = field(default_factory=ShownAnswers)

    def first_fields(self) -> Fields:
        """The fields of a new page: the liveliest window."""
        window = self.scene.liveliest()
        overlay, colormap = self.figure.overlay or "apart", self.figure.colormap or ""
        return Fields(
            window=text_of(window),
            size=window.height,
            shown=next(iter(self.networks)),
            overlay=overlay,
            colormap=colormap if isinstance(colormap, str) else "",
            zoom=bool(self.figure.zoom),
        )

    def objectives(self) -> list[str]:
        """Names of objectives, ours and those of plugins; `loss` where the scene has a ground truth."""
        return [*plugins.contributions("register_objectives"), *(["loss"] if self.scene.truth is not None else [])]

    def paths(self) -> list[str]:
        """Names of paths, ours and those of plugins."""
        return list(plugins.contributions("register_paths"))

    def picture(self, scene: Scene, fields: Fields) -> dict[str, Any]:
        """What the picture of the page needs: the image as a data URI, and its size in output pixels."""
        name = fields.shown if fields.shown in scene.pictures else next(iter(scene.pictures))
        height, width = scene.size
        return {"src": scene.uri(name, scene.pictures[name]), "name": name, "height": height, "width": width}

    def mouse(self, page: str, scene: Scene, fields: Fields, event: Mapping[str, Any]) -> View | None:
        """The answer about a clicked or dragged window; None where a newer event came before the end."""
        at = event.get("at") if isinstance(event, Mapping) else None
        at = float(at) if isinstance(at, (int, float)) and math.isfinite(at) else None
        return self._view(page, scene, fields, lambda: of_mouse(event, fields.size, *scene.size), at=at)

    def text(self, page: str, scene: Scene, fields: Fields) -> View | None:
        """The answer about the window that its field states; None where a newer event came before the end."""
        return self._view(page, scene, fields, lambda: of_text(fields.window, *scene.size))

    def size(self, page: str, scene: Scene, fields: Fields) -> View | None:
        """The answer about a window of another size around the same middle; None as above."""
        return self._view(
            page, scene, fields, lambda: resized(of_text(fields.window, *scene.size), fields.size, *scene.size)
        )

    def _view(
        self, page: str, scene: Scene, fields: Fields, make_window: Any, *, at: float | None = None
    ) -> View | None:
        def compute() -> View:
            window = make_window()
            question = Question(window, fields.objective.strip(), fields.path.strip())
            figure = self._figure(fields)
            answers = scene.answers(question)
            key = self.shown.add(answers, figure)
            return View(answer_html(scene, question, answers, figure, key), window)

        try:
            return self.latest(page, compute, at=at)
        except Exception as error:  # the page stays, and says what is wrong
            return View(message=line_html(message_of(error), is_error=True))

    def _figure(self, fields: Fields) -> FigureOptions:
        """The options of figures: the fields', over those that the page began with."""
        if fields.overlay not in OVERLAYS:
            raise OptionError(f"overlay {fields.overlay!r}; {nearest(fields.overlay, OVERLAYS)}")
        zoom = (self.figure.zoom or True) if fields.zoom else None
        stated = self.figure.stated() | {"overlay": fields.overlay, "colormap": fields.colormap or None, "zoom": zoom}
        return read_figure_options({k: v for k, v in stated.items() if v is not None}, where="figure")

    def load(self, file: str | Path | None, scene: Scene, *, hr: bool) -> tuple[Scene, str]:
        """The scene of an uploaded image, or of the same image as ground truth or input; and an error as HTML.

        The scene is the old one where the image cannot be used.
        """
        try:
            with self.latest.alone():
                if file is None:
                    return Scene(self.networks, scene.image, hr=hr, name=scene.name, file=scene.file), ""
                image = read_image(file, bands=next(iter(self.networks.values())).channels)
                return Scene(self.networks, image, hr=hr, name=Path(file).name), ""
        except Exception as error:  # the page stays, and says what is wrong
            return scene, line_html(message_of(error), is_error=True)

    def keep(self, scene: Scene, fields: Fields) -> str:
        """Keep the window for the grid; the line that says so, or why not, as HTML."""
        try:
            question = Question(of_text(fields.window, *scene.size), fields.objective.strip(), fields.path.strip())
            with self.latest.alone():
                return line_html(keep_window(self.grid, scene, question))
        except Exception as error:  # the page stays, and says what is wrong
            return line_html(message_of(error), is_error=True)


def text_of(window: Window) -> str:
    """A window as its field shows it: "top, left, height, width"."""
    return ", ".join(map(str, window.as_tuple()))
