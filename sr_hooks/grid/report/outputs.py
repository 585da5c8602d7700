"""The output files of a grid as tasks: tables, HTML report, and each page of the figure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path

from sr_hooks.core.options import as_plain
from sr_hooks.figures.shrink import showing_bands
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import GridPlan
from sr_hooks.grid.report.formats import as_latex, as_markdown
from sr_hooks.grid.report.rows import GridRows
from sr_hooks.grid.report.tables import as_csv, make_tables
from sr_hooks.grid.report.warnings import ComparisonWarning, comparison_warnings
from sr_hooks.grid.work.tasks import Task
from sr_hooks.results.writing import write_file
from sr_hooks.version import __version__

__all__ = ["Outputs"]

_ORDER = (".pdf", ".tex", ".txt", ".csv", ".md")  # of the links of the report


class Outputs:
    """Writes the output files once all cells are settled, and again only if cells, names or failures have changed."""

    def __init__(self, plan: GridPlan, folder: GridFolder, since: float) -> None:
        self.plan, self.folder, self.since = plan, folder, since

    @cached_property
    def rows(self) -> GridRows:
        return GridRows(self.plan, self.folder, self.since)

    @cached_property
    def warnings(self) -> list[ComparisonWarning]:
        return comparison_warnings(self.rows, self.overlaps)

    @cached_property
    def overlaps(self) -> dict[str, tuple[str, ...]]:
        keys = {cell.key for cell in self.plan.cells}
        return {key: names for key, names in self.folder.overlaps().items() if key in keys}

    def tasks(self) -> list[Task]:
        """One task for each output; the report comes last."""
        return [*self.linked(), self.report()]

    def report(self) -> Task:
        """The report. It links to the files that there are, so it must run after the tasks of `linked`."""
        return self._task("report", ["report.html"], self._report, lambda: self._content(*self.beside()))

    def beside(self) -> list[str]:
        """Names of the files that the report links to: the figure's pages, their notes, the tables."""
        names = [name for files, _ in self._makers().values() for name in files if not name.endswith(".png")]
        notes = [_notes_file(Path(name).stem) for name in names if name.endswith(".pdf")]
        pdf_first = sorted([*names, *notes], key=lambda name: _ORDER.index(Path(name).suffix))
        return [name for name in pdf_first if (self.folder.path / name).is_file()]

    def linked(self) -> list[Task]:
        """The figure's pages, which take longest, and the tables."""
        content = self._content()
        return [self._task(name, files, make, lambda: content) for name, (files, make) in self._makers().items()]

    def _makers(self) -> dict[str, tuple[list[str], Callable[[], None]]]:
        """The files of each page of the figure and of the tables, and what writes them."""
        makers: dict[str, tuple[list[str], Callable[[], None]]] = {}
        if find_spec("matplotlib") is not None:
            from sr_hooks.grid.report.figure import pages

            for number, page in enumerate(pages(self.plan)):
                stem = "figure" if number == 0 else f"figure_{number + 1}"
                makers[stem] = ([f"{stem}.pdf", f"{stem}.png"], partial(self._figure, stem, page))
        makers["tables"] = (["table.csv", "table.md", "table.tex"], self._tables)
        return makers

    def _task(self, name: str, files: list[str], make: Callable[[], None], content: Callable[[], str]) -> Task:
        def done() -> bool:
            there = all((self.folder.path / file).is_file() for file in files)
            return there and self.folder.output_content(name) == content()

        def run() -> None:
            for file in files:
                self.folder.remove_partial_files(self.folder.path / file)
            with showing_bands(self.plan.request.shown_bands):
                make()
            self.folder.record_output(name, content())

        return Task(f"output-{name}", f"the {name.replace('_', ' ')}", done, run)

    def _content(self, *files: str) -> str:
        """The SHA-256 of everything that the outputs show, and of the files that they link to."""
        keys = [cell.key for cell in self.plan.cells]
        failures = [self.folder.failure(key, self.since) for key in keys]
        checked = [(self.folder.cache.path(key) / "card.json").is_file() for key in keys]
        plan = [
            as_plain(part) for part in (self.plan.request, self.plan.cells, self.plan.networks)
        ]  # without the device
        overlaps = sorted(self.overlaps.items())
        made_of = [__version__, plan, failures, checked, files, *self.plan.problems.values(), *overlaps]
        return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()

    def _write(self, file: str, text: str) -> None:
        write_file(self.folder.path / file, lambda part: part.write_text(text, encoding="utf-8"))

    def _tables(self) -> None:
        tables = make_tables(self.rows, self.warnings)
        self._write("table.csv", as_csv(self.rows, self.warnings))
        self._write("table.md", as_markdown(tables))
        self._write("table.tex", as_latex(tables))

    def _report(self) -> None:
        from sr_hooks.grid.report import make_report

        self._write("report.html", make_report(self.rows, self.warnings, self.beside()))

    def _figure(self, stem: str, page: object) -> None:
        from sr_hooks.figures.style import save_figure
        from sr_hooks.grid.report.figure import Page, draw_page

        assert isinstance(page, Page)
        figure = draw_page(self.rows, self.warnings, page)
        for suffix in ("pdf", "png"):
            path: Path = self.folder.path / f"{stem}.{suffix}"
            write_file(path, lambda part, suffix=suffix: save_figure(figure, part, suffix=suffix))  # type: ignore[misc]
        if notes := getattr(figure, "sr_hooks_notes", ""):
            self._write(_notes_file(stem), notes + "\n")
        else:
            (self.folder.path / _notes_file(stem)).unlink(missing_ok=True)  # of an earlier figure


def _notes_file(stem: str) -> str:
    """The text file for the notes of a page of the figure: notes.txt, notes_2.txt, ..."""
    return f"notes{stem.removeprefix('figure')}.txt"
