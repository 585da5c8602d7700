"""Images, clips and windows are read and checked against a network in one function."""

from __future__ import annotations

import pytest
import torch

from sr_hooks import Network
from sr_hooks.errors import ImageError, OptionError, WindowError
from sr_hooks.images.windows import Window
from sr_hooks.inference.inputs import check_input, prepare_input
from tests.support.networks import Tiny


def test_prepare_input_checks_images_channels_frames_and_windows(small_lr: torch.Tensor) -> None:
    network = Network(Tiny())
    prepared = prepare_input(network, [small_lr, small_lr[0]], window=[(0, 0, 8), (8, 8, 4, 6)])
    assert [tuple(image.shape) for image in prepared.images] == [tuple(small_lr.shape)] * 2
    assert prepared.listed and [w.as_tuple() for w in prepared.windows] == [(0, 0, 8, 8), (8, 8, 4, 6)]
    assert not prepare_input(network, small_lr, window=(0, 0, 8)).listed
    with pytest.raises(ImageError, match="a list"):
        prepare_input(network, [small_lr], one_batch=True)
    with pytest.raises(ImageError, match=r"3 channel\(s\) and Tiny takes 1"):
        prepare_input(Network(Tiny(channels=1)), small_lr)
    (grey,) = prepare_input(network, small_lr[:, :1]).images
    assert torch.equal(grey, torch.cat([small_lr[:, :1]] * 3, 1))
    with pytest.raises(ImageError, match="this is a clip"):
        prepare_input(network, small_lr[:, None])
    with pytest.raises(OptionError, match="takes images, which have none"):
        prepare_input(network, small_lr, frame=1)
    with pytest.raises(WindowError, match="larger than the output"):
        prepare_input(network, small_lr, window=(0, 0, 1000))
    with pytest.raises(WindowError, match="leaves the output"):
        check_input(network, small_lr, windows=[Window(-1, 0, 4, 4)])
    noise = small_lr + 2
    with pytest.raises(ImageError, match="values from"):
        prepare_input(network, noise)
    assert torch.equal(prepare_input(network, noise, noisy=True).images[0], noise)
