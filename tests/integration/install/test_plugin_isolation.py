"""What packages break stays theirs and is named; what they add works. All packages here are installed by pip."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest

import sr_hooks
from sr_hooks.demo.assets import photographs
from sr_hooks.results.run_index import read_index
from tests.support.environments import Environment, wheel

GOOD = """
    from dataclasses import dataclass
    import sr_hooks

    @dataclass(frozen=True)
    class Options:
        strength: float = sr_hooks.option(0.5, "how strongly")

    class Mean(sr_hooks.Analysis):
        '''The mean of the output.'''
        name = "mean"
        options_type = Options

        def run(self, network, images, options):
            value = float(network(images).mean()) * options.strength
            return sr_hooks.Result("mean", {"image": images[0].numpy()}, {"mean": value}, {}, "fine.")

    @sr_hooks.hookimpl
    def register_analyses():
        return [Mean]

    @sr_hooks.hookimpl
    def register_paths():
        return {"white": lambda argument, seed: lambda image, t: image * t + (1 - t)}
"""


def analysis(name: str, *, fields: str = "", run: str = "", figure: str = "return None") -> str:
    """A module with one analysis whose parts are as given."""
    return f"""
from dataclasses import dataclass
import sr_hooks

@dataclass(frozen=True)
class Options:
    strength: float = sr_hooks.option(0.5, "how strongly")
{textwrap.indent(textwrap.dedent(fields), "    ")}

class Broken(sr_hooks.Analysis):
    '''An analysis of a third party.'''
    name = "{name}"
    options_type = Options

    def run(self, network, images, options):
{textwrap.indent(textwrap.dedent(run), "        ")}
        return sr_hooks.Result("{name}", {{}}, {{"value": 1.0}}, {{}}, "fine.")

    @classmethod
    def figure(cls, result):
        {figure}

@sr_hooks.hookimpl
def register_analyses():
    return [Broken]
"""


def hook(name: str, body: str, arguments: str = "") -> str:
    return f"import sr_hooks\n@sr_hooks.hookimpl\ndef {name}({arguments}):\n    {body}\n"


UNINSTALL = "Mend or uninstall it: pip uninstall "

SET_ASIDE = {  # distribution: its module, the hook that is named, the reason, the remedy
    "sr-import": ("import no_such_module_anywhere", "import", "no_such_module_anywhere", UNINSTALL),
    "sr-old": ("from sr_hooks.taps import resolve", "import", "sr_hooks.taps has moved to sr_hooks.hooks", UNINSTALL),
    "sr-older": (
        "from sr_hooks import metrics",
        "import",
        "has moved to sr_hooks.images (sr_hooks 0.2, plug",
        UNINSTALL,
    ),
    "sr-exit": ("import sys\nsys.exit('no licence')", "import", "SystemExit: no licence", UNINSTALL),
    "sr-register": (hook("register_analyses", "return []", "wrong"), "register", "wrong", "must match"),
    "sr-raise": (hook("register_paths", "raise RuntimeError('oh dear')"), "register_paths", "oh dear", UNINSTALL),
    "sr-wrong": (hook("register_objectives", "return {'x': 3}"), "register_objectives", "callables", "docstring"),
    "sr-newer": ("sr_hooks_api = 99", "register", "contract 99", "Upgrade sr_hooks"),
    "sr-odd": ("sr_hooks_api = '2'", "register", "contract '2'", "Upgrade sr_hooks"),
    "sr-twice": (
        hook("register_paths", "return {'blur': print}"),
        "register_paths",
        "'blur' is taken by plugin paths",
        "Rename",
    ),
    "sr-command": (analysis("plugins"), "register_analyses", "that is a command", "docstring"),
    "sr-second-lam": (analysis("lam"), "register_analyses", "'lam' is taken by plugin lam", "Rename"),
    "sr-options": (
        analysis("bad-options").replace("@dataclass(frozen=True)", ""),
        "options",
        "must be called with a dataclass",
        UNINSTALL,
    ),
}

FAILING = {  # distribution: its module, the step that is named, the reason; found only in use
    "sr-check": (analysis("bad-check", fields="def __post_init__(self):\n    [][1]"), "options", "IndexError"),
    "sr-answer": (analysis("bad-answer", run="return 42"), "run", "returned a int, not a Result"),
    "sr-run": (analysis("bad-run", run="raise KeyError('lost')"), "run", "KeyError: 'lost'"),
    "sr-figure": (analysis("bad-figure", figure="return 1 / 0"), "figure", "ZeroDivisionError"),
}


WATCHER = """
    from dataclasses import dataclass
    import sr_hooks
    from sr_hooks.analyses import Watcher

    @dataclass(frozen=True)
    class Options:
        tame: bool = sr_hooks.option(False, "whether it passes its check")

    class Watching(Watcher):
        def check(self, network):
            if not self.options.tame:
                raise KeyError("unready")

        def due(self, network, iteration):
            raise KeyError("undone")

    class Bad(sr_hooks.Analysis):
        name = "bad-watcher"
        options_type = Options
        watcher_type = Watching

    @sr_hooks.hookimpl
    def register_analyses():
        return [Bad]
"""

SINK = """
    import sr_hooks
    from sr_hooks.attribution import Objective
    from sr_hooks.training import Sink

    class Leaking(Sink):
        def write(self, result, *, iteration, folder):
            raise OSError("the pipe is full")

    class Fragile(Objective):
        name = "fragile"

        def __call__(self, output, inputs, window):
            raise KeyError("no such class")

    @sr_hooks.hookimpl
    def register_sinks():
        return {"leaking": Leaking}

    @sr_hooks.hookimpl
    def register_objectives():
        return {"fragile": lambda argument: [][1] if argument else Fragile()}

    @sr_hooks.hookimpl
    def register_network_loaders():
        return {"vault": lambda spec, arguments, **facts: {}["key"] if spec.startswith("vault:") else None}
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One with the good package and all the bad ones, really installed, by one call of pip."""
    folder = tmp_path_factory.mktemp("plugins")
    modules = {"sr-mean": GOOD} | {name: module for name, (module, *_) in [*SET_ASIDE.items(), *FAILING.items()]}
    modules |= {"sr-leaking": SINK, "sr-watcher": WATCHER}
    wheels = [wheel(folder / "wheels", name, source) for name, source in modules.items()]
    wheels.append(wheel(folder / "wheels", "sr-usurper", "", point="sr-mean"))
    made = Environment(folder / "environment")
    made.install(*wheels)
    return made


@pytest.fixture(scope="module")
def listed(environment: Environment) -> tuple[dict[str, dict[str, Any]], str]:
    """What `sr-hooks plugins --json` says, and what stands on stderr meanwhile."""
    done = environment.run("sr-hooks", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    return {entry["plugin"]: entry for entry in json.loads(done.stdout)}, done.stderr


@pytest.mark.parametrize("name", SET_ASIDE)
def test_a_broken_package_is_named_once_and_disabled(listed, name):
    listing, said = listed
    _, where, reason, remedy = SET_ASIDE[name]
    (fault,) = listing[name]["faults"]
    assert fault.startswith(f"plugin {name} ({name} 1.2.3) disabled at {where}: ")
    assert reason in fault and remedy in fault and (remedy != UNINSTALL or fault.endswith(f"pip uninstall {name}"))
    assert said.splitlines().count(fault) == 1


def test_the_rest_goes_on(listed):
    listing, said = listed
    assert "Traceback" not in said and len(said.splitlines()) == len(SET_ASIDE) + 1
    assert listing["lam"]["contributes"]["analyses"] == ["lam"] and "blur" in listing["paths"]["contributes"]["paths"]
    assert listing["sr-mean"]["contributes"] == {"analyses": ["mean"], "paths": ["white"]}
    assert listing["sr-run"]["contributes"] == {"analyses": ["bad-run"]} and not listing["sr-run"]["faults"]


def test_two_distributions_with_one_entry_point_name(listed):
    (fault,) = listed[0]["sr-mean"]["faults"]
    assert fault.startswith("plugin sr-mean (sr-usurper 1.2.3) disabled at entry point: the name is taken by sr-mean")
    assert "Rename its entry point" in fault


def test_strict_raises_instead(environment):
    done = environment.run("sr-hooks", "plugins", SR_HOOKS_STRICT="1")
    assert done.returncode == 2 and "disabled at" in done.stderr and "Traceback" not in done.stderr


def test_an_analysis_gets_command_flags_and_result_folder(environment, tmp_path):
    image, out = str(photographs()[0]), tmp_path / "out"
    flags = ["--model", "demo:baseline", "--image", image, "--strength", "2", "--out", str(out)]
    done = environment.run("sr-hooks", "mean", *flags)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "result.json").read_text())
    assert record["provenance"]["options"] == {"strength": 2.0} and record["scalars"]["mean"] > 0
    loaded = sr_hooks.load(out)  # here, where the plugin is not installed
    assert type(loaded) is sr_hooks.Result and loaded.arrays["image"].shape == (3, 256, 256)


USED = """
    import json, logging, sys, torch
    import sr_hooks
    from sr_hooks.cli import main

    image, out = sys.argv[1:]
    found = {}
    for name in ("bad-check", "bad-answer", "bad-run", "bad-figure", "mean"):
        flags = ["--model", "demo:baseline", "--image", image, "--out", f"{out}/{name}"]
        print(f"== {name}", file=sys.stderr)
        found[name] = main([name, *flags])
    print("== block", file=sys.stderr)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def train(**watched):
        with sr_hooks.watch(network, optimizer, image=image, folder=f"{out}/watched", **watched):
            for _ in range(5):
                optimizer.zero_grad()
                network(torch.rand(1, 3, 8, 8)).sum().backward()
                optimizer.step()

    for block in ({"bad-check": {"at": 1}}, {"bad-watcher": {"at": 1}}):
        try:
            train(**block)
        except sr_hooks.SRHooksError as error:
            print(error, file=sys.stderr)
    print("== run", file=sys.stderr)
    sinks = ["folder", "leaking", "log"]
    train(sinks=sinks, **{"bad-run": {"every": 1, "budget": "off"}, "mean": {"at": [1, 5]}, "bad-figure": {"at": 1}})
    train(**{"bad-watcher": {"every": 2, "tame": True, "budget": "off"}})
    print("== others", file=sys.stderr)
    lam = ["lam", "--image", image, "--hr", "--window", "8", "8", "8", "--out", f"{out}/lam", "--model"]
    found["objective"] = main([*lam, "demo:baseline", "--objective", "fragile"])
    found["factory"] = main([*lam, "demo:baseline", "--objective", "fragile:1"])
    found["loader"] = main([*lam, "vault:1"])
    print(json.dumps(found))
"""


def test_what_fails_in_use_is_named_and_the_rest_goes_on(environment, tmp_path):
    """From the command line, in a block of options, and in a training run."""
    done = environment.run("python", "-c", textwrap.dedent(USED), str(photographs()[0]), str(tmp_path))
    assert done.returncode == 0, done.stderr
    statuses = dict.fromkeys(["bad-check", "bad-answer", "bad-run", "objective", "factory", "loader"], 2)
    statuses |= {"bad-figure": 0, "mean": 0}
    assert json.loads(done.stdout.splitlines()[-1]) == statuses
    said = dict(part.split("\n", 1) for part in done.stderr.split("== ")[1:])
    for name, (_, where, reason) in FAILING.items():
        analysis_name = "bad-" + name.removeprefix("sr-")
        (line,) = [line for line in said[analysis_name].splitlines() if reason in line]
        assert f"plugin {name} ({name} 1.2.3) failed at {where}: " in line and f"pip uninstall {name}" in line
        assert "Traceback" not in said[analysis_name]
    assert "plugin sr-check (sr-check 1.2.3) failed at options: IndexError" in said["block"]
    assert said["run"].count("plugin sr-run (sr-run 1.2.3) failed at run: KeyError: 'lost'") >= 1
    assert "plugin sr-watcher (sr-watcher 1.2.3) failed at check: KeyError: 'unready'" in said["block"]
    assert "plugin sr-watcher (sr-watcher 1.2.3) failed at iteration 4: KeyError: 'undone'" in said["run"]
    assert "disabled after 3 errors" in said["run"]
    assert (
        "plugin sr-leaking (sr-leaking 1.2.3) failed at sink leaking, 5/mean: OSError: the pipe is full" in said["run"]
    )
    assert "Traceback" not in said["others"] and "the objective fragile failed: KeyError" in said["others"]
    for where in ("objective fragile:1: IndexError", "network loader vault, vault:1: KeyError"):
        assert f"plugin sr-leaking (sr-leaking 1.2.3) failed at {where}" in said["others"]
    entries = {(e["iteration"], e["analysis"]) for e in read_index(tmp_path / "watched")}
    assert entries == {(1, "mean"), (5, "mean"), (1, "bad-figure")}
    assert (tmp_path / "bad-figure/result.json").is_file() and not (tmp_path / "bad-figure/figure.png").exists()
