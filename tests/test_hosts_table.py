"""The table of hosts in docs/training.md is the one below, and each of its cells names a test that there is."""

from __future__ import annotations

import ast
import functools
import importlib.metadata

import pytest

from tests.conftest import REPOSITORY

COLUMNS = ("decorator", "option file", "key", "EMA", "AMP", "accumulation", "two optimizers", "resume", "bits equal")
_KINDS = {"EMA": "EMA", "AMP": "AMP", "accumulation": "accumulation", "two optimizers": "two optimizers"}


def _of_kinds(test: str) -> dict[str, str]:
    return {column: f"{test}[{kind}]" for column, kind in _KINDS.items()} | {"bits equal": test}


def _redux(test: str) -> str:
    return f"tests/integration/trainner/test_real.py::{test}"


def _neosr(test: str) -> str:
    return f"tests/integration/neosr/test_watch.py::{test}"


def _lightning(test: str) -> str:
    return f"tests/integration/lightning/test_watch.py::{test}"


def _accelerate(test: str) -> str:
    return f"tests/integration/accelerate/test_watch.py::{test}"


_BASICSR, _MMAGIC = "tests/integration/basicsr/test_", "tests/integration/mmagic/test_"
NONE = "none"
"""The host has no such thing."""

HOSTS: dict[tuple[str, str], dict[str, str]] = {
    ("BasicSR", "basicsr 1.4.2"): {
        "decorator": f"{_BASICSR}watch.py::test_five_doors_one_answer",
        "option file": f"{_BASICSR}watch.py::test_five_doors_one_answer",
        "key": f"{_BASICSR}watch.py::test_keywords_and_config_lie_on_top_of_the_block",
        "EMA": f"{_BASICSR}identity.py::test_bit_for_bit[SRGANModel]",
        "AMP": NONE,
        "accumulation": NONE,
        "two optimizers": f"{_BASICSR}identity.py::test_bit_for_bit[ESRGANModel]",
        "resume": f"{_BASICSR}watch.py::test_auto_resume_takes_up_index_and_running_sums",
        "bits equal": f"{_BASICSR}identity.py::test_bit_for_bit",
    },
    ("traiNNer-redux", "commit 68629319"): {
        **_of_kinds(_redux("test_bit_for_bit_by_the_bare_decorator")),
        "decorator": _redux("test_bit_for_bit_by_the_bare_decorator"),
        "option file": _redux("test_by_keywords_and_by_the_command_on_an_unedited_script"),
        "key": _redux("test_by_keywords_and_by_the_command_on_an_unedited_script"),
        "resume": _redux("test_resumed_runs_go_on_from_the_host_s_iteration"),
    },
    ("neosr", "neosr 0.1.0"): {
        **_of_kinds(_neosr("test_bit_for_bit_by_the_option_file")),
        "decorator": _neosr("test_bit_for_bit_by_the_option_file"),
        "option file": _neosr("test_by_the_command_on_an_unedited_script"),
        "key": _neosr("test_by_keywords_and_by_a_file_beside"),
        "resume": _neosr("test_resumed_runs_go_on_from_the_host_s_iteration"),
    },
    ("Lightning", "lightning 2.6.6"): {
        **_of_kinds(_lightning("test_bit_for_bit")),
        "decorator": _lightning("test_by_a_config_and_by_the_decorator"),
        "option file": _lightning("test_by_a_config_and_by_the_decorator"),
        "key": _lightning("test_bit_for_bit"),
        "resume": _lightning("test_a_run_resumed_from_lightnings_own_checkpoint"),
    },
    ("Accelerate", "accelerate 1.15.0"): {
        **_of_kinds(_accelerate("test_bit_for_bit")),
        "decorator": _accelerate("test_by_the_decorator_and_the_network_s_name"),
        "option file": NONE,
        "key": _accelerate("test_bit_for_bit"),
        "resume": _accelerate("test_a_run_resumed_from_accelerates_own_checkpoint"),
    },
    ("mmagic", "mmagic 1.2.0"): {
        "decorator": f"{_MMAGIC}watch.py::test_all_doors_one_answer",
        "option file": f"{_MMAGIC}watch.py::test_all_doors_one_answer",
        "key": f"{_MMAGIC}watch.py::test_all_doors_one_answer",
        "EMA": f"{_MMAGIC}watch.py::test_which_weights_were_seen",
        "AMP": "not tried",
        "accumulation": "not tried",
        "two optimizers": f"{_MMAGIC}identity.py::test_bit_for_bit",
        "resume": f"{_MMAGIC}watch.py::test_resuming",
        "bits equal": f"{_MMAGIC}identity.py::test_bit_for_bit",
    },
}  # fmt: skip


def table() -> str:
    rows = [["host", "tried with", *COLUMNS], ["---"] * (len(COLUMNS) + 2)]
    rows += [[*host, *("yes" if "::" in cells[c] else cells[c] for c in COLUMNS)] for host, cells in HOSTS.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def test_the_page_has_this_table():
    page = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
    assert table() in page, f"put this into docs/training.md:\n{table()}"


@functools.cache
def _texts_and_tests(file: str) -> tuple[set[str], set[str]]:
    """All texts in a file of tests, which are the names of parameters too, and its functions."""
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts, {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("host", HOSTS, ids=[name for name, _ in HOSTS])
def test_each_cell_is_a_test_that_there_is(host: tuple[str, str]) -> None:
    assert set(HOSTS[host]) == set(COLUMNS)
    for cell in HOSTS[host].values():
        if "::" in cell:
            file, _, test = cell.partition("::")
            name, _, parameter = test.rstrip("]").partition("[")
            texts, tests = _texts_and_tests(file)
            assert name in tests and (not parameter or parameter in texts), cell


@pytest.mark.parametrize("version", [version for _, version in HOSTS if not version.startswith("commit")])
def test_the_version_is_no_newer_than_what_is_installed(version: str) -> None:
    package, _, number = version.partition(" ")
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed here")
    assert tuple(map(int, installed.split(".")[:3])) >= tuple(map(int, number.split(".")[:3]))
