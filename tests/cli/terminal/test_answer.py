"""How much a command says, and as what: `--quiet`, `--verbose`, `--json`, and lines where there is no terminal."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from sr_hooks.cli import analysis
from sr_hooks.cli.app import main
from sr_hooks.cli.terminal import answer
from sr_hooks.images.image import write_image

pytestmark = pytest.mark.slow


@pytest.fixture
def command(tmp_path, lr, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(lr[..., :24, :24], tmp_path / "a.png")
    write_image(lr[..., 24:48, :24], tmp_path / "b.png")
    start = ["lam", "--model", "tests.support.networks:Tiny", "--window", "8,8,8", "--steps", "3", "--image"]
    return [*start, "a.png", "b.png"]


def test_json_is_one_document_with_paths_and_numbers(command, tmp_path, capsys):
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out)
    assert printed.err == "" and record["command"] == "lam" and record["folder"] == str(tmp_path / "lam_result")
    assert [result["name"] for result in record["results"]] == ["a", "b"]
    for result in record["results"]:
        assert Path(result["files"]["result.json"]).is_file() and Path(result["files"]["figure.png"]).is_file()
        assert result["headline"]["diffusion_index"] > 0 and result["verdict"] and result["checks"] is None
    assert main(["show", "lam_result", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["results"] == record["results"]
    assert main(["show", "lam_result/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == record["results"][:1]


def test_json_of_numbers_that_json_lacks(command, capsys, monkeypatch):
    original = analysis.execute

    def execute(*arguments):
        result = original(*arguments)
        result.scalars["error"] = float("nan")
        return result

    monkeypatch.setattr(analysis, "execute", execute)
    assert main([*command, "--json"]) == 0
    text = capsys.readouterr().out
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_of_doctor_and_of_a_grid(command, tmp_path, capsys):
    assert main(["doctor", "tests.support.networks:Tiny", "--json"]) in (0, 3)
    record = json.loads(capsys.readouterr().out)
    assert record["command"] == "doctor" and {f["analysis"] for f in record["findings"]} >= {"lam", "ddr", "faig"}
    grid = ["grid", "--model", "tests.support.networks:Tiny", "--image", "a.png", "--lr", "--window", "8,8,8"]
    assert main([*grid, "--jobs", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["headline"]["cells"] == 1 and Path(record["files"]["table.csv"]).is_file()


def test_quiet_prints_nothing_but_errors(command, tmp_path, capsys, monkeypatch):
    assert main([*command, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "") and (tmp_path / "lam_result/a/result.json").is_file()
    monkeypatch.setitem(answer.PERIODS, "usual", 0.01)
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["lam", *command[1:-1], "missing.png", "--quiet"]) == 2
    assert "missing.png" in capsys.readouterr().err


def test_verbose_says_what_is_done_and_leaves_the_logger(command, capsys):
    logger = logging.getLogger("sr_hooks")
    before = logger.level, list(logger.handlers)
    assert main([*command, "--verbose"]) == 0
    printed = capsys.readouterr()
    assert "lam of a.png" in printed.err and "lam of b.png" in printed.err and "diffusion index" in printed.out
    assert (logger.level, list(logger.handlers)) == before


def test_quiet_and_verbose_exclude_each_other(command, capsys):
    assert main([*command, "--quiet", "--verbose"]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_line_from_time_to_time_where_there_is_no_terminal(command, capsys, monkeypatch):
    monkeypatch.setitem(answer.PERIODS, "usual", 0.02)
    original = analysis.read_input

    def slow(*arguments, **keywords):
        time.sleep(0.1)
        return original(*arguments, **keywords)

    monkeypatch.setattr(analysis, "read_input", slow)
    assert main(command) == 0
    assert "sr-hooks: still at work, 0 s" in capsys.readouterr().err.splitlines()


def test_the_period_is_half_a_minute():
    assert answer.PERIODS == {"usual": 30.0, "verbose": 5.0}
