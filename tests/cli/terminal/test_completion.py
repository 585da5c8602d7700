"""Completion: what the shells are told is what the commands take, and it costs no torch."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys

import pytest

from sr_hooks.cli import analysis
from sr_hooks.cli.app import main
from sr_hooks.cli.command_list import COMMANDS, OWN_ANALYSES
from sr_hooks.cli.terminal.completion import SHELLS, own_analysis
from sr_hooks.core.registry import registry

pytestmark = pytest.mark.slow

RUN = """
import sys
from sr_hooks.cli import main
status = main()
sys.stdout.flush()
print("torch" in sys.modules, file=sys.stderr)
"""


def completions(line, tmp_path, shell="bash"):
    """What a shell is offered behind a line, and whether torch was imported, by the protocol of argcomplete."""
    out = tmp_path / "offered"
    code = (
        "import os, sys\n"
        "os._exit = lambda code: (print('torch' in sys.modules, file=sys.stderr), sys.stderr.flush(), sys.exit(code))\n"
        "from sr_hooks.cli import main\nmain()"
    )
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SHELL": shell,
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "",
        "SR_HOOKS_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    offered = out.read_text().splitlines() if out.exists() else []
    return {text.strip() for text in offered}, done.stderr.strip().splitlines()[-1] == "True"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_takes_no_torch_and_a_third_of_a_second(shell):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", RUN, "completion", shell], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.strip() == "False" and "sr-hooks" in done.stdout and "_ARGCOMPLETE" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_the_scripts_are_sound_for_their_shells(capsys):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    checked = subprocess.run(["bash", "-n"], input=capsys.readouterr().out, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_an_unknown_shell_is_one_line(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err


def test_commands_are_completed(tmp_path):
    offered, torch = completions("sr-hooks ", tmp_path)
    assert {*COMMANDS, *OWN_ANALYSES} <= offered
    if all(module.startswith("sr_hooks.") for module in _modules()):
        assert not torch
    offered, _ = completions("sr-hooks la", tmp_path)
    assert {"lam", "layers"} <= offered and "ddr" not in offered


def _modules():
    return {kind.__module__ for kind in registry().contributions("register_analyses").values()}


def test_flags_choices_and_files_are_completed_without_torch(tmp_path):
    (tmp_path / "photo.png").touch()
    offered, torch = completions("sr-hooks lam --", tmp_path)
    assert {"--window", "--model", "--hr", "--check", "--json", "--overwrite", "--cone"} <= offered and not torch
    offered, torch = completions("sr-hooks faig-verify --ran", tmp_path)
    assert offered == {"--random-seeds"} and not torch
    offered, torch = completions("sr-hooks completion ", tmp_path)
    assert set(SHELLS) <= offered and not torch
    offered, torch = completions("sr-hooks grid --image ph", tmp_path)
    assert offered == {"photo.png"} and not torch


@pytest.mark.parametrize("name", [*COMMANDS])
def test_no_command_of_ours_imports_torch_for_its_flags(tmp_path, name):
    _, torch = completions(f"sr-hooks {name} --", tmp_path)
    assert not torch


@pytest.mark.parametrize("name", OWN_ANALYSES)
def test_the_flags_read_from_the_source_are_those_of_the_command(name, tmp_path):
    kind = analysis.usable_analyses()[name]
    real = {flag for action in analysis._flags(kind)._actions for flag in action.option_strings}
    offered, torch = completions(f"sr-hooks {name} --", tmp_path)
    assert offered - {"--help"} == real and not torch
    assert set(own_analysis(name).flags) <= real
