"""The command line as a person uses it: its answers, its exit status, its one line for a mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli import analysis
from sr_hooks.cli.app import main
from sr_hooks.demo.assets import photographs
from sr_hooks.images.image import downsample, read_image, write_image


@pytest.fixture
def lr_file(tmp_path, lr):
    write_image(lr, tmp_path / "lr.png")
    return tmp_path / "lr.png"


@pytest.mark.slow
def test_lam_writes_what_python_gives(tmp_path, lr_file, capsys):
    out = tmp_path / "out"
    status = main(
        ["lam", "--model", "demo:baseline", "--image", str(lr_file), "--window", "72", "56", "16", "--out", str(out)]
    )
    assert status == 0
    printed = capsys.readouterr()
    assert "diffusion index" in printed.out and "sound" in printed.out and printed.err == ""
    expected = sr_hooks.lam(sr_hooks.Network.of(_demo()), read_image(lr_file), window=(72, 56, 16))
    loaded = sr_hooks.load(out)
    assert np.array_equal(loaded.attribution, expected.attribution)
    assert loaded.provenance["network"]["sha256"] == expected.provenance["network"]["sha256"]
    assert main(["show", str(out)]) == 0 and "diffusion index" in capsys.readouterr().out


def _demo():
    from sr_hooks.demo.assets import demo_network

    return demo_network("baseline")


@pytest.mark.slow
def test_several_images_and_windows_from_hr(tmp_path, capsys):
    files = [str(path) for path in photographs()[:2]]
    windows = ["72,56,16;0,0,16"]
    out = tmp_path / "out"
    arguments = ["lam", "--model", "demo:target", "--hr", "--image", *files, "--window", *windows, "--out", str(out)]
    assert main([*arguments, "--steps", "3"]) == 0
    names = sorted(p.name for p in out.iterdir())
    assert names == ["astronaut_0", "astronaut_1", "cat_0", "cat_1"]
    expected = sr_hooks.lam(
        _demo_target(), downsample(read_image(files[1]), 4), window=[(72, 56, 16), (0, 0, 16)], steps=3
    )
    assert np.array_equal(sr_hooks.load(out / "cat_1").attribution, expected[1].attribution)
    assert "cat_1" in capsys.readouterr().out


def _demo_target():
    from sr_hooks.demo.assets import demo_network

    return demo_network("target")


def test_layers_and_plugins(capsys):
    assert main(["layers", "--model", "demo", "--size", "16"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"conv_last +Conv2d +1x32x16x16 +1x48x16x16", printed) and "auto is conv_last:in" in printed
    assert main(["layers", "--model", "demo", "--size", "16", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    named = {each["name"]: each for each in record["layers"]}
    assert record["command"] == "layers" and record["auto"] == "conv_last:in"
    assert named["conv_last"] | {"calls": 1, "kind": "Conv2d"} == named["conv_last"]
    assert named["conv_last"]["input"] == [1, 32, 16, 16] and named["conv_last"]["output"] == [1, 48, 16, 16]
    assert main(["layers", "--model", "demo", "--size", "16", "--quiet"]) == 0 and not capsys.readouterr().out
    assert main(["plugins"]) == 0 and "analyses: lam" in capsys.readouterr().out
    assert main(["plugins", "--json"]) == 0
    assert any(entry["plugin"] == "lam" for entry in json.loads(capsys.readouterr().out))


def test_import_path_with_arguments_and_weights(tmp_path, lr_file, capsys):
    from tests.support.networks import Tiny

    torch.save(Tiny(scale=3).state_dict(), tmp_path / "w.pth")
    base = ["layers", "--model", "tests.support.networks:Tiny", "--arguments", "{scale: 3}", "--size", "8"]
    assert main([*base, "--weights", str(tmp_path / "w.pth")]) == 0
    assert "1x3x24x24" in capsys.readouterr().out


MISTAKES = {
    "no command": ([], "COMMAND"),
    "unknown command": (["lamm"], "lamm"),
    "no window": (["lam", "--model", "demo", "--image", "{lr}"], "--window"),
    "window outside": (["lam", "--model", "demo", "--image", "{lr}", "--window", "250", "0", "16"], "256 pixels high"),
    "no image": (["lam", "--model", "demo", "--image", "nothing.png", "--window", "0", "0", "16"], "nothing.png"),
    "no model": (["lam", "--model", "nothing.pth", "--image", "{lr}", "--window", "0", "0", "16"], "nothing.pth"),
    "unknown demo": (["layers", "--model", "demo:best"], "baseline and target"),
    "unknown option": (["lam", "--model", "demo", "--image", "{lr}", "--windw", "0"], "--w"),
    "bad number": (
        ["lam", "--model", "demo", "--image", "{lr}", "--window", "0", "0", "16", "--tolerance", "low"],
        "tolerance is 'low'",
    ),
    "bad yaml": (["layers", "--model", "demo", "--arguments", "{a"], "not sound YAML"),
    "bad device": (["layers", "--model", "demo", "--device", "gpu9"], "--device gpu9"),
    "out is a file": (
        ["lam", "--model", "demo", "--image", "{lr}", "--window", "0", "0", "16", "--out", "{lr}"],
        "is a file",
    ),
    "no result": (["show", "{folder}"], "no result in"),
    "size 0": (["layers", "--model", "demo", "--size", "0"], "at least 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(tmp_path, lr_file, capsys, monkeypatch, name):
    arguments, expected = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    status = main([a.replace("{lr}", str(lr_file)).replace("{folder}", str(tmp_path)) for a in arguments])
    printed = capsys.readouterr()
    assert status == 2 and printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1 and expected in printed.err and "Traceback" not in printed.err
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_a_fault_of_ours_is_status_1_with_its_traceback(lr_file, capsys, monkeypatch):
    monkeypatch.setattr(analysis, "read_input", lambda *a, **k: 1 / 0)
    status = main(["lam", "--model", "demo", "--image", str(lr_file), "--window", "0", "0", "16"])
    printed = capsys.readouterr()
    assert status == 1 and "ZeroDivisionError" in printed.err and "fault of ours" in printed.err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["lam", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for flag in ("--window", "--objective", "--path", "--steps", "--tolerance", "--precision", "--compat", "--seed"):
        assert flag in printed
    assert "--gt" not in printed


@pytest.mark.slow
def test_no_progress_bar_where_there_is_no_terminal(tmp_path, lr_file):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "sr_hooks",
            "lam",
            "--model",
            "demo",
            "--image",
            str(lr_file),
            "--window",
            "72",
            "56",
            "16",
            "--steps",
            "65",
            "--out",
            str(tmp_path / "o"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
