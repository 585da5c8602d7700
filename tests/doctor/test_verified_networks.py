"""The table of verified networks: each row is built and examined again, and what the table says must be what is found.

`SR_HOOKS_WRITE_NETWORKS=1 python -m pytest tests/doctor/test_verified_networks.py` writes the table and its page anew.
Rows that take long (see HEAVY in tests/support/zoo) are checked with SR_HOOKS_HEAVY=1, and kept as they were written
otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sr_hooks import Network
from sr_hooks.cli.app import main
from sr_hooks.doctor import verified_networks as verified
from sr_hooks.doctor.diagnosis import Diagnosis, examine
from tests.conftest import REPOSITORY
from tests.support.zoo import basicsr_architectures, spandrel_families

WRITE = bool(os.environ.get("SR_HOOKS_WRITE_NETWORKS"))
HEAVY = bool(os.environ.get("SR_HOOKS_HEAVY")) or WRITE
PAGE = REPOSITORY / "docs/networks.md"
HOW = "write it anew: SR_HOOKS_WRITE_NETWORKS=1 python -m pytest tests/doctor/test_verified_networks.py"


def check(source: str, name: str, found: Diagnosis, note: str = "") -> None:
    """A row of the table is what was found; or it is written so."""
    faults = [f"{f.analysis}: {f.message}" for f in found.findings if not f.explained]
    assert not faults, f"{source} {name} fails without a reason that is ours to give: {faults}"
    row = verified.row_of(found, note)
    table = verified.read_table()
    if WRITE:
        verified.write_table({**table, source: {**table.get(source, {}), name: row}})
        return
    kept = table[source][name]
    for key in (*verified.ANALYSES, "scale", "channels", "multiple", "minimum", "input_range", "note"):
        assert _start(row.get(key)) == _start(kept.get(key)), f"the table is stale, {source} {name}, {key}: {HOW}"


def _start(value: Any) -> Any:
    """Of a reason its beginning: the rest quotes torch, whose words change."""
    return value[:40] if isinstance(value, str) else value


def _rows(names: Any, heavy: set[str]) -> list[Any]:
    marks = pytest.mark.skipif(not HEAVY, reason="takes long: checked with SR_HOOKS_HEAVY=1")
    return [pytest.param(name, marks=[marks] if name in heavy else []) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", _rows(basicsr_architectures.ARGUMENTS, basicsr_architectures.HEAVY))
def test_basicsr(basicsr: Any, name: str) -> None:
    found = examine(basicsr_architectures.network(name))
    check("BasicSR", name, found, basicsr_architectures.NOTES.get(name, ""))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", _rows([name for name in spandrel_families.FAMILIES if name != "GFPGAN"], spandrel_families.HEAVY)
)
def test_spandrel(tmp_path: Path, name: str) -> None:
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    path = spandrel_families.save(name, tmp_path)
    network = Network.from_file(path)
    path.unlink()
    check("spandrel", name, examine(network), spandrel_families.NOTES.get(name, ""))


def test_write_what_is_not_run() -> None:
    """The one family that is not built."""
    if WRITE:
        reason = spandrel_families.NOTES["GFPGAN"]
        row = dict.fromkeys(("scale", "channels", "multiple", "minimum", "input_range"))
        table = verified.read_table()
        table["spandrel"]["GFPGAN"] = {**row, **dict.fromkeys(verified.ANALYSES, reason), "window": ""}
        verified.write_table(table)
    assert verified.read_table()["spandrel"]["GFPGAN"]["lam"] == spandrel_families.NOTES["GFPGAN"]


def test_every_registered_architecture_has_a_row(basicsr: Any) -> None:
    from basicsr.archs import ARCH_REGISTRY

    ours = {key: kind for key, kind in ARCH_REGISTRY if kind.__module__.startswith("basicsr.")}  # tests register more
    named = {key.removesuffix("_basicsr") for key in ours}
    assert named == set(basicsr_architectures.ARGUMENTS) | {"DFDNet"}
    if WRITE:  # the one that cannot be built
        reason = basicsr_architectures.NOTES["DFDNet"]
        row = dict.fromkeys(("scale", "channels", "multiple", "minimum", "input_range"))
        table = verified.read_table()
        table["BasicSR"]["DFDNet"] = {**row, **dict.fromkeys(verified.ANALYSES, reason), "window": ""}
        verified.write_table(table)
    assert named == set(verified.read_table()["BasicSR"])


def test_every_family_of_spandrel_has_a_row() -> None:
    spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")
    families = {support.architecture.id for support in spandrel.MAIN_REGISTRY.architectures()}
    rows = verified.read_table()["spandrel"]
    working = {name.split()[0] for name, row in rows.items() if all(row[key] == "yes" for key in verified.ANALYSES)}
    assert families <= {name.split()[0] for name in rows}, "a family has no row"
    assert len(working) >= 40


def test_the_page_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    table = verified.read_table()
    if WRITE:
        PAGE.write_text(verified.markdown(table), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == verified.markdown(table), f"docs/networks.md is stale: {HOW}"
    assert main(["networks", "--source", "BasicSR"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in table["BasicSR"]) and "NAFNet" not in printed
    assert main(["networks", "--source", "BasicSr"]) == 2
    assert "did you mean BasicSR?" in capsys.readouterr().err


def test_the_table_has_no_gap_without_a_reason() -> None:
    for source, rows in verified.read_table().items():
        for name, row in rows.items():
            for analysis in verified.ANALYSES:
                assert row[analysis], f"{source} {name} says nothing of {analysis}"
