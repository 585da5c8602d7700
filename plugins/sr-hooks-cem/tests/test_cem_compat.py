"""`compat="cem"` is the published procedure, written out here on 8-bit NumPy images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cem_networks import Linear
from PIL import Image
from sr_hooks_cem.published import PublishedPool

import sr_hooks
from sr_hooks.core import generator
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import read_image, write_image


def published_procedure(module, gt8, lr8, patches, window, *, side, coarse, fine, tolerance):
    """The public code's counts, written out: 8-bit NumPy images, whole forwards, fresh fine patches.

    gt8 (H,W,3) and lr8 (h,w,3) uint8; patches(block, draw) gives (side,side,3) uint8.
    """
    top, left, size = window

    def psnr_of(x):
        with torch.no_grad():
            out = module(torch.from_numpy(x.transpose(2, 0, 1).copy())[None].float() / 255)[0]
        out = np.uint8(np.round(out.numpy().transpose(1, 2, 0).clip(0, 1) * 255))
        a, b = (y[top : top + size, left : left + size].astype(np.float64) for y in (out, gt8))
        return 20 * np.log10(255 / np.sqrt(np.mean((a - b) ** 2)))

    def drawn(i, j, number, draws):
        values = []
        for draw in draws:
            changed = lr8.copy()
            changed[i * side : (i + 1) * side, j * side : (j + 1) * side] = patches(number, draw)
            values.append(psnr_of(changed))
        return values

    count, base = lr8.shape[0] // side, psnr_of(lr8)
    effect = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            values = drawn(i, j, i * count + j, range(coarse))
            if max(abs(base - value) for value in values) >= tolerance:
                values = drawn(i, j, i * count + j, range(coarse, coarse + fine))
            effect[i, j] = base - np.mean(values)
    effect[np.abs(effect) < tolerance] = 0
    return effect


@pytest.fixture(scope="module")
def published_case(hr, tmp_path_factory):
    """A compat result and the same by the written-out procedure: network, map, and a folder of patch files."""
    import cv2

    folder = tmp_path_factory.mktemp("patches")
    for index in (0, 2, 3):
        image = read_image(photographs()[index])
        write_image(image[..., 20:84, 30:94], folder / f"{index}.png")
        write_image(image[..., 100:164, 90:154], folder / f"{index}b.png")
    options = {"coarse": 2, "fine": 3, "tolerance": 0.01}
    network = demo_network("target")
    result = sr_hooks.run("cem", network, hr, window=(24, 24, 16), pool=str(folder), compat="cem", lam=False, cache="",
                          block=8, **options)  # fmt: skip
    files = sorted(folder.glob("*.png"))
    gt8 = np.uint8(np.round(hr[0].numpy().transpose(1, 2, 0) * 255))
    lr8 = np.asarray(Image.fromarray(gt8).resize((16, 16), Image.BICUBIC))

    def patches(block, draw):
        chosen = files[int(generator(0, "cem", block, draw).integers(len(files)))]
        return cv2.resize(cv2.imread(str(chosen)), (2, 2), interpolation=cv2.INTER_CUBIC)  # blue first, as published

    expected = published_procedure(network.module, gt8, lr8, patches, (24, 24, 16), side=2, **options)
    return result, expected


def test_compat_is_the_published_procedure(published_case):
    result, expected = published_case
    assert np.allclose(result.arrays["effect"], expected, atol=1e-4) and np.count_nonzero(expected) > 8
    outside = np.ones(expected.shape, bool)
    outside[3:5, 3:5] = False
    counts = {name: result.scalars[name] for name in ("helping", "harming", "own_blocks")}
    assert counts == {
        "helping": (expected[outside] > 0).sum(),
        "harming": (expected[outside] < 0).sum(),
        "own_blocks": 4,
    }
    assert result.scalars["table"]["positive"] == counts["helping"] + 4  # the public table has its 999s among them
    assert "red and blue" in result.verdict and result.scalars["compat"] == "cem"


@pytest.mark.parametrize("broken", ["bits", "patches", "fine"])
def test_compat_without_one_of_the_published_steps_is_another_map(published_case, broken, hr, monkeypatch, tmp_path):
    """The comparison above can fail: without 8 bits, with red and blue in place, with coarse patches in the mean."""
    result, expected = published_case
    if broken == "bits":
        monkeypatch.setattr("sr_hooks_cem.effects.quantise", lambda x: x)
    elif broken == "patches":
        plain = PublishedPool._prepare
        monkeypatch.setattr(PublishedPool, "_prepare", lambda *a: [image.flip(1) for image in plain(*a)])
    options = result.provenance["options"]
    request = {name: options[name] for name in ("window", "pool", "coarse", "fine", "tolerance", "block")}
    if broken == "fine":
        request["fine"] = 2
    other = sr_hooks.run("cem", demo_network("target"), hr, compat="cem", lam=False, cache="", **request)
    assert not np.allclose(other.arrays["effect"], expected, atol=1e-4)


def test_compat_refuses_what_the_published_code_cannot_take(hr):
    for wrong, words in (({"hr": hr[..., :48, :]}, "square inputs"), ({"fine": 0}, "fine must be at least 1")):
        image = wrong.pop("hr", hr)
        with pytest.raises(sr_hooks.SRHooksError, match=words):
            sr_hooks.run("cem", Linear(), image, window=(4, 4, 8), compat="cem", **wrong)
