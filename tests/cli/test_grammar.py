"""One grammar for windows, networks and devices on every command, and `show` on what BasicSR leaves."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

import sr_hooks
from sr_hooks.cli import grid
from sr_hooks.cli.app import main
from sr_hooks.cli.networks import device_of
from sr_hooks.errors import OptionError
from sr_hooks.images.image import write_image
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

TINY = "tests.support.networks:Tiny"
WRITTEN = {
    "one": (["8,8,8"], [(8, 8, 8, 8)]),
    "three words": (["8", "8", "8"], [(8, 8, 8, 8)]),
    "four words": (["8", "8", "8", "4"], [(8, 8, 8, 4)]),
    "several": (["8,8,8;0,0,12"], [(8, 8, 8, 8), (0, 0, 12, 12)]),
    "spaces": (["8, 8, 8; 0 0 12"], [(8, 8, 8, 8), (0, 0, 12, 12)]),
    "several words": (["8,8,8", "0,0,12"], [(8, 8, 8, 8), (0, 0, 12, 12)]),
    "both": (["8,8,8;0,0,12", "4,4,4,6"], [(8, 8, 8, 8), (0, 0, 12, 12), (4, 4, 4, 6)]),
    "one text with spaces": (["8,8,8 0,0,12"], [(8, 8, 8, 8), (0, 0, 12, 12)]),
}


@pytest.fixture
def image(tmp_path, lr, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(lr[..., :24, :24], tmp_path / "a.png")
    return "a.png"


@pytest.mark.parametrize("name", WRITTEN)
def test_windows_are_written_alike_for_lam_and_grid(name, image, capsys):
    words, expected = WRITTEN[name]
    assert main(["lam", "--model", TINY, "--image", image, "--steps", "3", "--json", "--window", *words]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [sr_hooks.load(result["folder"]).window for result in results] == expected
    request = grid._request(_grid_arguments("--model", TINY, "--image", image, "--window", *words))
    assert list(request.images[0].windows) == expected


def _grid_arguments(*words):
    parser = argparse.ArgumentParser()
    grid.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [["8,8"], ["a;b"], ["8,8,8", "9"], ["8", "8"], [";"]])
def test_what_is_no_window_is_refused_alike(words, image, capsys):
    statuses = set()
    for command in (["lam", "--model", TINY, "--image", image], ["grid", "--model", TINY, "--image", image, "--lr"]):
        statuses.add(main([*command, "--window", *words]))
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert statuses == {2}


def test_compare_takes_one_window(image, tmp_path, capsys):
    for name, seed in (("x", 0), ("y", 1)):
        weights = {key: value * (1 + seed) for key, value in Tiny().state_dict().items()}
        torch.save(weights, tmp_path / f"{name}.pth")
    command = ["compare", "x.pth", "y.pth", "--arch", TINY, "--image", image, "--lr"]
    assert main([*command, "--window", "8,8,8;0,0,8"]) == 2
    assert "compare takes one window, not 2" in capsys.readouterr().err
    assert main([*command, "--window", "8", "8", "8"]) == 0
    capsys.readouterr()
    assert main([*command, "--window", "8,8,8", "--device", "gpu9"]) == 2
    assert "--device gpu9: no such device; this machine has cpu" in capsys.readouterr().err


def requested(*words):
    return [
        (network.model, network.weights, dict(network.arguments or {}))
        for network in grid._request(_grid_arguments(*words)).networks
    ]


def test_grid_takes_weights_and_arguments_in_order(image):
    words = ["--image", image, "--weights", "a.pth", "b.pth"]
    assert requested("--model", TINY, *words) == [(TINY, "a.pth", {}), (TINY, "b.pth", {})]
    scales = ["--arguments", "{scale: 2}", "{scale: 3}"]
    assert requested("--model", "A:B", "C:D", *words, *scales) == [
        ("A:B", "a.pth", {"scale": 2}),
        ("C:D", "b.pth", {"scale": 3}),
    ]
    assert requested("--model", "A:B", "C:D", "--image", image, "--arguments", "{scale: 3}") == [
        ("A:B", None, {"scale": 3}),
        ("C:D", None, {"scale": 3}),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "a.pth"], "--weights has 1 values for 2 networks"),
        (["--weights", "a.pth", "b.pth", "c.pth"], "--weights has 3 values for 2 networks"),
        (["--arguments", "{a: 1}", "{a: 1}", "{a: 1}"], "--arguments has 3 values for 2 networks"),
        (["--arguments", "3"], "--arguments must be a mapping"),
    ],
)
def test_grid_says_what_does_not_fit(words, message, image):
    with pytest.raises(OptionError, match=message.replace("[", r"\[")):
        requested("--model", "A:B", "C:D", "--image", image, *words)


@pytest.mark.slow
def test_grid_computes_networks_with_weights_of_their_own(image, tmp_path, capsys):
    for name, seed in (("x", 0), ("y", 1)):
        weights = {key: value * (1 + seed) for key, value in Tiny(scale=3).state_dict().items()}
        torch.save(weights, tmp_path / f"{name}.pth")
    command = ["grid", "--model", TINY, "--arguments", "{scale: 3}", "--weights", "x.pth", "y.pth", "--image", image]
    assert main([*command, "--lr", "--window", "8,8,8;0,0,8", "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["headline"]["cells"] == 4


@pytest.mark.parametrize("command", ["lam", "layers", "doctor", "demo", "grid", "faig", "compare"])
def test_a_wrong_device_is_one_line_with_those_that_exist(command, image, capsys):
    words = {
        "lam": ["--model", TINY, "--image", image, "--window", "8,8,8"],
        "layers": ["--model", TINY],
        "doctor": [TINY],
        "demo": [],
        "grid": ["--model", TINY, "--image", image],
        "faig": ["--model", TINY, "--baseline", TINY, "--image", image],
        "compare": ["demo:baseline", "demo:target", "--image", image, "--window", "8,8,8"],
    }[command]
    for device in ("gpu9", "cuda:99", "meta", "cuda:x"):
        assert main([command, *words, "--device", device]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines == [f"sr-hooks: {lines[0].removeprefix('sr-hooks: ')}"] and "this machine has cpu" in lines[0]
    assert device_of("cpu") == "cpu"


def test_show_finds_the_run_below_an_experiment(tmp_path, image, capsys):
    index = {
        "format": 1,
        "runs": [{"start": 0}],
        "time": {},
        "results": [{"analysis": "lam", "iteration": 5, "folder": "lam/5", "headline": {"diffusion_index": 3.5}}],
    }
    for run in ("experiments/x", "experiments/y"):
        (tmp_path / run / "sr_hooks").mkdir(parents=True)
        (tmp_path / run / "sr_hooks/index.json").write_text(json.dumps(index))
    assert main(["show", "experiments/x/sr_hooks"]) == 0
    expected = capsys.readouterr().out
    assert main(["show", "experiments/x"]) == 0
    assert capsys.readouterr().out == expected and "3.5" in expected
    assert main(["show", "experiments/x", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["folder"].endswith("experiments/x/sr_hooks") and record["entries"][0]["iteration"] == 5
    assert main(["show", "experiments"]) == 2
    assert "show one of experiments/x, experiments/y" in capsys.readouterr().err
    assert main(["show", "experiments/z"]) == 2


def test_show_lists_a_folder_of_several_results(image, capsys):
    assert main(["lam", "--model", TINY, "--image", image, "--steps", "3", "--window", "8,8,8;0,0,8"]) == 0
    capsys.readouterr()
    assert main(["show", "lam_result"]) == 0
    printed = capsys.readouterr().out
    assert "a_0" in printed and "a_1" in printed and "diffusion index" in printed
