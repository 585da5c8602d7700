"""Progress: what is counted is told in lines where a caller asks for them, also where no bar is drawn."""

from __future__ import annotations

import sys
import time

import pytest

from sr_hooks.core.progress import no_progress, progress_bar, progress_lines


def lines_of(work, seconds=0.02):
    lines = []
    with progress_lines(lines.append, seconds):
        work()
    return lines


def test_a_line_says_what_is_counted_and_how_far():
    def work():
        with progress_bar("LAM", unit="gradients") as outer:
            outer.update(3)
            with progress_bar("check", 8, unit="maps") as inner:
                inner.update(2)
                inner.update()
                time.sleep(0.05)
            time.sleep(0.05)
            outer.total = 65
            time.sleep(0.05)

    lines = lines_of(work)
    assert "check: 3 of 8 maps, 0 s" in lines and lines[-1] == "LAM: 3 of 65 gradients, 0 s"
    assert "LAM: 3 gradients, 0 s" in lines


def test_a_count_that_breaks_off_is_told_no_more():
    def work():
        with pytest.raises(ValueError), progress_bar("LAM") as bar:
            bar.update()
            raise ValueError
        time.sleep(0.05)

    assert set(lines_of(work)) == {"still at work, 0 s"}


def test_no_bar_is_drawn_in_a_terminal_where_none_is_wanted(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with no_progress(), progress_bar("LAM", 3) as bar:
        bar.update()
        assert bar.n == 1 and bar.total == 3
    assert capsys.readouterr().err == ""
