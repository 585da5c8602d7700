"""Compute one cell: run its analysis, or the check of its map, and store the result in the grid's folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sr_hooks.analyses.base import execute, find_analysis, joined
from sr_hooks.core.options import as_plain, from_mapping
from sr_hooks.errors import ImageError, NetworkError, OptionError, ResultError
from sr_hooks.faithfulness.check import check
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.loading import load_network, network_input, read_cached_image
from sr_hooks.grid.plan import Cell, GridPlan
from sr_hooks.grid.work.costs import cost_of
from sr_hooks.grid.work.tasks import Task
from sr_hooks.images.image import sha256_of
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result
from sr_hooks.results.writing import write_file

__all__ = ["CellComputer"]


class CellComputer:
    """Computes the cells of a plan into the grid's folder. It keeps one network in memory at a time."""

    def __init__(self, plan: GridPlan, folder: GridFolder) -> None:
        self.plan, self.folder = plan, folder
        self._loaded: tuple[int, Network] | None = None

    def tasks(self) -> list[Task]:
        """One task for every different cell key, in the plan's order; or for all windows that one call computes."""
        cells = {cell.key: cell for cell in self.plan.cells if cell.network not in self.plan.problems}
        calls: dict[Any, list[Cell]] = {}
        for cell in cells.values():
            shared = self.plan.together and cell.window and find_analysis(cell.analysis).joins_windows
            calls.setdefault((cell.analysis, cell.network, cell.image) if shared else cell.key, []).append(cell)
        return [self._task(call) for call in calls.values()]

    def _task(self, cells: Sequence[Cell]) -> Task:
        markers = [self.folder.cache.path(cell.key) / "result.json" for cell in cells]
        names = [(cell.key, self.plan.label(cell)) for cell in cells]
        run = partial(self._compute_and_store, cells)
        cost = sum(cost_of(self.plan, cell) for cell in cells)
        return Task(*names[0], lambda: all(map(Path.is_file, markers)), run, cells[0].network, cost, tuple(names[1:]))

    def checks(self) -> list[Task]:
        """One task for every computed map that is to be checked; the card is written beside the result."""
        checks: dict[str, Task] = {}
        for cell in self.plan.cells:
            cell_folder = self.folder.cache.path(cell.key)
            if cell.check and (cell_folder / "result.json").is_file():
                label = f"the check of {self.plan.label(cell)}"
                done = (cell_folder / "card.json").is_file
                checks.setdefault(
                    cell.key, Task(f"{cell.key}-check", label, done, partial(self._check_and_store, cell))
                )
        return list(checks.values())

    def unchecked(self) -> int:
        """How many maps still need a check, counting maps that are not computed yet."""
        cards = {self.folder.cache.path(cell.key) / "card.json" for cell in self.plan.cells if cell.check}
        return sum(not card.is_file() for card in cards)

    def _check_and_store(self, cell: Cell) -> None:
        result = self.folder.cache.get(cell.key)
        if result is None or cell.image is None:
            raise ResultError(f"there is no map to check for {self.plan.label(cell)}")
        network = self._network(cell.network)
        self.folder.remove_partial_files(self.folder.cache.path(cell.key) / "card.json")
        card = check(result, network, network_input(self.plan.request, cell.image, network))
        write_file(self.folder.cache.path(cell.key) / "card.json", card.write)

    def _compute_and_store(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            self.folder.remove_partial_files(self.folder.cache.path(cell.key))
        for cell, result in zip(cells, self.compute(*cells), strict=True):
            self.folder.wait_until_there()  # before a file is written, which would make a folder of that name
            if not (self.folder.cache.path(cell.key) / "result.json").is_file():
                self.folder.cache.put(cell.key, result)

    def compute(self, *cells: Cell) -> list[Result]:
        """Return the results of one cell, or of the cells of one network and image whose windows differ.

        Raises:
            SRHooksError: the analysis fails, or an image or the network's weights have changed since the plan was made.
        """
        cell = cells[0]
        plan, analysis, network = self.plan, find_analysis(cell.analysis), self._network(cell.network)
        numbers = [cell.image] if cell.image is not None else list(range(len(plan.request.images)))
        for number in numbers:
            image = plan.request.images[number]
            if sha256_of(read_cached_image(image)) != plan.hashes[number]:
                raise ImageError(f"{image.file} has changed while the grid was running: run it again")
        images = [network_input(plan.request, number, network, analysis.takes) for number in numbers]
        inputs = images[0] if cell.image is not None else joined(images)
        stated = dict(cell.options) if len(cells) == 1 else {**cell.options, "window": _windows(cells)}
        options: Any = from_mapping(analysis.options_type, stated, where=cell.analysis)
        answer = execute(analysis, network, inputs, options)
        results = [answer] if isinstance(answer, Result) else list(answer)
        if len(results) != len(cells):
            raise OptionError(f"{cell.analysis} gives {len(results)} results where a cell of a grid is one")
        for cell, result in zip(cells, results, strict=True):
            if cell.image is not None:
                result.provenance["input_file"] = plan.request.images[cell.image].file.name
            if len(cells) > 1 and cell.window is not None:
                result.provenance["options"] = {
                    **result.provenance["options"],
                    "window": as_plain(cell.options["window"]),
                }
        return results

    def _network(self, row: int) -> Network:
        if self._loaded is None or self._loaded[0] != row:
            self._loaded = None  # free this network before the next one is loaded
            network = load_network(self.plan.request.networks[row], self.plan.device)
            if network.describe()["sha256"] != self.plan.networks[row]["sha256"]:
                raise NetworkError(
                    f"the weights of {network.name} are not those with which the grid was planned: run it again, and "
                    "if this comes back, state the weights, since they are drawn at random"
                )
            self._loaded = (row, network)
        return self._loaded[1]


def _windows(cells: Sequence[Cell]) -> list[Any]:
    """The windows of cells in one list, each as the option of its cell has it."""
    return [cell.options["window"] for cell in cells]
