"""The demo, as a new user runs it."""

from __future__ import annotations

import pytest

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.demo.train import set5_psnr
from sr_hooks.errors import SRHooksError
from sr_hooks.networks.network import Network


@pytest.mark.slow
def test_demo_writes_figures_and_a_table(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    told = [line for line in printed.err.splitlines() if "still at work" not in line]  # on a slow machine
    assert "diffusion index" in printed.out and not told
    folders = sorted(path.name for path in out.iterdir() if path.name.startswith("lam_"))
    assert folders == ["lam_cat", "lam_coffee", "lam_rocket"]
    for name in folders:
        assert (out / name / "figure.png").stat().st_size > 10_000
        result = sr_hooks.load(out / name)
        assert result.verdict.startswith("sound") and result.window[2:] == (32, 32)
    target, baseline = (sr_hooks.load(out / f"ddr_{state}").layer("body.8.conv1") for state in ("target", "baseline"))
    assert target.separates and target.chi > 5 * baseline.chi
    assert (out / "ddr_target/figure.png").stat().st_size > 10_000
    assert (out / "table.txt").is_file()


def test_demo_again_replaces_its_own_folder_and_no_other(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("mine")
    assert main(["demo", "--out", str(tmp_path / "mine")]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_the_shipped_baseline_is_as_good_as_promised(data):
    """Set5 x4, Y-PSNR, at least 30.3 dB (bicubic: 28.4)."""
    assert set5_psnr(demo_network("baseline").module, data / "set5") > 30.3


def test_weights_and_photographs_are_small():
    folder = photographs()[0].parents[1]
    assert sum(path.stat().st_size for path in (folder / "weights").iterdir()) < 3_000_000
    assert len(photographs()) == 4


@pytest.mark.slow
def test_what_is_stated_of_the_demo_network_is_heard_or_refused():
    assert Network.load("demo:target", input_range=255).input_range == 255
    assert Network.load("demo:target").input_range == 1
    with pytest.raises(SRHooksError, match="scale"):
        sr_hooks.lam(Network.load("demo:target", scale=3), photographs()[0], window=(0, 0, 8), steps=2)
    with pytest.raises(SRHooksError, match="leave out arguments and weights"):
        Network.load("demo:baseline", weights="other.pth")
    with pytest.raises(SRHooksError, match="leave out arguments and weights"):
        Network.load("demo:baseline", {"num_feat": 8})
