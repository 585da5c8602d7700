"""Cells as tasks: each computed where its claim is held, the same way as from every other door."""

from __future__ import annotations

from functools import partial
from typing import Any

from sr_hooks.analyses.base import execute, find_analysis, joined
from sr_hooks.core.options import from_mapping
from sr_hooks.errors import ImageError, OptionError, ResultError
from sr_hooks.faithfulness.check import check
from sr_hooks.grid.folder import Place
from sr_hooks.grid.plan import Cell, Plan, image_of, inputs_of, load_network
from sr_hooks.grid.tasks import Task
from sr_hooks.images.image import sha256_of
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result, write_file

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

    def checks(self) -> list[Task]:
        """One for every map whose faithfulness is asked about and that is there; its card lies beside the result."""
        found: dict[str, Task] = {}
        for cell in self.plan.cells:
            folder = self.place.cache.path(cell.key)
            if cell.check and (folder / "result.json").is_file():
                label = f"the check of {self.plan.label(cell)}"
                done = (folder / "card.json").is_file
                found.setdefault(cell.key, Task(f"{cell.key}-check", label, done, partial(self._check, cell)))
        return list(found.values())

    def unchecked(self) -> int:
        """How many maps are still to be checked, those among them that are not there yet."""
        cards = {self.place.cache.path(cell.key) / "card.json" for cell in self.plan.cells if cell.check}
        return sum(not card.is_file() for card in cards)

    def _check(self, cell: Cell) -> None:
        result = self.place.cache.get(cell.key)
        if result is None or cell.image is None:
            raise ResultError(f"there is no map to check for {self.plan.label(cell)}")
        network = self._network(cell.network)
        self.place.sweep(self.place.cache.path(cell.key) / "card.json")
        card = check(result, network, inputs_of(self.plan.asked, cell.image, network))
        write_file(self.place.cache.path(cell.key) / "card.json", card.write)

    def _put(self, cell: Cell) -> None:
        self.place.sweep(self.place.cache.path(cell.key))
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
