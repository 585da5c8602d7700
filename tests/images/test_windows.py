"""The bicubic enlargement inside a window alone."""

from __future__ import annotations

import pytest
import torch

from sr_hooks.images.image import upsample
from sr_hooks.images.windows import Window, upsample_window


@pytest.mark.parametrize("window", [(0, 0, 8, 12), (37, 21, 16, 5), (72, 84, 8, 12), (0, 0, 80, 96)])
@pytest.mark.parametrize("size", [(80, 96), (40, 48), (70, 84), (82, 96), (20, 24), (10, 12)])
def test_it_is_the_window_of_the_whole_enlargement(window, size):
    top, left, height, width = (
        min(value, side - 1) if number < 2 else value
        for number, (value, side) in enumerate(zip(window, (*size, *size), strict=True))
    )
    box = Window(top, left, min(height, size[0] - top), min(width, size[1] - left))
    lr = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    part, whole = upsample_window(lr, size, box), box.crop(upsample(lr, size))
    assert part.shape == whole.shape and torch.allclose(part, whole, atol=1e-6)
