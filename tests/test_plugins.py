"""The plugin contract: what plugins add works, and what they break stays theirs. Packages are real and installed."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import sr_hooks
from sr_hooks import plugins
from tests.networks import Tiny


def install(folder: Path, name: str, source: str, version: str = "1.2.3") -> None:
    """A package as pip would lay it: a module and a dist-info with its entry point."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(textwrap.dedent(source))
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[sr_hooks]\n{name} = {module}\n")


def run_with(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that sees the packages in the folder."""
    import os

    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": f"{folder}:{Path(__file__).resolve().parents[1]}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


LISTING = "import sys; from sr_hooks.cli import main; sys.exit(main(['plugins', '--json']))"

GOOD = """
    from dataclasses import dataclass
    import numpy as np
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


def test_an_analysis_gets_command_flags_and_result_folder(tmp_path):
    install(tmp_path / "site", "sr-mean", GOOD)
    run = run_with(
        tmp_path / "site",
        f"""
        from sr_hooks.cli import main
        from sr_hooks.demo import photographs
        import sys
        sys.exit(main(["mean", "--model", "demo:baseline", "--image", str(photographs()[0]), "--strength", "2",
                       "--out", {str(tmp_path / "out")!r}]))
        """,
    )
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "out/result.json").read_text())
    assert record["provenance"]["options"] == {"strength": 2.0} and record["scalars"]["mean"] > 0
    loaded = sr_hooks.load(tmp_path / "out")  # here, where the plugin is not installed
    assert type(loaded) is sr_hooks.Result and loaded.arrays["image"].shape == (3, 256, 256)


BROKEN = {
    "sr-import": ("import no_such_module_anywhere", "import", "no_such_module_anywhere"),
    "sr-register": (
        "import sr_hooks\n@sr_hooks.hookimpl\ndef register_analyses(wrong):\n    return []",
        "register",
        "wrong",
    ),
    "sr-raise": (
        "import sr_hooks\n@sr_hooks.hookimpl\ndef register_paths():\n    raise RuntimeError('oh dear')",
        "register_paths",
        "oh dear",
    ),
    "sr-wrong": (
        "import sr_hooks\n@sr_hooks.hookimpl\ndef register_objectives():\n    return {'x': 3}",
        "register_objectives",
        "callables",
    ),
    "sr-newer": ("sr_hooks_api = 99", "register", "contract 99"),
    "sr-twice": (
        "import sr_hooks\n@sr_hooks.hookimpl\ndef register_paths():\n    return {'blur': print}",
        "register_paths",
        "taken by plugin paths",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_once_and_set_aside(tmp_path, name):
    source, hook, reason = BROKEN[name]
    install(tmp_path, name, source)
    run = run_with(tmp_path, LISTING)
    listing = {entry["plugin"]: entry for entry in json.loads(run.stdout)}
    (fault,) = listing[name]["faults"]
    assert f"{name} ({name} 1.2.3) set aside at {hook}" in fault and reason in fault
    assert "lam" in listing["lam"]["contributes"]["analyses"] and "blur" in listing["paths"]["contributes"]["paths"]
    assert run.stderr.count("set aside") <= 1 and "Traceback" not in run.stderr
    strict = run_with(tmp_path, LISTING, SR_HOOKS_STRICT="1")
    assert strict.returncode == 2 and f"{name} ({name} 1.2.3) set aside at {hook}" in strict.stderr


def test_two_distributions_with_one_entry_point_name(tmp_path):
    install(tmp_path / "a", "sr-one", "")
    install(tmp_path / "b", "sr-two", "")
    point = tmp_path / "b/sr_two-1.2.3.dist-info/entry_points.txt"
    point.write_text("[sr_hooks]\nsr-one = sr_two\n")
    run = run_with(Path(f"{tmp_path / 'a'}:{tmp_path / 'b'}"), LISTING)
    faults = [fault for entry in json.loads(run.stdout) for fault in entry["faults"]]
    assert len(faults) == 1 and "sr-two 1.2.3" in faults[0] and "taken by sr-one" in faults[0]


def test_observers_see_each_analysis_and_cannot_break_it(lr, caplog):
    seen = []

    class Observer:
        @sr_hooks.hookimpl
        def before_analysis(self, analysis, network, options):
            seen.append((analysis, network.name))

        @sr_hooks.hookimpl
        def after_analysis(self, result):
            seen.append(result.diffusion_index)
            raise ValueError("not my day")

    registry = plugins.registry()
    observer = Observer()
    registry.register(observer, "observer")
    try:
        with caplog.at_level(logging.WARNING, "sr_hooks"):
            result = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
        assert seen == [("lam", "Tiny"), result.diffusion_index]
        assert caplog.text.count("not my day") == 1
        again = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
        assert np.array_equal(result.attribution, again.attribution) and len(seen) == 2
    finally:
        registry.faults[:] = [fault for fault in registry.faults if fault.plugin != "observer"]


def test_a_keyboard_interrupt_passes(lr):
    class Impatient:
        @sr_hooks.hookimpl
        def before_analysis(self, analysis, network, options):
            raise KeyboardInterrupt

    registry = plugins.registry()
    impatient = Impatient()
    registry.register(impatient, "impatient")
    try:
        with pytest.raises(KeyboardInterrupt):
            sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
    finally:
        registry.manager.unregister(impatient)


def test_importing_costs_torch_and_no_more():
    heavy = ["basicsr", "mmengine", "matplotlib", "sklearn", "spandrel", "scipy", "tensorboard"]
    code = f"import sys, sr_hooks; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
