"""Networks of mmagic outside of training: what its preprocessor does to images, and one answer with BasicSR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks import Network
from sr_hooks.adapters.mmengine_runner import networks_of, validation_images
from sr_hooks.cli.app import main as command_line
from sr_hooks.errors import CheckpointError, NetworkError
from sr_hooks.images.image import read_image
from sr_hooks.networks.loading.mmengine_preprocessor import facts_of
from tests.integration.mmagic import mm_runs

pytestmark = mm_runs.needs_mmagic


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mm_runs.load_mmagic()
    return mm_runs.make_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def image(pictures: Path) -> torch.Tensor:
    return read_image(pictures / "x2/val/lq/004.png")


PREPROCESSORS: dict[str, tuple[dict[str, Any], str]] = {
    "rgb by 255": ({"mean": [0.0] * 3, "std": [255.0] * 3}, "rgb"),
    "bgr as loaded": ({"mean": [0.0] * 3, "std": [255.0] * 3}, "bgr"),
    "mean and std": ({"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}, "rgb"),
    "turned to bgr, with mean": ({"mean": [123.7, 116, 103], "std": [255.0] * 3, "output_channel_order": "BGR"}, "rgb"),
    "turned to rgb, its default mean": ({"output_channel_order": "RGB"}, "bgr"),
    "one value": ({"mean": 0, "std": 1}, "rgb"),
    "padded": ({"mean": [0.0] * 3, "std": [255.0] * 3, "pad_size_divisor": 4}, "rgb"),
}  # fmt: skip


@pytest.mark.parametrize("case", PREPROCESSORS)
def test_the_preprocessor_is_followed(case: str, pictures: Path, tmp_path: Path, image: torch.Tensor) -> None:
    """The network on RGB in [0, 1] gives what mmagic's own validation gives on the file, and has learnt from."""
    preprocessor, order = PREPROCESSORS[case]
    content = mm_runs.config(pictures, tmp_path / "run", order=order)
    content["model"]["data_preprocessor"] = {"type": "DataPreprocessor", **preprocessor}
    runner = mm_runs.build(content, tmp_path / "x.py")
    with torch.no_grad():
        runner.model.generator.conv_last.weight.mul_(20)  # an untrained one hardly differs from its bicubic base
        theirs = runner.model.val_step(next(iter(runner.val_loop.dataloaders[0])))[0].output.pred_img
    theirs = theirs.flip(0) / 255  # destructed to BGR in [0, 255]
    torch.save(runner.model.state_dict(), tmp_path / "x.pth")
    ours = Network.from_mmagic(tmp_path / "x.py", tmp_path / "x.pth")
    with torch.no_grad():
        found = ours(image)[0].clamp(0, 1)
    assert float((found - theirs).abs().max()) < 2e-6
    assert ours.pixels.bgr == (case in ("bgr as loaded", "turned to bgr, with mean"))
    assert networks_of(runner, "generator", {})["raw"].pixels == ours.pixels, "the same from a run as from its config"
    source = validation_images(runner)
    assert source is not None
    for takes, folder in (("lr", "lq"), ("hr", "gt")):
        (found_image,), names = source(takes, 1)
        assert names == ["004.png"] and torch.equal(found_image, read_image(pictures / "x2/val" / folder / "004.png"))


def test_mmengines_own_preprocessor() -> None:
    """ImgDataPreprocessor, which turns channels by `bgr_to_rgb`; given what LoadImageFromFile of mmcv loads."""
    from mmengine.model import ImgDataPreprocessor

    numbers = {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}
    for turned in (True, False):
        preprocessor = ImgDataPreprocessor(**numbers, bgr_to_rgb=turned)
        pixels = Network(torch.nn.Identity(), **facts_of(preprocessor, [{"type": "LoadImageFromFile"}])).pixels
        rgb = torch.rand(3, 4, 5)
        theirs = preprocessor({"inputs": [rgb.flip(0) * 255]})["inputs"]
        torch.testing.assert_close(pixels.inside(rgb[None]), theirs, atol=1e-5, rtol=0)


def _file(content: dict[str, Any], path: Path) -> Path:
    from mmengine.config import Config

    Config(content).dump(str(path))
    return path


@pytest.mark.parametrize("case", ["nothing is cut there", "any weights"])
def test_basicsr_and_mmagic_agree(basicsr: Any, pictures: Path, tmp_path: Path, case: str) -> None:
    """The same weights, mapped by name, in both MSRResNets: one LAM.

    The two differ in one thing: BasicSR's has a leaky ReLU after each pixel shuffle, mmagic's has none. So they are
    compared as they are with weights for which nothing is negative there, and with any weights where mmagic's is given
    that activation.
    """
    size = {"mid_channels": 16, "num_blocks": 4, "upscale_factor": 4}
    content = mm_runs.config(pictures, tmp_path / "run", model={"generator": size})
    theirs = Network.from_mmagic(_file(content, tmp_path / "x.py"))
    arguments = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 4, "upscale": 4}
    ours = Network.from_basicsr("MSRResNet", arguments)
    names = {"body.": "trunk_net.", "upconv1.": "upsample1.upsample_conv.", "upconv2.": "upsample2.upsample_conv."}

    def named(name: str) -> str:
        start = next((start for start in names if name.startswith(start)), "")
        return names.get(start, "") + name.removeprefix(start)

    generator = torch.Generator().manual_seed(1)
    state = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator)
        for name, value in ours.module.state_dict().items()
    }
    raised = 20.0 if case == "nothing is cut there" else 0.0
    for name, factor in (("upconv1.bias", 1), ("upconv2.bias", 20)):
        state[name] += factor * raised
    ours.module.load_state_dict(state)
    theirs.module.load_state_dict({named(name): value for name, value in state.items()})
    lowest: list[float] = []
    for part in (theirs.module.upsample1, theirs.module.upsample2):
        part.register_forward_hook(lambda module, args, out: lowest.append(float(out.min())))
        if not raised:
            part.register_forward_hook(lambda module, args, out: torch.nn.functional.leaky_relu(out, 0.1))

    image = read_image(pictures / "x2/val/lq/005.png")
    one, other = (sr_hooks.lam(network, image, window=(40, 36, 16)) for network in (ours, theirs))
    difference = float(np.abs(one.attribution - other.attribution).max() / np.abs(one.attribution).max())
    print(f"attributions differ by {difference:.2g} of the largest")
    assert difference < 1e-5
    assert other.diffusion_index == pytest.approx(one.diffusion_index, rel=1e-5)
    assert (min(lowest) > 0) == bool(raised), "the activation matters in one case, and not in the other"


class TestMistakes:
    def test_a_config_and_a_checkpoint_that_do_not_fit(self, pictures: Path, tmp_path: Path) -> None:
        content = mm_runs.config(pictures, tmp_path / "run")
        file = _file(content, tmp_path / "x.py")
        torch.save({"state_dict": {"backbone.weight": torch.ones(1)}}, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="not those of this MSRResNet"):
            Network.from_mmagic(file, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="no weights file"):
            Network.from_mmagic(file, tmp_path / "none.pth")
        with pytest.raises(NetworkError, match=r"describes no model.generater; did you mean generator\?"):
            Network.from_mmagic(file, network="generater")
        with pytest.raises(NetworkError, match="num_blox"):
            Network.from_mmagic(file, arguments={"num_blox": 3})
        with pytest.raises(NetworkError, match="no config file"):
            Network.from_mmagic(tmp_path / "none.py")
        (tmp_path / "broken.py").write_text("model = dict(")
        with pytest.raises(NetworkError, match="cannot be read as a config"):
            Network.from_mmagic(tmp_path / "broken.py")

    def test_an_mmagic_that_cannot_be_imported(
        self, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import mmagic.utils

        def without_operators(**_: Any) -> None:
            raise ModuleNotFoundError("No module named 'mmcv._ext'")

        file = _file(mm_runs.config(pictures, tmp_path / "run"), tmp_path / "x.py")
        monkeypatch.setattr(mmagic.utils, "register_all_modules", without_operators)
        assert command_line(["layers", "--model", str(file)]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and "mmcv._ext" in told[0] and "docs/mmagic.md" in told[0]

    def test_a_pipeline_that_normalises(self, pictures: Path, tmp_path: Path) -> None:
        content = mm_runs.config(pictures, tmp_path / "run")
        normal = {"type": "Normalize", "keys": ["img"], "mean": [0.5] * 3, "std": [0.5] * 3, "to_rgb": True}
        content["train_dataloader"]["dataset"]["pipeline"].insert(2, normal)
        file = _file(content, tmp_path / "x.py")
        with pytest.raises(NetworkError, match="state mean, std and bgr"):
            Network.from_mmagic(file)
        assert Network.from_mmagic(file, mean=0.5, std=0.5).pixels.mean == (0.5,)

    def test_load_from_is_the_default(self, pictures: Path, tmp_path: Path) -> None:
        content = mm_runs.config(pictures, tmp_path / "run")
        first = Network.from_mmagic(_file(content, tmp_path / "x.py"))
        assert first.sha256() == Network.from_mmagic(tmp_path / "x.py").sha256(), "the same without weights each time"
        state = {f"generator.{name}": value + 1 for name, value in first.module.state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / "x.pth")
        content["load_from"] = str(tmp_path / "x.pth")
        loaded = Network.from_mmagic(_file(content, tmp_path / "y.py"))
        assert loaded.sha256() == Network.from_mmagic(tmp_path / "x.py", tmp_path / "x.pth").sha256() != first.sha256()
