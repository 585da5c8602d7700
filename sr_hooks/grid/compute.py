"""Compute one cell: run its analysis, or the check of its map, and store the result in the grid's folder."""

from __future__ import annotations

from functools import partial
from typing import Any

from sr_hooks.analyses.base import execute, find_analysis, joined
from sr_hooks.core.options import from_mapping
from sr_hooks.errors import ImageError, OptionError, ResultError
from sr_hooks.faithfulness.check import check
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import Cell, GridPlan, load_network, network_input, read_cached_image
from sr_hooks.grid.tasks import Task
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
        """One task for every different cell key, in the plan's order."""
        tasks: dict[str, Task] = {}
        for cell in self.plan.cells:
            if cell.network in self.plan.problems:
                continue
            marker = self.folder.cache.path(cell.key) / "result.json"
            task = Task(cell.key, self.plan.label(cell), marker.is_file, partial(self._compute_and_store, cell))
            tasks.setdefault(cell.key, task)
        return list(tasks.values())

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

    def _compute_and_store(self, cell: Cell) -> None:
        self.folder.remove_partial_files(self.folder.cache.path(cell.key))
        self.folder.cache.put(cell.key, self.compute(cell))

    def compute(self, cell: Cell) -> Result:
        """Return the cell's result.

        Raises:
            SRHooksError: the analysis fails, or an image file has changed since the plan was made.
        """
        plan, analysis, network = self.plan, find_analysis(cell.analysis), self._network(cell.network)
        numbers = [cell.image] if cell.image is not None else list(range(len(plan.request.images)))
        for number in numbers:
            image = plan.request.images[number]
            if sha256_of(read_cached_image(image)) != plan.hashes[number]:
                raise ImageError(f"{image.file} has changed while the grid was running: run it again")
        images = [network_input(plan.request, number, network, analysis.takes) for number in numbers]
        options: Any = from_mapping(analysis.options_type, cell.options, where=cell.analysis)
        result = execute(analysis, network, images[0] if cell.image is not None else joined(images), options)
        if not isinstance(result, Result):
            raise OptionError(f"{cell.analysis} gives {len(result)} results where a cell of a grid is one")
        if cell.image is not None:
            result.provenance["input_file"] = plan.request.images[cell.image].file.name
        return result

    def _network(self, row: int) -> Network:
        if self._loaded is None or self._loaded[0] != row:
            self._loaded = None  # free this network before the next one is loaded
            self._loaded = (row, load_network(self.plan.request.networks[row], self.plan.device))
        return self._loaded[1]
