"""Names and files that no one can use: one clear line, at once, from Python and on the command line (exit 2)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.cli import networks
from sr_hooks.cli.app import main
from sr_hooks.core.disk_cache import recall
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.doctor import diagnosis
from sr_hooks.errors import ImageError, OptionError, SRHooksError
from sr_hooks.images.clips import read_input
from sr_hooks.images.image import read_image
from sr_hooks.images.image_sets import single_images
from sr_hooks.results import result
from tests.support.networks import Tiny


@pytest.fixture
def odd(tmp_path: Path) -> list[str]:
    """Names of a pipe, a device, and such as no file can have."""
    os.mkfifo(tmp_path / "pipe.png")
    return [str(tmp_path / "pipe.png"), "/dev/zero", "x" * 5000, "y" * 5000 + ".png", str(tmp_path / ("z/" * 3000))]


def test_images(odd):
    for name in odd:
        for read in (read_image, read_input, single_images):
            with pytest.raises(ImageError) as caught:
                read(name)
            assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


COMMANDS = [
    "lam --model demo:target --window 0,0,8 --image {}",
    "lam --model {} --window 0,0,8 --image photo.png",
    "lam --model demo:target --window 0,0,8 --image photo.png --out {}",
    "show {}",
    "show . --gif {}",
    "compare {} {}",
    "compare demo:target demo:baseline --image {} --window 0,0,8",
    "grid {}",
    "grid --model demo:target --image {}",
    "doctor {}",
    "layers --model {}",
    "ddr --model demo:target --image {}",
    "faig --model demo:target --image photo.png --baseline {}",
    "faig-verify --model demo:target --image photo.png --result {}",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(odd, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    sr_hooks.images.write_image(torch.rand(3, 48, 48), "photo.png")
    for name in odd:
        status = main([part.replace("{}", name) for part in command.split()])
        error = capsys.readouterr().err
        assert (status, error.count("\n")) == (2, 1) and len(error) < 1000, (name[:50], error[-2000:])


def test_cache_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_HOOKS_CACHE", str(tmp_path))
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "deep.json").write_text("[" * 60_000)
    (tmp_path / "large.json").write_text("1" * 10**6)
    assert [recall(key) for key in ("pipe", "zero", "deep", "large", "x" * 5000, "none")] == [None] * 6


def test_check_of_a_network_says_what_check_takes(lr):
    for subject in (nn.Conv2d(3, 3, 3, padding=1), "folder", None, lr):
        with pytest.raises(OptionError, match="check takes a LAM result first"):
            sr_hooks.check(subject)


@pytest.mark.parametrize("name", ["draws", "orders", "seed"])
@pytest.mark.parametrize("value", [-1, True, "many", 1.5, 10**200])
def test_nonsense_for_check(lr, name, value):
    result = sr_hooks.lam(nn.Conv2d(3, 3, 3, padding=1), lr, window=(8, 8, 8), steps=2)
    with pytest.raises(OptionError, match=name) as caught:
        sr_hooks.check(result, **{name: value})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("function", [lambda image: image, lambda: 0, lambda image, rng, more: image])
def test_a_degradation_of_another_number_of_arguments(function):
    with pytest.raises(OptionError, match=r"two arguments.*generator"):
        make_lr(torch.rand(1, 3, 16, 16), function, scale=2)


def test_degradations_that_can_be_called_with_two_arguments():
    for function in (lambda image, rng, strength=1: image, lambda *arguments: arguments[0]):
        assert make_lr(torch.rand(1, 3, 16, 16), function, scale=2).shape[-1] == 8


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), r"sr_hooks\[figures\]"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "out of memory"),
        (PermissionError(13, "Permission denied", "x" * 4000), "Permission denied"),
    ],
)
def test_what_is_no_fault_of_ours_ends_in_one_line(monkeypatch, capsys, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(result, "read_result", fail)
    assert main(["show", "folder"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and len(printed) < 1000
    assert re.search(words, printed)


class StopsGradients(nn.Module):
    """Runs, and fails as soon as anything wants a gradient."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.body, self.error = nn.Conv2d(3, 3, 3, padding=1), error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            raise self.error
        return self.body(x)


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), AssertionError(), KeyError("x")], ids=repr)
def test_doctor_prints_its_table_whatever_fails(error, monkeypatch, capsys):
    monkeypatch.setattr(networks, "load_network", lambda arguments: sr_hooks.Network(StopsGradients(error)))
    assert main(["doctor", "any"]) == 3
    printed = capsys.readouterr().out
    assert "taps" in printed and "lam" in printed and "ddr" in printed and "faig" in printed


def test_doctor_prints_its_table_when_warnings_or_images_fail(monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("boom")

    network = sr_hooks.Network(Tiny())
    monkeypatch.setattr(networks, "load_network", lambda arguments: network)
    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "network_warnings", fail)
        assert main(["doctor", "any"]) == 0
        assert "could not be examined: RuntimeError: boom" in capsys.readouterr().out
    monkeypatch.setattr(diagnosis, "photographs", fail)
    assert main(["doctor", "any"]) == 3
    assert "boom" in capsys.readouterr().out


def test_a_message_names_no_more_than_it_must():
    error = SRHooksError("x" * 10**6)
    assert len(str(error)) < 1000
