"""The registry of plugins: each is imported alone, and one that fails is disabled with one message."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pluggy

from sr_hooks import hookspecs
from sr_hooks.core.entry_points import GROUP, InstalledPlugin, installed_plugins, is_own
from sr_hooks.errors import PluginError, SRHooksError, is_stop

__all__ = ["Fault", "Registry", "blamed", "check_name", "contributions", "is_strict", "registered", "registry"]

_log = logging.getLogger("sr_hooks")


@dataclass(frozen=True)
class Fault:
    """One error of a plugin: in which hook (or "import", "options", "run", "figure"), and what the user can do."""

    plugin: str
    distribution: str
    version: str
    hook: str
    error: str
    remedy: str
    outcome: str = "disabled"

    def __str__(self) -> str:
        plugin = f"plugin {self.plugin} ({self.distribution} {self.version})"
        return f"{plugin} {self.outcome} at {self.hook}: {self.error}. {self.remedy}"


class _Blamed(PluginError):
    """An error that names its plugin already, and is raised further as it is."""


class Registry:
    """The plugins of this process, what they contribute, and which of them are disabled."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.faults: list[Fault] = []
        self._origin: dict[str, tuple[str, str]] = {}
        self._contributions: dict[str, dict[str, tuple[str, Any]]] = {}
        self._disabled: dict[tuple[str, str], str] = {}  # (hook, name) of a contribution: its plugin

    def load_entry_points(self) -> None:
        """Register every installed plugin, those of sr_hooks first."""
        for installed in installed_plugins():
            self._load(installed)

    def _load(self, installed: InstalledPlugin) -> None:
        distribution, version, point = installed
        if point.name in self._origin:
            owner = " ".join(self._origin[point.name])
            self._fault(
                point.name,
                "entry point",
                PluginError(f"the name is taken by {owner}"),
                "Rename its entry point",
                origin=(distribution, version),
            )
            return
        self._origin[point.name] = (distribution, version)
        try:
            plugin = point.load()
        except BaseException as error:
            if is_stop(error):
                raise
            self._fault(point.name, "import", error, self._remedy(point.name))
            return
        self.register(plugin, point.name)

    def register(self, plugin: Any, name: str) -> None:
        """Register a plugin object under a name; a faulty one, or one whose name is taken, is disabled."""
        if self.manager.has_plugin(name):
            taken = PluginError(f"the name is taken by {' '.join(self._origin[name])}")
            self._fault(name, "register", taken, "Register it under another name", origin=("registered in code", "-"))
            return
        self._origin.setdefault(name, ("registered in code", "-"))
        contract = getattr(plugin, "sr_hooks_api", hookspecs.API_VERSION)
        if not isinstance(contract, int) or contract > hookspecs.API_VERSION:
            text = f"it asks for plugin contract {contract!r}, this sr_hooks has {hookspecs.API_VERSION}"
            self._fault(name, "register", PluginError(text), "Upgrade sr_hooks: pip install --upgrade sr_hooks")
            return
        try:
            self.manager.register(plugin, name)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            self._fault(name, "register", error, "Its hooks must match sr_hooks.hookspecs")
            return
        self._contributions.clear()

    def unregister(self, name: str) -> None:
        """Remove a plugin with its faults and its contributions, as if it had never been registered."""
        if self.manager.has_plugin(name):
            self.manager.unregister(name=name)
        self._origin.pop(name, None)
        self.faults[:] = [fault for fault in self.faults if fault.plugin != name]
        self._disabled = {key: plugin for key, plugin in self._disabled.items() if plugin != name}
        self._contributions.clear()

    def _remedy(self, plugin: str) -> str:
        distribution, version = self._origin.get(plugin, ("", "-"))
        return "Mend it" if version == "-" else f"Mend or uninstall it: pip uninstall {distribution}"

    def _fault(
        self, plugin: str, hook: str, error: BaseException, remedy: str, *, origin: tuple[str, str] | None = None
    ) -> None:
        distribution, version = origin or self._origin.get(plugin, ("?", "?"))
        self.report(Fault(plugin, distribution, version, hook, _message_of(error), remedy), error)

    def report(self, fault: Fault, error: BaseException) -> None:
        """Log a fault once and keep it for the listing; with SR_HOOKS_STRICT=1 raise it instead."""
        if is_strict():
            raise PluginError(str(fault)) from error
        if fault not in self.faults:
            self.faults.append(fault)
            _log.warning("%s", fault)

    def failure(self, hook: str, name: str, where: str, error: BaseException) -> Fault | None:
        """The fault of a third party's contribution that raised in use; None for ours and for unpackaged code.

        This reports nothing and disables nothing.
        """
        plugin = self._owned(hook)[name][0] if name in self._owned(hook) else ""
        distribution, version = self._origin.get(plugin, ("sr-hooks", ""))
        if is_own(distribution) or version == "-":
            return None
        remedy = f"{self._remedy(plugin)} (SR_HOOKS_STRICT=1 shows where it failed)"
        return Fault(plugin, distribution, version, where, _message_of(error), remedy, outcome="failed")

    def disable(self, hook: str, name: str, where: str, error: BaseException) -> None:
        """Disable one contribution that cannot be used, and log that once; the plugin's other contributions stay."""
        plugin = self._owned(hook)[name][0]
        self._disabled[hook, name] = plugin
        self._contributions.clear()
        self._fault(plugin, where, error, self._remedy(plugin))

    def call(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """(plugin, answer) of every plugin with the hook, in order of registration; one that raises is disabled."""
        answers = []
        for name, plugin in list(self.manager.list_name_plugin()):
            if plugin is None or not any(i.plugin is plugin for i in getattr(self.manager.hook, hook).get_hookimpls()):
                continue
            other_plugins = [p for p in self.manager.get_plugins() if p is not plugin]
            caller = self.manager.subset_hook_caller(hook, other_plugins)
            try:
                answers += [(name, answer) for answer in caller(**arguments)]
            except BaseException as error:
                if is_stop(error):
                    raise
                self._fault(name, hook, error, self._remedy(name))
                self.manager.unregister(plugin)
                self._contributions.clear()
        return answers

    def contributions(self, hook: str) -> dict[str, Any]:
        """Name to what plugins contribute by a `register_*` hook; of two with one name, the first counts."""
        return {name: value for name, (_, value) in self._owned(hook).items()}

    def owner(self, hook: str, name: str) -> str:
        """The plugin that contributes a name."""
        return self._owned(hook)[name][0]

    def whose(self, hook: str, name: str) -> str:
        """The plugin that contributes a name, with distribution and version, for messages."""
        plugin = self.owner(hook, name)
        return f"plugin {plugin} ({' '.join(self._origin[plugin])})"

    def _owned(self, hook: str) -> dict[str, tuple[str, Any]]:
        if hook not in self._contributions:
            owned: dict[str, tuple[str, Any]] = {}
            for plugin, answer in self.call(hook):
                try:
                    items = dict(answer).items() if hook != "register_analyses" else [(a.name, a) for a in answer]
                    for name, value in items:
                        if not isinstance(name, str) or not callable(value):
                            raise PluginError(f"{hook} must give names and callables, not {name!r}: {value!r}")
                        if hook == "register_analyses":
                            check_name(name)
                except BaseException as error:
                    if is_stop(error):
                        raise
                    self._fault(plugin, hook, error, "See the hook's docstring for what it must return")
                    continue
                for name, value in items:
                    if (hook, name) in self._disabled:
                        continue
                    if name in owned:
                        taken = PluginError(f"{name!r} is taken by plugin {owned[name][0]}")
                        self._fault(plugin, hook, taken, "Rename it in the plugin")
                    else:
                        owned[name] = (plugin, value)
            self._contributions[hook] = owned
        return self._contributions[hook]

    def listing(self) -> list[dict[str, Any]]:
        """Every plugin with distribution, version, what it contributes and its faults; for people and for JSON."""
        hooks = [name for name in vars(hookspecs) if name.startswith("register_")]
        return [
            {
                "plugin": name,
                "distribution": distribution,
                "version": version,
                "contributes": {
                    hook.removeprefix("register_"): [n for n, (p, _) in self._owned(hook).items() if p == name]
                    for hook in hooks
                    if any(p == name for p, _ in self._owned(hook).values())
                },
                "faults": [str(fault) for fault in self.faults if fault.plugin == name],
            }
            for name, (distribution, version) in self._origin.items()
        ]


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The registry of this process, filled from entry points at its first use."""
    plugins = Registry()
    plugins.load_entry_points()
    return plugins


@contextmanager
def registered(plugin: Any, *, name: str | None = None) -> Iterator[Registry]:
    """Register a plugin object for the length of a `with` block, for tests and notebooks; the registry is yielded.

        with registered(MyPlugin()):
            sr_hooks.run("my-analysis", network, image)

    The plugin's name is its class's name unless `name` says otherwise; PluginError if another plugin has that name.
    A faulty plugin is disabled with a warning, or raises with SR_HOOKS_STRICT=1, as one that is installed.
    """
    name = name or type(plugin).__name__
    plugins = registry()
    if name in plugins._origin:
        raise PluginError(f"a plugin cannot be registered as {name!r}: the name is taken; give another `name`")
    try:
        plugins.register(plugin, name)
        yield plugins
    finally:
        plugins.unregister(name)


def contributions(hook: str) -> dict[str, Callable[..., Any]]:
    """What plugins, ours among them, contribute by a `register_*` hook: name to class or factory."""
    return registry().contributions(hook)


@contextmanager
def blamed(hook: str, name: str, where: str) -> Iterator[None]:
    """Turn any error that a third party's contribution raises in the block into a PluginError that names the plugin.

    A user's mistake (an SRHooksError) passes as it is, and with SR_HOOKS_STRICT=1 so does everything.
    """
    try:
        yield
    except BaseException as error:
        is_users = isinstance(error, SRHooksError) and (type(error) is not PluginError)
        fault = None if is_strict() or is_users or is_stop(error) else registry().failure(hook, name, where, error)
        if fault is None:
            raise
        raise _Blamed(str(fault)) from error


def is_strict() -> bool:
    """Whether plugins' faults are raised (SR_HOOKS_STRICT=1), for their authors and for automatic tests."""
    return os.environ.get("SR_HOOKS_STRICT") == "1"


def _message_of(error: BaseException) -> str:
    message = " ".join(str(error).split())
    text = message if isinstance(error, PluginError) else f"{type(error).__name__}: {message}"
    return text if len(text) <= 300 else text[:297] + "..."


def check_name(name: str) -> None:
    """Refuse, with a PluginError, what no analysis may be called."""
    if re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) is None:
        raise PluginError(f"an analysis cannot be called {name!r}: use lower-case letters, digits, hyphens")
    if name in hookspecs.RESERVED_NAMES:
        raise PluginError(f"an analysis cannot be called {name!r}: that is a command, or a key beside analyses")
