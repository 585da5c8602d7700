"""One grid that nothing disturbs, with which disturbed ones are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr_hooks.grid import read_request, run_grid
from tests.support.grids import tables_in, write_grid


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A grid file of 6 networks and 2 images, and the tables of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    file = write_grid(folder, networks=6, images=2, analyses={"lam": {"steps": 25}})
    run_grid(read_request(file), folder / "out", jobs=1)
    return file, tables_in(folder / "out")
