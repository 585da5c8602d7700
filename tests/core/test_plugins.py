"""The plugin contract within one process: observers, names, and what importing costs."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import numpy as np
import pytest

import sr_hooks
from sr_hooks.cli import app as cli
from sr_hooks.core import registry as plugins
from sr_hooks.hookspecs import RESERVED_NAMES
from sr_hooks.training.schedule import Schedule
from tests.support.networks import Tiny


def test_every_command_and_key_is_reserved():
    commands = cli._parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    ours = set(commands) - set(plugins.contributions("register_analyses"))
    keys = {field.name for field in dataclasses.fields(Schedule)} | {"sinks", "seed"}
    assert ours | keys <= RESERVED_NAMES


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
