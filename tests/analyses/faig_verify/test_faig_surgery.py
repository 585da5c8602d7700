"""Surgery on the target, its verification, saving in the file's own layout, and the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import sr_hooks
from sr_hooks import Network, faig, verify
from sr_hooks.analyses.faig_verify.masking_trial import gradient_map
from sr_hooks.cli.app import main
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.errors import CheckpointError, NetworkError, OptionError
from sr_hooks.images.image import read_image
from tests.analyses.faig.test_faig import moved
from tests.support.networks import Tiny

DEMO = ("blur:4", "noise:25.5")


@pytest.fixture(scope="module")
def pieces():
    """Left and right pieces of the shipped photographs, (4,3,96,96) each."""
    images = [read_image(path) for path in photographs()]
    return tuple(torch.cat([i[..., 80:176, part] for i in images]) for part in (slice(16, 112), slice(144, 240)))


@pytest.fixture(scope="module")
def result(pieces):
    return faig(demo_network("baseline"), demo_network("target"), images=pieces[0], degradations=DEMO, steps=12)


@pytest.fixture(scope="module")
def verified(result, pieces):
    return verify(result, pieces[1], tops=(0.01, 0.1), random_seeds=2, input_points=2, input_images=1)


# -- masks and strengths -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mask_has_the_baseline_in_the_top_filters_and_the_target_elsewhere(result):
    masked = dict(result.mask("blur", top=0.01).module.named_parameters())
    baseline = dict(result.pair.baseline.module.named_parameters())
    target = dict(result.pair.target.module.named_parameters())
    changed = set()
    for layer in result.filters.layers:
        new, old, base = masked[layer.parameter], target[layer.parameter], baseline[layer.parameter]
        differs = (new != old).flatten(2).any(dim=2)
        assert torch.equal(new[differs], base[differs]) and torch.equal(new[~differs], old[~differs])
        start = result.filters.span(layer).start
        changed |= {start + int(i) for i in differs.flatten().nonzero()}
    top = set(result.ranking("blur")[: round(0.01 * result.filters.count)].tolist())
    assert changed <= top and len(changed) > 0.95 * len(top)
    biases = [n for n in masked if n.endswith("bias")]
    assert biases and all(torch.equal(masked[n], target[n]) for n in biases)


@pytest.mark.slow
def test_strengths_run_from_the_mask_over_the_target_to_beyond(result):
    target = result.pair.target.sha256()
    assert result.modulate("noise", 0.05, 0.0).sha256() == result.mask("noise", 0.05).sha256()
    networks = [result.modulate("noise", 0.05, strength) for strength in (0, 0.5, 1, 1.5)]
    weights = [torch.cat([p.flatten() for p in network.module.parameters()]) for network in networks]
    end = torch.cat([p.flatten() for p in result.pair.target.module.parameters()])
    assert torch.allclose(weights[2], end, atol=1e-6)
    assert torch.allclose(weights[1], (weights[0] + end) / 2, atol=1e-6)
    assert torch.allclose(weights[3] - end, (end - weights[0]) / 2, atol=1e-6)
    assert result.pair.target.sha256() == target


def test_all_filters_and_biases_masked_are_the_baseline(pieces):
    pair = demo_network("baseline"), demo_network("target")
    found = faig(*pair, images=pieces[0][:1], degradations=DEMO, steps=2, biases=True)
    masked = found.mask("blur", top=1.0)
    assert all(torch.equal(a, b) for a, b in zip(masked.module.parameters(), pair[0].module.parameters(), strict=True))


@pytest.mark.slow
def test_a_mask_can_be_analysed_like_any_network(result, lr):
    masked = result.mask("noise")
    assert "noise:25.5" in masked.name and masked.scale == 4
    found = sr_hooks.lam(masked, lr[..., :32, :32], window=(40, 40, 16), steps=5)
    assert found.provenance["network"]["sha256"] == masked.sha256()


def test_weights_that_changed_since_are_refused(pieces):
    baseline = Tiny(2)
    target = moved(baseline)
    found = faig(baseline, target, images=pieces[0][:1, :, :32, :32], steps=2, any_order=True)
    with torch.no_grad():
        target.head.weight += 1
    with pytest.raises(NetworkError, match="target Tiny are not those"):
        found.mask("blur")


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["params", "both", "bare", "module", "half", "safetensors"])
def test_a_saved_mask_has_the_layout_of_the_targets_file(tmp_path, layout, pieces):
    baseline = Tiny(2)
    state = moved(baseline).state_dict()
    path = tmp_path / "target.pth"
    if layout == "params":
        torch.save({"params": state}, path)
    elif layout == "both":
        torch.save({"params": {k: v * 0 for k, v in state.items()}, "params_ema": state, "iter": 7}, path)
    elif layout == "bare":
        torch.save(state, path)
    elif layout == "module":
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    elif layout == "half":
        torch.save({"params": {k: v.half() for k, v in state.items()}}, path)
    else:
        from safetensors.torch import save_file

        path = tmp_path / "target.safetensors"
        save_file(state, path)
    target = Network.from_import("tests.support.networks:Tiny", {"scale": 2}, weights=path)
    masked = faig(baseline, target, images=pieces[0][:1, :, :32, :32], steps=2, any_order=True).mask("blur", 0.1)
    out = path.with_stem("masked")
    masked.save(out)
    again = Network.from_import("tests.support.networks:Tiny", {"scale": 2}, weights=out)
    assert again.weights.key == target.weights.key and again.weights.prefix == target.weights.prefix
    exact = layout != "half"
    for a, b in zip(again.module.parameters(), masked.module.parameters(), strict=True):
        assert torch.equal(a, b) if exact else torch.allclose(a, b, atol=1e-3)
    stored = load_file(out) if layout == "safetensors" else torch.load(out, weights_only=True)
    if layout == "both":
        assert set(stored) == {"params", "params_ema"}
        assert all(torch.equal(stored["params"][k], stored["params_ema"][k]) for k in stored["params"])
    if layout == "half":
        assert all(v.dtype == torch.float16 for v in stored["params"].values())
    if layout == "module":
        assert all(k.startswith("module.") for k in stored["state_dict"])
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.slow
def test_saving_where_one_cannot_is_said(result, tmp_path):
    with pytest.raises(CheckpointError, match="cannot write"):
        result.mask("blur").save(tmp_path / "none/masked.pth")


# -- verification ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_faigs_filters_beat_chance_on_the_demo_pair(verified):
    assert verified.verdict.startswith("better than chance")
    for name in DEMO:
        own = verified.loss("FAIG", 0.01, degradation=name)[verified.scalars["columns"].index(name)].mean()
        chance = verified.loss("random", 0.01)[verified.scalars["columns"].index(name)].mean()
        assert own > 3 * chance and own > 0.5
    blur, noise = (verified.scalars["columns"].index(name) for name in DEMO)
    assert verified.loss("FAIG", 0.01, degradation="blur:4")[noise].mean() < 0.2
    assert verified.arrays["psnr"].shape == verified.arrays["gradient_error"].shape
    assert (verified.arrays["gradient_error"] >= 0).all() and verified.arrays["gradient_error"].max() > 0
    gained = verified.arrays["target_psnr"].mean(axis=1) - verified.arrays["baseline_psnr"].mean(axis=1)
    assert (gained[[blur, noise]] > 0).all()


@pytest.mark.slow
def test_every_way_of_choosing_is_there(verified):
    methods = {trial["method"] for trial in verified.scalars["trials"]}
    assert methods == {"FAIG", "weight change", "relative change", "input-IG", "random"}
    assert {t["seed"] for t in verified.scalars["trials"] if t["method"] == "random"} == {1, 2}
    assert verified.scalars["columns"] == [*DEMO, "clean"]
    row = verified.table()[0]
    assert row["filters"] == "FAIG" and "[" in row["blur:4 lost"] and row["top"] == "1%"


@pytest.mark.slow
def test_verification_is_equal_on_a_rerun_and_survives_a_folder(verified, result, pieces, tmp_path):
    again = verify(result, pieces[1], tops=(0.01, 0.1), random_seeds=2, input_points=2, input_images=1)
    assert all(np.array_equal(again.arrays[k], verified.arrays[k]) for k in verified.arrays)
    verified.save(tmp_path / "v")
    loaded = sr_hooks.load(tmp_path / "v")
    assert isinstance(loaded, sr_hooks.VerifyResult) and loaded.table() == verified.table()
    assert (tmp_path / "v/figure.png").stat().st_size > 50_000


@pytest.mark.slow
def test_chance_is_called_chance(pieces):
    """A ranking turned upside down is no better than chance, and the verdict says so."""
    pair = demo_network("baseline"), demo_network("target")
    found = faig(*pair, images=pieces[0][:2], degradations=DEMO, steps=2)
    rng = np.random.default_rng(0)
    found.arrays["scores"] = rng.random(found.arrays["scores"].shape, dtype=np.float32)
    checked = verify(found, pieces[1], tops=0.01, random_seeds=3, input_points=0)
    assert checked.verdict.startswith("no better than chance")


@pytest.mark.slow
def test_ready_made_inputs_and_one_image(result, pieces):
    from sr_hooks.degradations.parsing import make_lr

    degraded = {name: make_lr(pieces[1][:1], name, scale=4, clip=False) for name in DEMO}
    one = verify(result, degraded=degraded, gt=pieces[1][:1], tops=(0.01,), random_seeds=1)
    assert "input-IG" not in {trial["method"] for trial in one.scalars["trials"]}
    assert one.verdict.startswith("no better than chance") and "no interval" in one.verdict


def test_bad_requests(result, pieces):
    for request, message in (
        ({"tops": (0.0,)}, "shares of the filters"),
        ({"random_seeds": 0}, "at least 1"),
    ):
        with pytest.raises(OptionError, match=message):
            verify(result, pieces[1], **request)
    lr = torch.nn.functional.avg_pool2d(pieces[0][:1], 4)
    ready = faig(demo_network("baseline"), demo_network("target"), degraded={"a": lr}, gt=pieces[0][:1], steps=2)
    with pytest.raises(OptionError, match="ready-made"):
        verify(ready, pieces[1])
    with pytest.raises(OptionError, match="holds no networks"):
        verify("nowhere", pieces[1])


def test_gradient_map_is_central_differences_of_grey():
    image = torch.zeros(1, 3, 5, 5)
    image[..., 3:] = 0.5
    assert torch.allclose(gradient_map(image)[0, 0, 1], torch.tensor([1e-3, 0.5, 0.5]), atol=1e-4)


# -- command line ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_command_line_from_scores_to_proof(tmp_path, capsys):
    for index, path in enumerate(photographs()[:3]):
        shutil.copy(path, tmp_path / f"{index}.png")
    files = [str(tmp_path / f"{i}.png") for i in range(3)]
    pair = ["--model", "demo:target", "--baseline", "demo:baseline"]
    degradations = ["--degradations", *DEMO]
    out = str(tmp_path / "scores")
    assert main(["faig", *pair, "--image", *files, *degradations, "--crop", "64", "--steps", "4", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "completeness gap" in printed and "verdict" in printed
    record = json.loads((tmp_path / "scores/result.json").read_text())
    assert record["provenance"]["options"]["degradations"] == list(DEMO)
    check = ["faig-verify", *pair, "--result", out, "--image", *files, "--crop", "96"]
    check += ["--tops", "0.01", "--random-seeds", "1", "--input-points", "0", "--out", str(tmp_path / "proof")]
    assert main(check) == 0
    assert "than chance" in capsys.readouterr().out
    assert sr_hooks.load(tmp_path / "proof").scalars["tops"] == [0.01]


@pytest.mark.slow
def test_command_line_with_a_weights_file_as_baseline(tmp_path, capsys):
    demo_network("baseline").save(tmp_path / "b.safetensors")
    image = str(photographs()[0])
    command = ["faig", "--model", "demo:target", "--image", image, "--crop", "32", "--steps", "2"]
    assert main([*command, "--baseline", str(tmp_path / "b.safetensors"), "--out", str(tmp_path / "r")]) == 0
    assert main([*command, "--out", str(tmp_path / "s")]) == 2
    assert main([*command, "--baseline", "demo:nothing", "--out", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err
    assert "baseline" in error and "Traceback" not in error
