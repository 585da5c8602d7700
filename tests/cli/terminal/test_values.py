"""Completion of values: in real shells, without torch, and no more and no less than the options take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing

import pytest

from sr_hooks.analyses.base import find_analysis
from sr_hooks.cli.command_list import OWN_ANALYSES
from sr_hooks.cli.terminal.completion import own_analysis
from sr_hooks.cli.terminal.values import OWN_NAMES, literal_words
from sr_hooks.core.registry import registry
from sr_hooks.figures.options import FigureOptions, parse_pairs
from tests.cli.terminal.test_completion import completions
from tests.conftest import REPOSITORY


def test_the_names_of_ours_are_those_of_the_registry():
    for what, own in OWN_NAMES.items():
        contributions = registry().contributions(f"register_{what}")
        ours = {name for name, factory in contributions.items() if factory.__module__.startswith("sr_hooks.")}
        beside = {"objectives": {"loss"}, "paths": set(), "degradations": {"clean"}}[what]  # no factory stands for them
        assert {name.rstrip(":") for name in own} - beside == ours, what


def test_the_words_read_from_the_source_are_those_of_the_types():
    for name in OWN_ANALYSES:
        hints = typing.get_type_hints(find_analysis(name).options_type)
        real = {f"--{key.replace('_', '-')}": words for key, hint in hints.items() if (words := literal_words(hint))}
        own = {flag: list(words) for flag, words in own_analysis(name).words.items()}
        assert own == real, name


BEHIND = {
    "sr-hooks lam --objective ": ({"gradient", "intensity", "residual", "loss"}, {"blur", "photo.png"}),
    "sr-hooks lam --path ": ({"blur", "linear", "uniform"}, {"gradient", "photo.png"}),
    "sr-hooks lam --path l": ({"linear"}, {"blur"}),
    "sr-hooks lam --precision ": ({"float32", "tf32", "bfloat16"}, {"photo.png"}),
    "sr-hooks lam --window ": ({"auto", "photo.png"}, {"gradient"}),
    "sr-hooks lam --device ": ({"cpu", "cuda"}, {"photo.png"}),
    "sr-hooks lam --model ": ({"demo:target", "photo.png"}, set()),
    "sr-hooks lam --figure ": ({"look=paper", "width=double", "scale=log", "notes=false"}, {"axes="}),
    "sr-hooks ddr --degradations blur:2 no": ({"noise:"}, {"blur:"}),
    "sr-hooks ddr --store ": ({"auto"}, {"photo.png"}),
    "sr-hooks grid --analyses ": ({"lam", "ddr", "faig"}, {"grid", "photo.png"}),
    "sr-hooks networks --source ": ({"BasicSR", "spandrel"}, {"photo.png"}),
    "sr-hooks doctor demo:b": ({"demo:baseline"}, {"demo:target"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("line", BEHIND)
def test_values_are_offered_without_torch(line, tmp_path):
    (tmp_path / "photo.png").touch()
    wanted, unwanted = BEHIND[line]
    offered, torch = completions(line, tmp_path)
    # a shell that takes : or = for the end of a word is offered what stands behind it
    offered |= {f"{line.rpartition(' ')[2].rpartition(':')[0]}:{word}" for word in offered}
    assert wanted <= offered and not unwanted & offered and not torch


def test_every_pair_that_is_offered_is_taken():
    from sr_hooks.cli.terminal.values import _figure_pairs

    pairs = list(_figure_pairs())
    keys = {pair.partition("=")[0] for pair in pairs}
    assert keys == set(typing.get_type_hints(FigureOptions)) - {"axes"}
    for pair in pairs:
        if not pair.endswith("="):
            parse_pairs([pair])


@pytest.fixture
def shell(tmp_path):
    """Runs a script in a shell whose sr-hooks is this one, in a folder with a picture."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "sr-hooks"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom sr_hooks.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    (tmp_path / "photo.png").touch()

    def run(name: str, script: str) -> str:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        environment = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "SR_HOOKS_CACHE": str(tmp_path),
            "HOME": str(tmp_path),
        }
        done = subprocess.run(
            [name, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


BASH = """
eval "$(sr-hooks completion bash)"
ask() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9
  _python_argcomplete sr-hooks "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
  echo "${{COMPREPLY[@]}}"; }}
ask {words}
"""


@pytest.mark.slow
def test_bash_is_offered_words_and_files(shell):
    assert shell("bash", BASH.format(words="sr-hooks lam --objective gr")).split() == ["gradient"]
    assert shell("bash", BASH.format(words="sr-hooks ddr --store in")).split() == ["int16"]
    assert "auto" in shell("bash", BASH.format(words="sr-hooks lam --window ''")).split()
    assert shell("bash", BASH.format(words="sr-hooks lam --image ph")).split() == ["photo.png"]


@pytest.mark.slow
def test_fish_is_offered_words(shell):
    lines = ("sr-hooks lam --objective gr", "sr-hooks lam --cone ")
    script = "sr-hooks completion fish | source; " + "; ".join(f"complete -C '{line}'" for line in lines)
    offered = {line.split("\t")[0] for line in shell("fish", script).splitlines()}
    assert {"gradient", "auto", "off"} <= offered and "intensity" not in offered


@pytest.mark.slow
def test_zsh_is_offered_words(shell):
    """By the function that zsh calls, whose answer is caught in the place of `_describe`."""
    script = (
        "_describe() { print -l -- ${(P)4-} ${(P)3-} ${(P)2-} }; compdef() { :; }; compstate=(); "
        'eval "$(sr-hooks completion zsh)"; words=(sr-hooks lam --objective gr); '
        'CURRENT=4; BUFFER="sr-hooks lam --objective gr"; CURSOR=${#BUFFER}; _python_argcomplete sr-hooks'
    )
    assert "gradient" in shell("zsh", script)
