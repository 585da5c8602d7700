"""Objectives behind a second network: equal to what is written by hand, and never a download."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.errors import ImageError, OptionError, SRHooksError
from sr_hooks.images.windows import Window
from tests.conftest import REPOSITORY
from tests.support.networks import Tiny

CODE = """
import torch


class Same(torch.nn.Identity):
    pass


class Weighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, image):
        return image * self.weight


class Distance(torch.nn.Module):
    def forward(self, output, truth):
        return (output - truth).square().mean()  # of one image, so a batch must not be averaged


class Several(torch.nn.Module):
    def forward(self, image):
        return {"loss": image.sum()}


def needs(size):
    return torch.nn.Conv2d(3, size, 1)
"""


@pytest.fixture
def code(tmp_path: Path) -> str:
    (tmp_path / "second.py").write_text(CODE)
    return f"module:{tmp_path / 'second.py'}"


def pair() -> tuple[nn.Module, nn.Module]:
    """A network, and the same with every parameter changed a little."""
    baseline, target = Tiny(2), Tiny(2)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return baseline, target


@pytest.mark.parametrize("path", ["blur", "linear:black"])
def test_the_identity_is_intensity(lr, code, path):
    arguments = {"window": (20, 24, 16), "path": path, "steps": 6}
    same = sr_hooks.lam(Tiny(2), lr, objective=f"{code}:Same", **arguments)
    intensity = sr_hooks.lam(Tiny(2), lr, objective="intensity", **arguments)
    assert np.abs(same.attribution - intensity.attribution).max() <= 1e-6 * np.abs(intensity.attribution).max()
    assert same.scalars["objective_change"] == pytest.approx(intensity.scalars["objective_change"], rel=1e-6)
    assert same.completeness_gap < 0.05


def test_the_identity_gives_faig_its_own_scores(photo, code):
    gt, networks = photo[..., 40:72, 100:132], pair()
    arguments = {"images": gt, "any_order": True, "steps": 6}
    own = sr_hooks.faig(*networks, **arguments)
    same = sr_hooks.faig(*networks, objective=f"{code}:Same", **arguments)
    assert np.abs(same.arrays["scores"] - own.arrays["scores"]).max() <= 1e-6 * own.arrays["scores"].max()
    distance = sr_hooks.faig(*networks, objective=f"{code}:Distance", **arguments)  # the mean of as many squares
    assert np.allclose(distance.arrays["scores"] * gt.numel(), own.arrays["scores"], rtol=1e-4)
    with pytest.raises(OptionError, match="published procedure"):
        sr_hooks.faig(*networks, objective=f"{code}:Same", compat="faig", **arguments)
    with pytest.raises(OptionError, match="no loss 'gradient'"):
        sr_hooks.faig(*networks, objective="gradient", **arguments)


def test_a_loss_sees_the_window_of_the_ground_truth_and_one_image_at_a_time(code):
    output, gt = torch.rand(2, 3, 20, 20), torch.rand(1, 3, 20, 20)
    window = Window(4, 6, 8, 8)
    values = make_objective(f"{code}:Distance", gt=gt)(output, output, window)
    expected = [(one - gt)[..., 4:12, 6:14].square().mean() for one in output.split(1)]
    assert values.tolist() == pytest.approx([float(value) for value in expected])
    with pytest.raises(OptionError, match="compares with the ground truth"):
        make_objective(f"{code}:Distance")
    with pytest.raises(ImageError, match="the ground truth is"):
        make_objective(f"{code}:Distance", gt=gt[..., :10])(output, output, window)


def test_weights_of_a_module_come_from_its_file(code, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"weight": torch.tensor([1.0, 0, 2]).view(3, 1, 1)}, file)
    image = torch.rand(1, 3, 8, 8)
    value = make_objective(f"{code}:Weighted:{file}")(image, image, Window(0, 0, 8, 8))
    assert float(value) == pytest.approx(float(image[:, 0].sum() + 2 * image[:, 2].sum()), rel=1e-6)
    torch.save({"weight": torch.ones(4, 1, 1)}, file)
    with pytest.raises(OptionError, match="weight has another shape"):
        make_objective(f"{code}:Weighted:{file}")


@pytest.mark.parametrize(
    ("name", "message"),
    [("Sane", "Same"), ("needs", "without arguments"), ("torch", "without arguments|must be a torch module")],
)
def test_a_module_that_cannot_be_made_is_refused(code, name, message):
    with pytest.raises(SRHooksError, match=message):
        make_objective(f"{code}:{name}")


def test_what_is_no_tensor_is_refused(code):
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(OptionError, match="one tensor, not dict"):
        make_objective(f"{code}:Several")(image, image, Window(0, 0, 8, 8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(models.squeezenet1_1(num_classes=5).state_dict(), file)  # fine-tuned: another head
    return file


class TestFeatures:
    @pytest.mark.slow
    def test_equals_the_layers_run_by_hand(self, lr, weights):
        from torchvision import models

        whole = models.squeezenet1_1(num_classes=5).eval()
        whole.load_state_dict(torch.load(weights))
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

        def by_hand(patch):
            return whole.features[:4]((patch - mean) / std).sum()

        arguments = {"window": (20, 24, 32), "steps": 4}
        objective = f"feature:squeezenet1_1:features.3:{weights}"
        result = sr_hooks.lam(Tiny(2), lr, objective=objective, **arguments)
        expected = sr_hooks.lam(Tiny(2), lr, objective=by_hand, **arguments).attribution
        assert np.abs(result.attribution - expected).max() <= 1e-5 * np.abs(expected).max()

    def test_nothing_is_downloaded(self, tmp_path, monkeypatch):
        pytest.importorskip("torchvision")
        monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("a download"))
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        for name in ("squeezenet1_1", "fcn_resnet50"):
            with pytest.raises(OptionError, match="sr_hooks downloads none"):
                make_objective(f"feature:{name}:features.3")
        assert list(tmp_path.rglob("*")) == []

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("sqeezenet1_1:features.3:{}", "squeezenet1_1"),
            ("squeezenet1_1:features.333:{}", "no layer 'features.333'"),
            ("resnet18:layer1:{}", "does not hold the weights"),
            ("squeezenet1_1", "feature:NETWORK:LAYER"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, weights, argument, message):
        with pytest.raises(OptionError, match=message):
            make_objective("feature:" + argument.format(weights))


@pytest.mark.slow
def test_the_detection_loss_of_the_page(tmp_path, monkeypatch):
    """The page's two blocks, as they stand: the loss is explained, and is not that of the pixels."""
    page = (REPOSITORY / "docs/lam.md").read_text(encoding="utf-8")
    section = page.partition("## A second network as objective")[2].partition("\n## ")[0]
    module, script = re.findall(r"```python\n(.*?)```", section, re.S)
    (tmp_path / "corners.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(script, names)
    result = names["result"]
    assert isinstance(result, sr_hooks.LamResult) and result.map.max() > 0
    assert result.completeness_gap < 0.05
    assert result.scalars["objective_change"] < 0, "the loss falls from the blurred image to the image"


def test_a_torch_module_is_a_loss_for_faig(photo):
    gt, networks = photo[..., 40:72, 100:132], pair()
    arguments = {"images": gt, "any_order": True, "steps": 4, "degradations": ["clean"]}
    own = sr_hooks.faig(*networks, **arguments).arrays["scores"]
    same = sr_hooks.faig(*networks, objective=nn.Identity(), **arguments).arrays["scores"]
    assert np.allclose(same, own, rtol=1e-6)
