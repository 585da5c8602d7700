"""Nonsense in options is refused in one line, by bounds that a plugin's options can have too."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sr_hooks.analyses.base import find_analysis
from sr_hooks.core.options import from_mapping, option
from sr_hooks.core.yaml_files import parse_yaml
from sr_hooks.errors import OptionError, SRHooksError, WindowError
from sr_hooks.images.windows import parse_windows
from sr_hooks.training.config import parse_block

pytestmark = pytest.mark.slow

BLOCKS = [
    "lam: {window: [0, 0, 8], steps: 1000000000}",
    "lam: {window: [0, 0, 8], steps: true}",
    "lam: {window: [0, 0, 8], steps: 1}",
    "lam: {window: [0, 0, 8], seed: true}",
    "lam: {window: [0, 0, 8], seed: 1.9}",
    "lam: {window: [0, 0, 8], seed: -1}",
    "lam: {window: [0, 0, 8], seed: " + 200 * "9" + "}",
    "lam: {window: [0, 0, 8], tolerance: .inf}",
    "lam: {window: [0, 0, 8], tolerance: .nan}",
    "lam: {window: [0, 0, 1" + 400 * "0" + "]}",
    "lam: {window: [true, 0, 8]}",
    "lam: {window: []}",
    "lam: {windows: [" + "[0, 0, 8], " * 50_000 + "]}",
    "lam: {window: [0, 0, 8], images: []}",
    "lam: {window: [0, 0, 8], at: []}",
    "lam: {window: [0, 0, 8], at: [0]}",
    "lam: {window: [0, 0, 8], at: true}",
    "lam: {window: [0, 0, 8], every: " + 60 * "9" + "}",
    "lam: {window: [0, 0, 8], every: 0}",
    "lam: {window: [0, 0, 8], budget: .inf}",
    "lam: {window: [0, 0, 8], limit: .inf}",
    "lam: {window: [0, 0, 8], " + 5000 * "x" + ": 1}",
    5000 * "x" + ": {}",
    "ddr: {patches: 1000000000000}",
    "ddr: {tsne: 100000}",
    "ddr: {layers: []}",
    "ddr: {degradations: []}",
    "ddr: {degradations: [" + "blur:2, " * 20_000 + "]}",
    "faig: {refine: 7}",
    "faig: {crop: 0}",
    "seed: true",
    "seed: .inf",
    "seed: 1.9",
    "seed: -1",
    "seed: [1]",
    "seed: " + 200 * "9",
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[:40])
def test_nonsense_in_a_block_is_refused_in_one_line(block):
    with pytest.raises(SRHooksError) as caught:
        parse_block(parse_yaml(block, name="the block"))
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lam", "ddr", "faig", "faig-verify"])
def test_every_number_among_our_options_is_bounded(name):
    kind = find_analysis(name)
    needed = {"lam": {"window": (0, 0, 8)}, "faig": {"baseline": "b"}, "faig-verify": {"result": "r"}}.get(name, {})
    for field in dataclasses.fields(kind.options_type):
        if "int" not in str(field.type) and "float" not in str(field.type):
            continue
        for value in (10**200, -(10**18), float("inf"), float("nan")):
            with pytest.raises(OptionError) as caught:
                from_mapping(kind.options_type, {**needed, field.name: value})
            assert field.name in str(caught.value) and len(str(caught.value)) < 1000


@dataclasses.dataclass(frozen=True)
class PluginOptions:
    count: int = option(3, "a plugin's", at_least=1, at_most=9)
    sizes: list[int] = option((1,), "a plugin's list", at_least=1, at_most=9)
    share: float | None = option(None, "a plugin's share", at_most=1)
    on: bool = option(False, "a flag")
    either: bool | int = option(False, "a flag or a number")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "count is 0: it must be at least 1"),
        ({"count": "10"}, "at most 9"),
        ({"count": True}, "not true or false"),
        ({"sizes": [1, 10]}, "at most 9"),
        ({"sizes": []}, "empty"),
        ({"share": 1.5}, "at most 1"),
        ({"share": float("inf")}, "finite"),
        ({"count": 10**5000}, "thousands of digits"),
    ],
)
def test_a_plugins_bounds_hold(values: dict[str, Any], words: str):
    with pytest.raises(OptionError, match=words):
        from_mapping(PluginOptions, values)


def test_what_is_within_bounds_passes():
    options = from_mapping(PluginOptions, {"count": "9", "sizes": (1, 9), "share": 1, "on": True, "either": True})
    assert (options.count, options.share, options.on, options.either) == (9, 1, True, True)


def test_windows_are_counted():
    assert len(parse_windows([(0, 0, 8)] * 1000)[0]) == 1000
    with pytest.raises(WindowError, match="1001 windows"):
        parse_windows([(0, 0, 8)] * 1001)


def test_messages_of_all_errors_are_shortened():
    error = OptionError("a" * 5000 + "the end")
    assert len(str(error)) == 900 and str(error).endswith("the end")
