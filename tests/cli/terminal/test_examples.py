"""The examples at the end of every help: they are there, and they parse."""

from __future__ import annotations

import shlex

import pytest

from sr_hooks.cli.app import _parser, main
from sr_hooks.cli.command_list import COMMANDS, OWN_ANALYSES, summaries
from sr_hooks.cli.terminal.examples import EXAMPLES


@pytest.mark.parametrize("name", [name for name in summaries() if name != "train"])
def test_every_help_ends_with_examples_that_parse(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    printed = capsys.readouterr().out
    head, _, examples = printed.partition("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert head and lines and all(line.startswith(f"sr-hooks {name}") for line in lines)
    for line in lines:
        words = shlex.split(line.partition(" >")[0])[1:]
        command = _parser(words).parse_args(words).COMMAND
        assert command == name


def test_train_has_examples_too(capsys):
    assert main(["train", "--help"]) == 0
    assert "examples:\n  sr-hooks train" in capsys.readouterr().out


def test_every_command_of_ours_has_examples_of_its_own():
    assert set(EXAMPLES) == {*COMMANDS, *OWN_ANALYSES} - {"train"}


def test_an_option_of_one_value_shows_one(capsys):
    with pytest.raises(SystemExit):
        main(["lam", "--help"])
    printed = capsys.readouterr().out
    assert "  --steps STEPS " in printed and "[STEPS ...]" not in printed and "[PATH ...]" not in printed
    assert "--window WINDOW [WINDOW ...]" in printed
    with pytest.raises(SystemExit):
        main(["ddr", "--help"])
    printed = capsys.readouterr().out
    assert "--layers LAYERS [LAYERS ...]" in printed and "[KEEP_FEATURES ...]" not in printed
    with pytest.raises(SystemExit):
        main(["faig-verify", "--help"])
    assert "--tops TOPS [TOPS ...]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lamm"], "did you mean lam"),
        (["gird", "a.yml"], "did you mean grid"),
        (["compair", "a", "b"], "did you mean compare"),
        (["qqqqq"], "known: "),
        (["lam", "--model", "m", "--image", "i", "--window", "0", "0", "8", "--windw", "0"], "did you mean --window"),
        (["demo", "--overwite"], "did you mean --overwrite"),
        (["lam", "--model", "m", "--image", "i", "--window", "0", "0", "8", "--steps", "3", "4"], "arguments: 4"),
    ],
)
def test_a_slip_is_one_line_with_the_nearest(words, expected, capsys):
    assert main(words) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and len(printed.err.strip().splitlines()) == 1 and printed.out == ""
