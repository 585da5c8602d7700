"""A block of an option file: what is understood, and what the message says where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sr_hooks.errors import OptionError, SRHooksError
from sr_hooks.training.config import merge, option_file, parse_block, read_block

LAM = {"windows": [[8, 8, 8]]}


def test_a_block() -> None:
    plan = parse_block({"lam": {**LAM, "every": "500", "budget": "5%", "steps": "9", "tolerance": "1e-2"}, "seed": 3})
    (lam,) = plan.analyses
    assert lam.kind.name == "lam" and lam.options.window == [[8, 8, 8]]
    assert lam.schedule.every == 500 and lam.schedule.share == 0.05
    assert lam.options.steps == 9 and lam.options.tolerance == 0.01
    assert plan.seed == 3 and plan.sinks == ("folder", "tensorboard", "log")


def test_shared_keys_at_the_top_are_defaults() -> None:
    plan = parse_block({"every": 7, "budget": "off", "image": "a.png", "lam": {**LAM, "every": 3, "images": "b.png"}})
    assert plan.analyses[0].schedule.every == 3
    assert plan.analyses[0].schedule.share == float("inf")
    assert plan.analyses[0].schedule.wanted == "b.png"


def test_off_and_empty() -> None:
    assert parse_block(None).analyses == () and parse_block({}).analyses == ()
    assert parse_block({"lam": False}).analyses == ()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"lamm": LAM}, ["x.yml: sr_hooks", "'lamm'", "lam"]),
        ({"lam": {**LAM, "evry": 5}}, ["x.yml: sr_hooks: lam", "'evry'", "did you mean every"]),
        ({"lam": {**LAM, "tolerence": 5}}, ["'tolerence'", "did you mean tolerance"]),
        ({"lam": {**LAM, "every": "often"}}, ["x.yml: sr_hooks: lam", "every is 'often'"]),
        ({"lam": {**LAM, "every": True}}, ["every is True"]),
        ({"lam": {**LAM, "every": 0}}, ["every is 0"]),
        ({"lam": {**LAM, "budget": 2}}, ["budget is 2", "2%"]),
        ({"lam": {**LAM, "network": "emma"}}, ["network is 'emma'", "ema"]),
        ({"lam": {**LAM, "on_error": "ignore"}}, ["on_error is 'ignore'", "log, raise"]),
        ({"lam": {"windows": "here"}}, ["x.yml: sr_hooks: lam", "window"]),
        ({"lam": {"windows": [[8, 8, 8]], "window": [8, 8, 8]}}, ["same key"]),
        ({"lam": {}}, ["x.yml: sr_hooks: lam", "window must be given"]),
        ({"lam": 5}, ["x.yml: sr_hooks: lam", "mapping"]),
        ({"lam": {**LAM, "image": "a", "images": "b"}}, ["image and images"]),
        ([1], ["x.yml: sr_hooks", "must map analyses"]),
        ({"sinks": ["fodler"], "lam": LAM}, ["no sink 'fodler'", "folder"]),
        ({"sinks": 3, "lam": LAM}, ["sinks is 3"]),
        ({"seed": "x", "lam": LAM}, ["seed is 'x'"]),
    ],
)
def test_messages_name_file_key_and_nearest(block: object, words: list[str]) -> None:
    with pytest.raises(SRHooksError) as caught:
        parse_block(block, where="x.yml: sr_hooks")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_watching_loads_no_host_and_no_plotting() -> None:
    heavy = ["basicsr", "mmengine", "matplotlib", "sklearn", "tensorboard", "torchvision"]
    code = (
        "import sys, sr_hooks.adapters.watch\nfrom sr_hooks.core import registry\nregistry.registry()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_merging_goes_key_by_key() -> None:
    assert merge({"lam": {"every": 1, "image": "a"}}, None, {"lam": {"every": 2}, "seed": 1}) == {
        "lam": {"every": 2, "image": "a"},
        "seed": 1,
    }
    assert merge({"lam": {"every": 1}}, {"lam": False}) == {"lam": False}


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / "watch.yml"
    file.write_text("sr_hooks:\n  lam: {every: 3}\n")
    assert read_block(file) == {"lam": {"every": 3}}
    file.write_text("lam: {every: 3}\n")
    assert read_block(file) == {"lam": {"every": 3}}
    file.write_text("sr_hooks:\n")
    assert read_block(file) == {}
    for text, word in (("[1, 2]", "mapping"), ("a: [", "YAML")):
        file.write_text(text)
        with pytest.raises(OptionError, match=word):
            read_block(file)
    with pytest.raises(OptionError, match="cannot read"):
        read_block(tmp_path / "no.yml")


def test_the_option_file_among_arguments() -> None:
    assert option_file(["train.py", "-opt", "a.yml", "--debug"]) == Path("a.yml")
    assert option_file(["train.py", "-opt=b.yml"]) == Path("b.yml")
    assert option_file(["train.py", "-opt"]) is None and option_file([]) is None
