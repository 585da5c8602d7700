"""Cells as tasks: each computed where its claim is held, the same way as from every other door."""

from __future__ import annotations

from functools import partial
from typing import Any

from sr_hooks.analysis import execute, find_analysis, joined, sha256_of
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.grid.place import Place
from sr_hooks.grid.plan import Cell, Plan, image_of, inputs_of, load_network
from sr_hooks.grid.sharing import Task
from sr_hooks.network import Network
from sr_hooks.options import from_mapping
from sr_hooks.results import Result

__all__ = ["Computer"]


class Computer:
    """Computes a plan's cells into its place, with one network in memory at a time."""

    def __init__(self, plan: Plan, place: Place) -> None:
        self.plan, self.place = plan, place
        self._loaded: tuple[int, Network] | None = None

    def tasks(self) -> list[Task]:
        """One for every different key, in the plan's order."""
        found: dict[str, Task] = {}
        for cell in self.plan.cells:
            marker = self.place.cache.path(cell.key) / "result.json"
            task = Task(cell.key, self.plan.label(cell), marker.is_file, partial(self._put, cell))
            found.setdefault(cell.key, task)
        return list(found.values())

    def _put(self, cell: Cell) -> None:
        self.place.cache.put(cell.key, self.answer(cell))

    def answer(self, cell: Cell) -> Result:
        """The cell's result.

        Raises:
            SRHooksError: what the analysis says, or an image file that has changed since the plan was made.
        """
        plan, kind, network = self.plan, find_analysis(cell.analysis), self._network(cell.network)
        numbers = [cell.image] if cell.image is not None else list(range(len(plan.asked.images)))
        for number in numbers:
            file = plan.asked.images[number].file
            if sha256_of(image_of(file)) != plan.hashes[number]:
                raise ImageError(f"{file} has changed while the grid was running: run it again")
        images = [inputs_of(plan.asked, number, network, kind.takes) for number in numbers]
        options: Any = from_mapping(kind.options_type, cell.options, where=cell.analysis)
        answer = execute(kind, network, images[0] if cell.image is not None else joined(images), options)
        if not isinstance(answer, Result):
            raise OptionError(f"{cell.analysis} gives {len(answer)} results where a cell of a grid is one")
        if cell.image is not None:
            answer.provenance["input_file"] = plan.asked.images[cell.image].file.name
        return answer

    def _network(self, row: int) -> Network:
        if self._loaded is None or self._loaded[0] != row:
            self._loaded = None  # let go of the one before the next is loaded
            self._loaded = (row, load_network(self.plan.asked.networks[row], self.plan.device))
        return self._loaded[1]
