"""What all figures share: their options, panels, views of images and maps, and the style.

Everything is imported at its first use, so that the flags of a command cost no torch.
"""

from typing import TYPE_CHECKING

from sr_hooks.core.public_names import lazy_names

if TYPE_CHECKING:
    from sr_hooks.figures import style
    from sr_hooks.figures.look import Look
    from sr_hooks.figures.map_view import MapView, draw_map
    from sr_hooks.figures.options import COLUMN_WIDTHS, LEAST_POINTS, MAP_OPTIONS, FigureOptions
    from sr_hooks.figures.panels import Panel, Slot, compose, open_axes

__all__ = [
    "COLUMN_WIDTHS",
    "LEAST_POINTS",
    "MAP_OPTIONS",
    "FigureOptions",
    "Look",
    "MapView",
    "Panel",
    "Slot",
    "compose",
    "draw_map",
    "open_axes",
    "style",
]

_SOURCES = {
    "look": ("Look",),
    "map_view": ("MapView", "draw_map"),
    "options": ("COLUMN_WIDTHS", "LEAST_POINTS", "MAP_OPTIONS", "FigureOptions"),
    "panels": ("Panel", "Slot", "compose", "open_axes"),
}


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # else the type checker would let every name pass
    __getattr__ = lazy_names(
        globals(), {name: f"sr_hooks.figures.{module}:{name}" for module, names in _SOURCES.items() for name in names}
    )
