"""A few cases of each attack of `benchmarks/attack.py`; and an attack that is not survived is seen."""

from __future__ import annotations

import pytest

from benchmarks.attacks import changes, files, kills, options
from sr_hooks.results.reading import read_arrays
from sr_hooks.results.result import Result


@pytest.mark.slow
@pytest.mark.parametrize("attack", [changes, files, options, kills], ids=lambda module: module.__name__.split(".")[-1])
def test_a_few_cases_are_survived(attack):
    outcomes = list(attack.attack(6, 7))
    assert len(outcomes) >= 6 and [f"{o.case}: {o.failure}" for o in outcomes if o.failure] == []


@pytest.mark.slow
def test_what_is_not_survived_is_seen(monkeypatch):
    """With the checks of a result taken out, spoilt results are read, and the attack tells."""
    monkeypatch.setattr(Result, "contradictions", lambda self: [])
    monkeypatch.setattr(files, "_KINDS", {"results": (files._results, [files._arrays], 1.0)})
    from sr_hooks.results import result

    monkeypatch.setattr(result, "read_arrays", lambda path, facts=None: read_arrays(path))
    failures = [o for o in files.attack(12, 0) if o.failure]
    assert failures and all("another content is read" in o.failure or "Error" in o.failure for o in failures)
