"""Operations of windowed attention give in a cone what they give whole, and need no more than they should."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT
from sr_hooks.images.windows import Window
from tests.support.cones import Shaped, conv, gradients

SIDE = 8  # of a window of attention


def parted(y: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """(B,C,H,W) as windows (B*windows, side*side, C)."""
    b, c, h, w = y.shape
    windows = y.permute(0, 2, 3, 1).view(b, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5)
    return windows.contiguous().view(-1, side * side, c)


def joined(windows: torch.Tensor, like: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    b, c, h, w = like.shape
    y = windows.view(b, h // side, w // side, side, side, c).permute(0, 1, 3, 2, 4, 5)
    return y.contiguous().view(b, h, w, c).permute(0, 3, 1, 2)


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    weights = 3 * q @ k.transpose(-2, -1)
    return (weights if mask is None else weights + mask).softmax(-1) @ v


def windows_of_attention(y: torch.Tensor, shift: int = 0) -> torch.Tensor:
    moved = torch.roll(y, (-shift, -shift), (2, 3))
    mask = torch.linspace(-1, 1, 12 * 64 * 64).view(12, 64, 64) if shift else None  # another in each window
    windows = parted(moved)
    return torch.roll(joined(attended(windows, windows, windows, mask), moved), (shift, shift), (2, 3))


def fused(y: torch.Tensor) -> torch.Tensor:
    q = parted(y).view(12, SIDE * SIDE, 2, 3).transpose(1, 2)
    out = F.scaled_dot_product_attention(q, q.tanh(), q, attn_mask=torch.linspace(-1, 1, 64 * 64).view(64, 64))
    return joined(out.transpose(1, 2).reshape(12, SIDE * SIDE, 6), y)


def overlapping(y: torch.Tensor) -> torch.Tensor:
    """The keys of a window are those of a larger one around it."""
    keys = F.unfold(y, 12, stride=8, padding=2)  # (B, C*12*12, windows)
    keys = keys.view(1, 6, 144, 12).permute(0, 3, 2, 1).reshape(12, 144, 6)
    return joined(attended(parted(y), keys, keys.sin()), y)


def sliding(y: torch.Tensor) -> torch.Tensor:
    rows = y.unfold(2, 4, 1).amax(-1)  # (B,C,21,W)
    return F.pad(rows, (0, 0, 1, 2))


def stripes(y: torch.Tensor) -> torch.Tensor:
    """Windows as wide as the image."""
    b, c, h, w = y.shape
    rows = y.permute(0, 2, 3, 1).reshape(b * h // 4, 4 * w, c)
    return attended(rows, rows, rows).reshape(b, h, w, c).permute(0, 3, 1, 2)


def spread(y: torch.Tensor) -> torch.Tensor:
    """Attention among pixels that lie a third of the image apart."""
    b, c, h, w = y.shape
    grid = y.view(b, c, 3, h // 3, 4, w // 4).permute(0, 3, 5, 2, 4, 1).reshape(-1, 12, c)
    out = attended(grid, grid, grid).view(b, h // 3, w // 4, 3, 4, c)
    return out.permute(0, 5, 3, 1, 4, 2).reshape(b, c, h, w)


def as_tokens(operation):
    """On (B,H*W,C)."""
    return lambda y: operation(y.flatten(2).transpose(1, 2)).transpose(1, 2).view(y.shape)


def as_pixels(operation):
    """On (B,H,W,C)."""
    return lambda y: operation(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def merged(y: torch.Tensor) -> torch.Tensor:
    """Every second row and column as channels, and back."""
    return F.pixel_shuffle(torch.cat([y[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1), 2)


def mirrored(y: torch.Tensor) -> torch.Tensor:
    """Padded by joining flipped copies."""
    larger = torch.cat([y, y.flip(2)], 2)[:, :, :28]
    larger = torch.cat([larger, larger.flip(3)], 3)[..., :36]
    return larger.tanh()[..., 2:26, 1:33]


def in_windows(y: torch.Tensor) -> torch.Tensor:
    """A convolution in each window alone."""
    b, c, *_ = y.shape
    windows = y.view(b, c, 3, 8, 4, 8).permute(0, 2, 4, 1, 3, 5).reshape(12, c, 8, 8)
    out = F.conv2d(windows, torch.linspace(-1, 1, 36 * 9).view(6, 6, 3, 3), padding=1)
    return out.view(b, 3, 4, c, 8, 8).permute(0, 3, 1, 4, 2, 5).reshape(y.shape)


MATRIX = torch.linspace(-1, 1, 36).view(6, 6)
EVERYTHING, ROW, LOCAL = "everything", "all columns", "less than all"
WHOLE_ROWS_AND_COLUMNS = {EVERYTHING: (True, True), ROW: (False, True), LOCAL: (False, False)}
OPERATIONS = {
    "windows of attention": (windows_of_attention, LOCAL),
    "shifted windows": (lambda y: windows_of_attention(y, 4), LOCAL),
    "windows of another shift": (lambda y: windows_of_attention(y, 3), LOCAL),
    "fused attention": (fused, LOCAL),
    "overlapping windows": (overlapping, LOCAL),
    "sliding maximum": (sliding, LOCAL),
    "stripes": (stripes, ROW),
    "pixels far apart": (spread, EVERYTHING),
    "global attention": (as_tokens(lambda t: attended(t, t, t)), EVERYTHING),
    "attention between channels": (as_tokens(lambda t: t @ (t.transpose(1, 2) @ t / 99).softmax(-1)), EVERYTHING),
    "linear": (as_tokens(lambda t: F.linear(t, MATRIX, MATRIX[0])), LOCAL),
    "layer norm": (as_tokens(lambda t: F.layer_norm(t, (6,), MATRIX[0], MATRIX[1])), LOCAL),
    "layer norm of pixels": (as_pixels(lambda t: F.layer_norm(t, (6,))), LOCAL),
    "normalised": (as_pixels(lambda t: F.normalize(t, dim=-1)), LOCAL),
    "thirds": (as_tokens(lambda t: sum(p.sin() for p in t.view(1, -1, 3, 2).unbind(2)).repeat(1, 1, 3)), LOCAL),
    "largest channel": (as_pixels(lambda t: t - t.max(-1, keepdim=True).values + t.var(-1, keepdim=True)), LOCAL),
    "borders of pixels": (as_pixels(lambda t: F.pad(t, (0, 0, 4, 4, 8, 0)).exp()[:, 5:29, 3:35]), LOCAL),
    "cut at the borders": (lambda y: F.pad(F.pad(y, (-3, -2, -1, -4)), (3, 2, 1, 4)), LOCAL),
    "every second pixel": (merged, LOCAL),
    "flipped and joined": (mirrored, LOCAL),
    "a convolution in windows": (in_windows, LOCAL),
    "other order of channels": (lambda y: y.index_select(1, torch.tensor([3, 1, 2, 0, 5, 4])), LOCAL),
    "running sum of columns": (lambda y: y.cumsum(3) / 9, ROW),
    "reversed": (lambda y: y.flip(2, 3), LOCAL),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_what_it_gives_whole_and_takes_what_it_needs(name):
    operation, reach = OPERATIONS[name]
    torch.manual_seed(2)
    network = Shaped(operation)
    for window in (Window(9, 12, 4, 5), Window(0, 0, 3, 3), Window(20, 26, 4, 6)):
        cone, off = gradients(network, window, (24, 32))
        assert off < AGREEMENT
        if window.top == 9:
            rows, columns = cone.inputs.size
            assert (rows == 24, columns == 32) == {EVERYTHING: (True, True), ROW: (False, True)}.get(
                reach, (False,) * 2
            )


def test_a_window_of_attention_needs_itself_and_its_halo():
    cone, _ = gradients(Shaped(windows_of_attention), Window(10, 11, 3, 3), (24, 32))
    assert cone.inputs == (8 - 1, 16 + 1, 8 - 1, 16 + 1)  # rows 9 to 14 lie in the second window; 1 for the head


def test_at_the_border_of_the_image_shifted_windows_take_no_more_work_than_inside():
    """The window continues on the opposite side of the image: what lies between is not computed."""

    def shifted(y):
        moved = torch.roll(y, (-4, -4), (2, 3))
        return torch.roll(joined(attended(*[parted(moved)] * 3), moved), (4, 4), (2, 3))

    inside, off = gradients(Shaped(shifted), Window(43, 43, 2, 2), (88, 88))
    border, off_border = gradients(Shaped(shifted), Window(0, 0, 2, 2), (88, 88))
    assert max(off, off_border) < AGREEMENT and border.work <= inside.work
    assert border.inputs == (0, 88, 0, 88)


def test_a_mask_that_every_layer_computes_again_is_computed_once():
    counted = []

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.tail = conv(3), conv(o=3)

        def forward(self, x):
            y = self.head(x)
            for _ in range(3):
                y = y * torch.linspace(0, 1, x.shape[-1]).cos()
            return self.tail(y)

    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            counted.append(str(function))
            return function(*args, **(kwargs or {}))

    module = Masked()
    cone, off = gradients(module, Window(9, 12, 4, 4))
    with Counting():
        cone.prepare(dict(module.named_parameters()))
    assert off < AGREEMENT and counted.count("aten.cos.default") == 1
