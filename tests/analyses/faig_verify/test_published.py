"""compat="faig" against the public code's verification, written out in NumPy and plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tqdm import tqdm

from sr_hooks import faig, verify
from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.analyses.faig_verify.published import published_gradient_map, published_pick
from sr_hooks.analyses.faig_verify.rival_rankings import input_ig_scores
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.images.image import read_image
from sr_hooks.images.metrics.fidelity import quantise

DEMO = ("blur:4", "noise:25.5")


@pytest.fixture(scope="module")
def pieces():
    """Left and right pieces of two of the shipped photographs, (2,3,48,48) each."""
    images = [read_image(path) for path in photographs()[:2]]
    return tuple(torch.cat([i[..., 80:128, part] for i in images]) for part in (slice(16, 64), slice(144, 192)))


@pytest.fixture(scope="module")
def result(pieces):
    return faig(demo_network("baseline"), demo_network("target"), images=pieces[0], degradations=DEMO, steps=8)


def public_map(image: torch.Tensor) -> np.ndarray:
    """The public code's map: blue of an 8-bit file, central differences by a convolution with zeros around."""
    blue = np.uint8(np.round(image[0, 2].clamp(0, 1).numpy() * 255)).astype(np.float32) / 255
    kernels = torch.tensor([[[0.0, -1, 0], [0, 0, 0], [0, 1, 0]], [[0, 0, 0], [-1, 0, 1], [0, 0, 0]]])[:, None]
    vertical, horizontal = torch.nn.functional.conv2d(torch.from_numpy(blue)[None, None], kernels, padding=1)[0]
    return torch.sqrt(vertical**2 + horizontal**2 + 1e-6).numpy()


@pytest.mark.slow
def test_compat_is_the_public_code(result, pieces):
    """Masks of int(F percent / 100) filters, and 1000 times the mean squared difference of the public code's maps."""
    images = pieces[1]
    found = verify(result, images, tops=0.03, random_seeds=1, input_points=0, compat="faig")
    networks = dict.fromkeys(DEMO, result.pair.target)
    start, end = (dict(network.module.named_parameters()) for network in (result.pair.baseline, result.pair.target))
    count = int(result.filters.count * 3 / 100)
    for name in DEMO:
        weights = {key: value.detach().clone() for key, value in end.items()}
        for index in result.ranking(name)[:count]:
            spans = [(one, result.filters.span(one)) for one in result.filters.layers]
            layer, span = next((one, span) for one, span in spans if span.start <= index < span.stop)
            row, column = divmod(int(index) - span.start, weights[layer.parameter].shape[1])
            weights[layer.parameter][row, column] = start[layer.parameter].detach()[row, column]
        for image in range(2):
            lr = quantise(make_lr(images[image : image + 1], name, scale=4, seed=1, first=image))
            with torch.no_grad():
                target = networks[name](lr)
                masked = torch.func.functional_call(result.pair.target.module, weights, (lr,))
            expected = 1000 * np.mean((public_map(masked) - public_map(target)) ** 2)
            column = found.scalars["columns"].index(name)
            measured = found.gradient_error("FAIG", 0.03, degradation=name)[column, image]
            assert measured == pytest.approx(expected, abs=1e-4)
    plain = verify(result, images, tops=0.03, random_seeds=1, input_points=0)
    assert not np.allclose(plain.arrays["gradient_error"], found.arrays["gradient_error"], rtol=1e-2)  # grey, no frame
    assert "blue channel" in found.verdict and found.scalars["compat"] == "faig"


def test_the_published_map_and_counts_are_not_ours():
    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    assert np.allclose(published_gradient_map(image)[0, 0].numpy(), public_map(image), atol=1e-6)
    for broken in (image.flip(1), image + 0.02):  # another channel; no rounding to the same 8 bits
        assert not np.allclose(published_gradient_map(broken)[0, 0].numpy(), public_map(image), atol=1e-4)
    ranking = np.arange(151_936)
    counts = [int(published_pick(ranking, top).sum()) for top in (0.01, 0.03, 0.05, 0.1)]
    assert counts == [1519, 4558, 7596, 15193]  # the folders' names in the public code


@pytest.mark.slow
def test_the_published_input_ig_ranks_its_own_scores_at_left_ends(result, pieces):
    images = pieces[1][:1, :, :32, :32]
    inputs = {name: quantise(make_lr(images, name, scale=4, seed=1)) for name in ("clean", DEMO[0])}
    module, clean, end = result.pair.target.module, inputs["clean"], inputs[DEMO[0]]
    weights = [dict(module.named_parameters())[layer.parameter] for layer in result.filters.layers]
    total = [torch.zeros_like(weight) for weight in weights]
    for step in range(100):
        gradients = torch.autograd.grad(module(clean + step / 100 * (end - clean)).sum(), weights)
        total = [one + other for one, other in zip(total, gradients, strict=True)]
    scores = torch.cat([one.abs().flatten(2).sum(2).flatten() for one in total]).numpy() / 100
    found = input_ig_scores(
        result.pair.target, result.filters, Inputs((DEMO[0],), (images,), ((end,),)), [clean], points=100,
        progress=tqdm(disable=True), offset=0.0,
    )  # fmt: skip
    assert np.allclose(found[0], scores, rtol=1e-3, atol=1e-4 * scores.max())
