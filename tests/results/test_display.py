"""How results, cards and lists of results show themselves in a console and in a notebook."""

from __future__ import annotations

import base64
import copy
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

import sr_hooks
from sr_hooks.core.registry import registry
from sr_hooks.figures.style import new_figure
from sr_hooks.results.card import Card, Verdict
from sr_hooks.results.display import ResultList
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n\x1a\n"


def shown(thing):
    """What a notebook shows of the last line of a cell, by MIME type. Without `%matplotlib inline`."""
    return DisplayFormatter().format(thing)[0]


@pytest.fixture(scope="module")
def results(lr):
    return sr_hooks.lam(Tiny(), lr, window=[(8, 8, 8), (0, 0, 8)], steps=3)


def a_card(**changes):
    figures = {"correlations": list(np.linspace(0, 1, 400)), "name": "<b>"}
    verdicts = [Verdict(f"check {i}", "passes", "since 1 < 2, " * 20, figures) for i in range(4)]
    return Card(tuple(verdicts), **{"subject": "lam of <script>", **changes})


def test_a_figure_as_last_line_is_a_picture(results):
    assert shown(results[0].figure())["image/png"].startswith(PNG)
    assert shown(a_card().figure())["image/png"].startswith(PNG)


def test_a_figure_of_a_plugin_that_makes_its_own_is_a_picture(results, monkeypatch):
    from matplotlib.figure import Figure

    kind = registry().contributions("register_analyses")["lam"]
    monkeypatch.setattr(kind, "figure", classmethod(lambda cls, result: Figure(figsize=(1, 1))))
    assert shown(results[0].figure())["image/png"].startswith(PNG)


def test_a_figure_is_still_copied_and_pickled():
    figure = new_figure(1, 1)
    for other in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure))):
        other.set_size_inches(2, 1)
        assert len(shown(other)["image/png"]) != len(shown(figure)["image/png"])


def test_pyplot_is_not_imported(tmp_path):
    code = (
        "import sys, torch, sr_hooks\n"
        "from IPython.core.formatters import DisplayFormatter\n"
        "r = sr_hooks.lam(torch.nn.Conv2d(3, 3, 3, padding=1), torch.rand(1, 3, 16, 16), window=(4, 4, 4), steps=3)\n"
        "assert 'image/png' in DisplayFormatter().format(r.figure())[0]\n"
        "assert '<img' in DisplayFormatter().format(r)[0]['text/html']\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_result_is_one_line_and_a_picture(results):
    content = shown(results[0])
    assert len(content["text/plain"]) < 500 and "\n" not in content["text/plain"]
    picture = re.search(r"base64,([^']+)'", content["text/html"])
    assert picture and base64.b64decode(picture[1]).startswith(PNG)
    assert "diffusion_index" in content["text/html"]


def test_a_verdict_without_end_stays_one_line(results):
    result = copy.copy(results[0])
    result.verdict, result.scalars = "<b>so\nit is " * 500, {f"number_{i}": float(i) for i in range(300)}
    assert len(repr(result)) < 500 and "\n" not in repr(result)
    assert "<b>" not in shown(result)["text/html"]


def test_a_figure_that_fails_costs_the_picture_alone(results, monkeypatch):
    kind = registry().contributions("register_analyses")["lam"]
    monkeypatch.setattr(kind, "figure", classmethod(lambda cls, result: 1 / 0))
    page = shown(results[0])["text/html"]
    assert "ZeroDivisionError" in page and "diffusion_index" in page


def test_a_card_is_short_in_a_console_and_a_table_in_a_notebook():
    card = a_card()
    assert len(repr(card)) < 300 and len(repr(card.verdicts)) < 1000 and "check 3 passes" in repr(card)
    page = shown(card)["text/html"]
    assert page.count("<tr>") == 5 and "data:image/png" in page and "<script>" not in page and card.overall in page


def test_a_list_of_results_is_a_list_and_shows_a_table(results):
    assert type(results) is ResultList and isinstance(results, list) and len(results) == 2
    content = shown(results)
    lines = content["text/plain"].splitlines()
    assert len(lines) == 4 and "diffusion index" in lines[0] and "8,8,8,8" in lines[2] and "0,0,8,8" in lines[3]
    assert content["text/html"].count("<tr>") == 3 and "0,0,8,8" in content["text/html"]
    assert type(results[:1]) is ResultList and results[1:][0] is results[1] and results == list(results)
    assert repr(results[:0]) == "[]" and [r.window for r in pickle.loads(pickle.dumps(results))] == [
        r.window for r in results
    ]


def test_a_long_list_of_results_is_cut_in_a_console(results):
    text = repr(ResultList(list(results) * 200))
    assert len(text.splitlines()) < 50 and "370 more" in text


def test_results_of_a_batch_are_such_a_list(lr):
    answer = sr_hooks.run("lam", Tiny(), lr.repeat(3, 1, 1, 1), window=(8, 8, 8), steps=3)
    assert type(answer) is ResultList and shown(answer)["text/html"].count("<tr>") == 4


def test_a_comparison_shows_itself(results):
    content = shown(sr_hooks.compare(results[0], results[0]))
    assert "di_change" in content["text/html"] and "data:image/png" in content["text/html"]
    assert len(content["text/plain"]) < 500
