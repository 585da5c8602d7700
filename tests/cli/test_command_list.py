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


PLUGIN = """
import dataclasses
import sr_hooks
from sr_hooks import Analysis, Result, hookimpl

@dataclasses.dataclass(frozen=True)
class Options:
    kind: str = sr_hooks.option("x", "of what")

class Flicker(Analysis):
    \"\"\"Does it flicker?\"\"\"
    name = "NAME"
    options_type = Options

    def run(self, network, images, options):
        return Result("NAME", {}, {}, {}, "it does.")

@hookimpl
def register_analyses():
    return [Flicker]
"""


@pytest.fixture
def installed(tmp_path):
    """A folder on the path with a plugin in it; returns what lists the commands, and whether that imported torch."""
    site = tmp_path / "site"
    info = site / "sr_hooks_flicker-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sr-hooks-flicker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sr_hooks]\nflicker = sr_hooks_flicker\n")
    (site / "sr_hooks_flicker.py").write_text(PLUGIN.replace("NAME", "flicker"))
    path = os.pathsep.join([str(site), *sys.path[1:]])
    environment = {**os.environ, "SR_HOOKS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": path}

    def listing():
        run = subprocess.run(
            [sys.executable, "-c", LISTING, "--help"], env=environment, capture_output=True, text=True, check=False
        )
        lines = run.stdout.splitlines()
        return {line.split()[0] for line in lines if line.startswith("    ") and line.split()}, lines[-1] == "True"

    return site, tmp_path / "cache", listing


@pytest.mark.slow
def test_a_plugin_that_is_removed_or_renamed_is_not_listed_from_the_cache(installed):
    site, cache, listing = installed
    names, torch = listing()
    assert "flicker" in names and torch  # the first list imports the plugin
    names, torch = listing()
    assert "flicker" in names and not torch  # and this one is from the cache
    (site / "sr_hooks_flicker.py").write_text(PLUGIN.replace("NAME", "shimmer"))
    names, torch = listing()
    assert "shimmer" in names and "flicker" not in names
    for file in (site / "sr_hooks_flicker-1.0.dist-info").iterdir():
        file.unlink()
    (site / "sr_hooks_flicker-1.0.dist-info").rmdir()
    names, torch = listing()
    assert not {"shimmer", "flicker"} & names and list(cache.glob("commands-*"))


@pytest.mark.slow
def test_a_cache_that_names_what_no_plugin_has_is_made_again(installed):
    _, cache, listing = installed
    listing()
    for file in cache.glob("commands-*.json"):
        file.write_text('{"flicker": "Does it flicker?", "gone": "A plugin of yesterday.", "grid": "Not the grid."}')
    names, torch = listing()
    assert "flicker" in names and "gone" not in names and torch
