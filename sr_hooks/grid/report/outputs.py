"""What a grid is shown as, each output a task of its own: tables, report, and the pages of the figure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path

from sr_hooks.core.options import as_plain
from sr_hooks.grid.folder import Place
from sr_hooks.grid.plan import Plan
from sr_hooks.grid.report.formats import as_latex, as_markdown
from sr_hooks.grid.report.rows import Gathered
from sr_hooks.grid.report.tables import as_csv, make_tables
from sr_hooks.grid.report.warnings import Caution, cautions_of
from sr_hooks.grid.tasks import Task
from sr_hooks.results.result import write_file
from sr_hooks.version import __version__

__all__ = ["Outputs"]


class Outputs:
    """Made once all cells are settled; again only where cells, names or failures have changed since."""

    def __init__(self, plan: Plan, place: Place, since: float) -> None:
        self.plan, self.place, self.since = plan, place, since

    @cached_property
    def gathered(self) -> Gathered:
        return Gathered(self.plan, self.place, self.since)

    @cached_property
    def cautions(self) -> list[Caution]:
        return cautions_of(self.gathered)

    def tasks(self) -> list[Task]:
        """The figure's pages first: they take longest."""
        makers: dict[str, tuple[list[str], Callable[[], None]]] = {}
        if find_spec("matplotlib") is not None:
            from sr_hooks.grid.report.figure import pages

            for number, page in enumerate(pages(self.plan)):
                stem = "figure" if number == 0 else f"figure_{number + 1}"
                makers[stem] = ([f"{stem}.pdf", f"{stem}.png"], partial(self._figure, stem, page))
        makers["report"] = (["report.html"], self._report)
        makers["tables"] = (["table.csv", "table.md", "table.tex"], self._tables)
        content = self._content()
        return [self._task(name, files, make, content) for name, (files, make) in makers.items()]

    def _task(self, name: str, files: list[str], make: Callable[[], None], content: str) -> Task:
        def done() -> bool:
            there = all((self.place.folder / file).is_file() for file in files)
            return there and self.place.rendered(name) == content

        def run() -> None:
            for file in files:
                self.place.sweep(self.place.folder / file)
            make()
            self.place.render(name, content)

        return Task(f"output-{name}", f"the {name.replace('_', ' ')}", done, run)

    def _content(self) -> str:
        """What all outputs are made of, as a hash."""
        keys = [cell.key for cell in self.plan.cells]
        failures = [self.place.failure(key, self.since) for key in keys]
        checked = [(self.place.cache.path(key) / "card.json").is_file() for key in keys]
        plan = [as_plain(part) for part in (self.plan.asked, self.plan.cells, self.plan.networks)]  # not its device
        made_of = [__version__, plan, failures, checked]
        return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()

    def _write(self, file: str, text: str) -> None:
        write_file(self.place.folder / file, lambda part: part.write_text(text, encoding="utf-8"))

    def _tables(self) -> None:
        tables = make_tables(self.gathered, self.cautions)
        self._write("table.csv", as_csv(self.gathered, self.cautions))
        self._write("table.md", as_markdown(tables))
        self._write("table.tex", as_latex(tables))

    def _report(self) -> None:
        from sr_hooks.grid.report import make_report

        self._write("report.html", make_report(self.gathered, self.cautions))

    def _figure(self, stem: str, page: object) -> None:
        from sr_hooks.figures.sheet import save_sheet
        from sr_hooks.grid.report.figure import Page, draw_page

        assert isinstance(page, Page)
        figure = draw_page(self.gathered, self.cautions, page)
        for suffix in ("pdf", "png"):
            path: Path = self.place.folder / f"{stem}.{suffix}"
            write_file(path, lambda part, suffix=suffix: save_sheet(figure, part, suffix))  # type: ignore[misc]
