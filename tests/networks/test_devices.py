"""Where a network runs: every door takes a device, and refuses one that is not there in one line."""

from __future__ import annotations

import pytest
import torch

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.cli.command_list import COMMANDS, OWN_ANALYSES, summaries
from sr_hooks.core.torch_errors import checked_device
from sr_hooks.errors import OptionError
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.request import parse_request
from sr_hooks.grid.run import run_grid
from sr_hooks.networks.network import Network
from tests.support.networks import Tiny

ABSENT = "cuda:99"
WITHOUT_NETWORK = {"networks", "plugins", "new-plugin", "completion", "show"}
"""Commands that run no network."""
OF_THE_TRAINER = {"train"}
"""The option file of the trainer says where a training runs."""


def refused(match: str = "device"):
    return pytest.raises(OptionError, match=f"^{match} {ABSENT}: no such device; this machine has cpu")


def test_a_network_moves():
    network = Network(Tiny())
    assert network.to("cpu") is network and network.to(torch.device("cpu")).device.type == "cpu"
    assert network.to("auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with refused():
        network.to(ABSENT)
    assert network.device.type == "cpu" or torch.cuda.is_available()


@pytest.mark.parametrize("name", ["cuda:99", "gpu0", "meta", "", "cuda:-7"])
def test_a_wrong_device_is_one_line(name):
    with pytest.raises(OptionError, match="no such device; this machine has cpu") as refusal:
        checked_device(name)
    assert "\n" not in str(refusal.value)


def test_every_way_to_load_takes_a_device():
    loading = (
        lambda device: Network(Tiny(), device=device),
        lambda device: Network.load("demo:baseline", device=device),
        lambda device: Network.load("tests.support.networks:Tiny", device=device),
        lambda device: Network.from_import("tests.support.networks:Tiny", device=device),
    )
    for load in loading:
        assert load("cpu").device.type == "cpu"
        with refused():
            load(ABSENT)
    assert "device" not in str(Network.load("demo:baseline", device="cpu").source)  # another machine has others


def test_basicsr_architectures_take_a_device(basicsr):
    arguments = {"num_feat": 8, "num_block": 1, "upscale": 2}
    assert Network.from_basicsr("MSRResNet", arguments, device="cpu").device.type == "cpu"
    with refused():
        Network.from_basicsr("MSRResNet", arguments, device=ABSENT)


def test_compare_takes_a_device(small_lr):
    with refused():
        sr_hooks.compare("demo:baseline", "demo:target", image=small_lr, window=(8, 8, 16), device=ABSENT)


def test_a_baseline_is_loaded_on_the_targets_device(monkeypatch, target):
    from sr_hooks.analyses.faig.baseline import baseline_of

    asked = []
    monkeypatch.setattr(Network, "load", classmethod(lambda cls, spec, **keywords: asked.append(keywords) or target))
    baseline_of("demo:baseline", target)
    assert asked == [{"device": target.device}]


def test_a_grid_file_names_a_device(tmp_path, photo):
    from sr_hooks.images.image import write_image

    write_image(photo, tmp_path / "photo.png")
    request = parse_request(
        {"networks": ["demo:baseline"], "images": [str(tmp_path / "photo.png")], "device": ABSENT}, base=tmp_path
    )
    assert request.device == ABSENT
    with refused("network demo:baseline: device"):
        run_grid(request, tmp_path / "grid")
    assert make_plan(request, device="cpu", threads=1).device == "cpu"  # the flag goes before the file


@pytest.mark.parametrize("command", sorted({*COMMANDS, *OWN_ANALYSES, *summaries()} - WITHOUT_NETWORK - OF_THE_TRAINER))
def test_every_command_that_runs_a_network_has_the_flag(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and "--device" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["layers", "--model", "demo:baseline"],
        ["doctor", "demo:baseline"],
        ["demo", "--out", "OUT"],
        ["compare", "demo:baseline", "demo:target", "--image", "IMAGE", "--window", "0,0,16"],
        ["lam", "--model", "demo:baseline", "--image", "IMAGE", "--window", "0,0,16", "--check", "--out", "OUT"],
        ["ddr", "--model", "demo:baseline", "--image", "IMAGE", "--out", "OUT"],
        ["faig", "--model", "demo:target", "--baseline", "demo:baseline", "--image", "IMAGE", "--out", "OUT"],
        ["grid", "--model", "demo:baseline", "--image", "IMAGE", "--window", "0,0,16", "--out", "OUT"],
    ],
    ids=lambda command: command[0],
)
def test_a_wrong_device_ends_every_command(command, tmp_path, photo, capsys):
    from sr_hooks.images.image import write_image

    write_image(photo[..., :64, :64], tmp_path / "image.png")
    names = {"IMAGE": str(tmp_path / "image.png"), "OUT": str(tmp_path / "out")}
    assert main([*(names.get(word, word) for word in command), "--device", ABSENT]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"sr-hooks: --device {ABSENT}: no such device; this machine has cpu")
    assert not (tmp_path / "out").exists()
