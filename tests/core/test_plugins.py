"""The plugin contract within one process: observers, names, and what importing costs."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import numpy as np
import pytest

import sr_hooks
from sr_hooks.cli.command_list import COMMANDS
from sr_hooks.core import registry as plugins
from sr_hooks.errors import PluginError
from sr_hooks.hookspecs import RESERVED_NAMES
from sr_hooks.training.schedule import Schedule
from tests.support.networks import Tiny


def test_every_command_and_key_is_reserved():
    keys = {field.name for field in dataclasses.fields(Schedule)} | {"sinks", "seed"}
    assert set(COMMANDS) | keys <= RESERVED_NAMES


@pytest.mark.slow
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

    with plugins.registered(Observer()):
        with caplog.at_level(logging.WARNING, "sr_hooks"):
            result = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
        assert seen == [("lam", "Tiny"), result.diffusion_index]
        assert caplog.text.count("not my day") == 1
        again = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
        assert np.array_equal(result.attribution, again.attribution) and len(seen) == 2


def test_a_keyboard_interrupt_passes(lr):
    class Impatient:
        @sr_hooks.hookimpl
        def before_analysis(self, analysis, network, options):
            raise KeyboardInterrupt

    with plugins.registered(Impatient()), pytest.raises(KeyboardInterrupt):
        sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)


@pytest.mark.slow
def test_importing_costs_torch_and_no_more():
    heavy = ["basicsr", "mmengine", "matplotlib", "sklearn", "spandrel", "scipy", "tensorboard"]
    names = "[getattr(sr_hooks, name) for name in dir(sr_hooks)]"  # each is imported at its first use
    code = f"import sys, sr_hooks; {names}; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class Loud(sr_hooks.Analysis):
    """An analysis whose options cannot be read."""

    name, options_type = "loud", int

    def run(self, network, images, options):
        raise NotImplementedError


class Contributor:
    """Contributes an analysis."""

    @sr_hooks.hookimpl
    def register_analyses(self):
        return [Loud]


def test_a_plugin_is_registered_for_a_block_and_leaves_nothing(caplog):
    before, faults = plugins.registry().listing(), list(plugins.registry().faults)
    for _ in range(2):  # what was disabled the first time is met again the second
        with plugins.registered(Contributor()) as registry:
            assert plugins.contributions("register_analyses")["loud"] is Loud
            assert registry.owner("register_analyses", "loud") == "Contributor"
            with (
                pytest.raises(PluginError, match="'Contributor': the name is taken"),
                plugins.registered(Contributor()),
            ):
                pass
            registry.disable("register_analyses", "loud", "options", TypeError("int"))
            assert "loud" not in plugins.contributions("register_analyses")
            assert [fault.plugin for fault in registry.faults if fault not in faults] == ["Contributor"]
        assert "loud" not in plugins.contributions("register_analyses")
        assert plugins.registry().listing() == before and plugins.registry().faults == faults


def test_a_block_that_raises_unregisters_too():
    with pytest.raises(ZeroDivisionError), plugins.registered(Contributor(), name="other"):
        assert "loud" in plugins.contributions("register_analyses")
        raise ZeroDivisionError
    assert "loud" not in plugins.contributions("register_analyses")


def test_a_faulty_plugin_is_registered_without_effect(caplog):
    class Newer(Contributor):
        sr_hooks_api = 10**6

    with plugins.registered(Newer()) as registry:
        assert "loud" not in plugins.contributions("register_analyses")
        assert registry.faults[-1].plugin == "Newer"
    assert all(fault.plugin != "Newer" for fault in plugins.registry().faults)


def test_the_first_owner_keeps_a_name_that_is_taken(caplog):
    class First:
        @sr_hooks.hookimpl
        def register_objectives(self):
            return {"first": lambda patch: patch.sum()}

    registry = plugins.registry()
    with plugins.registered(First(), name="owner"):
        before = len(registry.faults)
        registry.register(object(), "owner")
        assert "first" in registry.contributions("register_objectives")
        assert "the name is taken" in str(registry.faults[before:])
        registry.faults[before:] = []
    assert "first" not in registry.contributions("register_objectives")
