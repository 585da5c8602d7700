"""Compose a figure of named panels: choose and order them, break them into rows for the width, add title and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_hooks.errors import OptionError, nearest
from sr_hooks.figures.finish import finish
from sr_hooks.figures.look import Look
from sr_hooks.figures.options import FigureOptions
from sr_hooks.figures.style import INK, new_figure

__all__ = ["Panel", "Slot", "compose", "open_axes"]

_BAR_BELOW = 2.2  # inches of a panel's width up to which its colour bar lies below


@dataclass(frozen=True)
class Panel:
    """One panel of a figure.

    Attributes:
        name: the name that the option `panels` uses.
        draw: draws the panel into a slot.
        aspect: height / width of what is drawn.
        least: inches of width that the panel needs; a narrower figure has more rows.
        weight: the share of its row's width, beside the other panels'.
        most: inches of height that the drawing has at most.
        extra: inches of height for labels and a colour bar below the drawing.
        starts_row: True for a panel that begins a new row.
        shown: False for a panel that is drawn only if the option `panels` names it.
    """

    name: str
    draw: Callable[[Slot], None]
    aspect: float = 1.0
    least: float = 1.3
    weight: float = 1.0
    most: float = 9.0
    extra: float = 0.0
    starts_row: bool = False
    shown: bool = True


class Slot:
    """The room of one panel: its axes, made at the first use, and the look."""

    def __init__(self, figure: Any, spec: Any, look: Look, width: float, axes: Any = None) -> None:
        self.figure, self.look, self.width = figure, look, width
        self._spec, self._axes = spec, axes

    @property
    def axes(self) -> Any:
        """One Axes over the whole slot."""
        if self._axes is None:
            self._axes = self.figure.add_subplot(self._spec)
        return self._axes

    def grid(self, rows: int, columns: int, **how: Any) -> np.ndarray:
        """(rows, columns) Axes inside of the slot."""
        made = np.empty((rows, columns), object)
        if self._axes is not None:  # axes of the user: parts of them
            self._axes.set_axis_off()
            for r, c in np.ndindex(rows, columns):
                made[r, c] = self._axes.inset_axes((c / columns, 1 - (r + 1) / rows, 0.94 / columns, 0.86 / rows))
            return made
        grid = self._spec.subgridspec(rows, columns, **how)
        for r, c in np.ndindex(rows, columns):
            made[r, c] = self.figure.add_subplot(grid[r, c])
        return made

    def captioned_grid(self, rows: int, columns: int, text: str) -> np.ndarray:
        """`grid`, with a text over the slot's width below it."""
        if self._axes is not None:
            return self.grid(rows, columns)
        letters = int(self.look.width * 72 / (self.look.small * 0.55))
        lines = textwrap.wrap(text, letters)
        parts = self._spec.subgridspec(2, 1, height_ratios=[rows * 4, 1.2 * len(lines)], hspace=0)
        below = self.figure.add_subplot(parts[1])
        below.set_axis_off()
        words = below.text(
            0.5, 1, "\n".join(lines), fontsize=self.look.small, color=INK, ha="center", va="top",
            transform=below.transAxes,
        )  # fmt: skip
        words.set_in_layout(False)
        self._spec = parts[0]
        return self.grid(rows, columns)

    def title(self, text: str, axes: Any = None) -> None:
        """Prepare the axes of an image: a title, a thin frame, no ticks."""
        axes = self.axes if axes is None else axes
        axes.set_title(text, fontsize=self.look.text, color=INK)
        axes.set_anchor("N")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)

    def bar(self, shown: Any, label: str, ticks: Sequence[float], axes: Any = None, *, below: bool = False) -> Any:
        """Draw a narrow colour bar: beside the image, from its upper edge on, or below if the panel is narrow."""
        below = below or self.width < _BAR_BELOW
        axes = self.axes if axes is None else axes
        how: dict[str, Any] = {"fraction": 0.046, "pad": 0.02, "panchor": False, "anchor": (0, 1)}
        if not isinstance(axes, (list, np.ndarray)) and axes.get_aspect() != "auto":  # as high as the image beside
            how["aspect"] = 20 * float(np.clip(np.ptp(axes.get_ylim()) / np.ptp(axes.get_xlim()), 0.25, 1))
        if below:
            how = {"location": "bottom", "fraction": 0.05, "pad": 0.03, "aspect": 25, "panchor": False}
        from matplotlib.cm import ScalarMappable

        opaque = ScalarMappable(shown.norm, shown.get_cmap())  # colours of an overlay without the image below
        bar = self.figure.colorbar(opaque, ax=axes, ticks=list(ticks), **how)
        bar.ax.minorticks_off()
        bar.ax.tick_params(labelsize=self.look.small, width=0.5, length=2)
        bar.set_label(label, fontsize=self.look.small, color=INK)
        bar.outline.set_linewidth(0.4)
        if self.look.scale != "log":
            (bar.ax.xaxis if below else bar.ax.yaxis).set_ticks(list(ticks), [f"{tick:g}" for tick in ticks])
        return bar


def compose(
    panels: Sequence[Panel],
    options: FigureOptions | None,
    *,
    title: str,
    notes: str,
    width: float,
) -> Any:
    """Draw panels into one figure, with a title above and notes below.

    Args:
        panels: in their usual order.
        options: of the figure; `panels`, `width`, `title`, `notes` and `axes` are followed here.
        title: the usual title.
        notes: the sentences below the panels: the verdict.
        width: the usual width in inches.

    Raises:
        OptionError: a name that no panel has, or as many axes as there are not panels.
    """
    options = options or FigureOptions()
    chosen = _chosen(panels, options.panels)
    look = Look(options, options.inches or width)
    if options.axes is not None:
        return _into(chosen, look, options, title, notes)
    rows = _rows(chosen, look.width)
    across = max(len(row) for row in rows)
    heights = [_height(row, look, across if _are_alike(chosen) else len(row)) for row in rows]
    lines = 0.25 + (len(notes) * look.small * 0.5 / 72 / look.width + 1) * look.small * 1.3 / 72 * (
        options.notes is not False
    )
    figure = new_figure(look.width, sum(heights) + lines)
    outer = figure.add_gridspec(len(rows), 1, height_ratios=heights)
    for number, row in enumerate(rows):
        empty = len(rows[0]) - len(row) if _are_alike(chosen) else 0  # the last row has columns as wide as the others
        weights = [*(panel.weight for panel in row), *[row[0].weight] * empty]
        if len(weights) == 1:  # axes of rows of one panel are aligned with each other
            row[0].draw(Slot(figure, outer[number], look, look.width))
            continue
        inner = outer[number].subgridspec(1, len(weights), width_ratios=weights)
        for column, panel in enumerate(row):
            panel.draw(Slot(figure, inner[column], look, look.width * panel.weight / sum(weights)))
    return finish(figure, options, title=title, notes=notes)


def _chosen(panels: Sequence[Panel], names: Sequence[str] | None) -> list[Panel]:
    if names is None:
        return [panel for panel in panels if panel.shown]
    known = {panel.name: panel for panel in panels}
    for name in names:
        if name not in known:
            raise OptionError(f"figure: no panel {name!r}; {nearest(name, known)}")
    return [known[name] for name in names]


def _into(panels: Sequence[Panel], look: Look, options: FigureOptions, title: str, notes: str) -> Any:
    axes = list(np.ravel(np.array(options.axes, dtype=object)))
    if len(axes) != len(panels):
        names = ", ".join(panel.name for panel in panels)
        raise OptionError(
            f"figure: axes has {len(axes)} Axes for {len(panels)} panels ({names}): give one for each, or panels=[...]"
        )
    for panel, own in zip(panels, axes, strict=True):
        figure = own.get_figure()
        panel.draw(Slot(figure, None, look, own.get_position().width * figure.get_figure(root=True).bbox.width, own))
    figure = axes[0].get_figure(root=True)
    figure.sr_hooks_notes = notes
    return figure


def _rows(panels: Sequence[Panel], width: float) -> list[list[Panel]]:
    """Break panels into rows, each as full as the least widths allow, then as even as possible."""
    rows: list[list[Panel]] = []
    for panel in panels:
        if rows and not panel.starts_row and sum(p.least for p in rows[-1]) + panel.least <= width:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    if len(rows) > 1 and _are_alike(panels) and not any(panel.starts_row for panel in panels):
        each = -(-len(panels) // len(rows))
        return [list(panels[i : i + each]) for i in range(0, len(panels), each)]
    return rows


def _are_alike(panels: Sequence[Panel]) -> bool:
    return len({(panel.least, panel.weight) for panel in panels}) == 1


def _share(panel: Panel, row: Sequence[Panel], width: float) -> float:
    return width * panel.weight / sum(other.weight for other in row)


def _height(row: Sequence[Panel], look: Look, across: int) -> float:
    part = len(row) / across
    drawn = max(min(_share(p, row, look.width) * part * 0.94 * p.aspect, p.most) + p.extra for p in row)
    return drawn + 3.2 * look.text / 72


def open_axes(axes: Any, look: Look) -> None:
    """Leave out the upper and right frame of a plot, and set the size of tick labels."""
    axes.tick_params(labelsize=look.small)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
