"""The list of commands: what it says is true, and it costs no torch."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from sr_hooks.cli.app import main
from sr_hooks.cli.command_list import COMMANDS, OWN_ANALYSES, summaries
from sr_hooks.core.registry import registry

LISTING = """
import sys
from sr_hooks.cli import main
try:
    main(sys.argv[1:])
finally:
    print("torch" in sys.modules)
"""


def test_our_analyses_are_listed_as_their_docstrings_say():
    owned = registry().contributions("register_analyses")
    ours = {name: kind for name, kind in owned.items() if kind.__module__.startswith("sr_hooks.")}
    assert {name: kind.__doc__.splitlines()[0] for name, kind in ours.items()} == OWN_ANALYSES


def test_every_command_is_listed(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert {*OWN_ANALYSES, *COMMANDS, *registry().contributions("register_analyses")} == set(summaries())
    assert all(f"\n    {name} " in printed or f"\n    {name}\n" in printed for name in summaries())


@pytest.mark.parametrize("name", [*COMMANDS, *OWN_ANALYSES])
def test_every_command_has_its_own_help(capsys, name):
    if name == "train":
        assert main([name, "--help"]) == 0
    else:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
    assert f"usage: sr-hooks {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []], ids=["help", "version", "nothing"])
def test_the_list_takes_no_torch_and_half_a_second(tmp_path, arguments):
    environment = {**os.environ, "SR_HOOKS_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # where plugins are installed, the first list imports them
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            [sys.executable, "-c", LISTING, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.stdout.splitlines()[-1] == "False", run.stdout + run.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
