"""When an analysis is due, and what the budget lets through."""

from __future__ import annotations

import math

import pytest

from sr_hooks.training.schedule import Budget, Schedule, parse_share


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ("2%", 0.02),
        ("2 %", 0.02),
        ("0.5%", 0.005),
        (0.02, 0.02),
        ("0.02", 0.02),
        (1, 1.0),
        ("150%", 1.5),
        ("off", math.inf),
        (None, math.inf),
        (False, math.inf),
    ],
)
def test_shares(given: object, share: float) -> None:
    assert parse_share(given) == pytest.approx(share)


@pytest.mark.parametrize("given", [2, "2", 0, "0%", -1, "-3%", "much", True, "nan", [2]])
def test_shares_that_mean_nothing(given: object) -> None:
    with pytest.raises(ValueError, match="budget is"):
        parse_share(given)


def test_moments() -> None:
    schedule = Schedule(every=10, at=[3, 25])
    due = [i for i in range(1, 41) if schedule.recurs(i) or schedule.is_fixed(i)]
    assert due == [3, 10, 20, 25, 30, 40]
    walked, iteration = [], 0
    while iteration < 40:
        iteration = schedule.next_after(iteration)
        walked.append(iteration)
    assert walked == due
    assert not schedule.watches_validation and not schedule.watches_end


def test_in_words() -> None:
    assert Schedule(every=10, at=[25, 3], at_end=True).described() == "at 3, 25, every 10, at the end"
    assert Schedule().described() == "after validations, at the end"
    assert Schedule(on_validation=False).described() == "never"


def test_silence_means_validation_and_end() -> None:
    assert Schedule().watches_validation and Schedule().watches_end and Schedule().next_after(5) is None
    assert not Schedule(at_end=True).watches_validation
    assert not Schedule(on_validation=True).watches_end


@pytest.mark.parametrize("wrong", [{"every": 0}, {"at": [0]}, {"at": -1}, {"limit": 0}, {"image": "a", "images": "b"}])
def test_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Schedule(**wrong)


def test_a_budget_is_never_overdrawn_at_known_cost() -> None:
    share, training, runs = 0.02, 0.0, 0
    budget = Budget(share, expected=1.0)
    for _ in range(20_000):
        training += 0.1
        if budget.affords(training):
            budget.pay(1.0)
            runs += 1
        assert budget.spent <= share * training + 1e-9
    assert budget.spent == pytest.approx(share * training, rel=0.05) and runs > 30


def test_the_first_run_is_expected_and_later_ones_are_remembered() -> None:
    budget = Budget(0.1, expected=5.0)
    assert not budget.affords(49.9) and budget.affords(50.1)
    budget.pay(2.0)
    assert budget.cost == 2.5 and budget.needs() == pytest.approx(45.0), "what it took, and a margin"
    for seconds in (7.0, 1.0, 1.0, 1.0):
        budget.pay(seconds)
    assert budget.cost == 1.25, "an old dear run is forgotten"
    assert Budget(math.inf, 1e9).affords(0.0)
