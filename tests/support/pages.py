"""What the code of the pages needs: the networks and images that its names stand for, and the files that it names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image

__all__ = ["scene"]


class Small(nn.Module):
    """A network x4 with the layers that pages name, so that every analysis is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)))
        self.conv_last = nn.Conv2d(8, 48, 3, padding=1)

    def inner(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        return self.body(feature).relu()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.inner(x, self.conv_first(x).relu())
        base = nn.functional.interpolate(x, scale_factor=4, mode="bilinear")
        return base + 0.1 * nn.functional.pixel_shuffle(self.conv_last(feature), 4)


class Attending(Small):
    """With attention among all positions."""

    def inner(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        flat = self.body[1](feature).flatten(2).transpose(1, 2)
        weights = torch.softmax(flat @ flat.transpose(1, 2), dim=-1)
        return (weights @ flat).transpose(1, 2).reshape(feature.shape) + super().inner(x, feature)


class Gated(Small):
    """With a gate of the channels."""

    def inner(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        return super().inner(x, feature * torch.sigmoid(self.body[0](feature).mean((2, 3), keepdim=True)))


class Modulated(Small):
    """With a feature that two functions of the image scale and shift, as SFT layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.factor, self.summand = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def inner(self, x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        return super().inner(x, feature * self.factor(x) + self.summand(x))


def scene(page: str) -> dict[str, Any]:
    """The names that blocks of a page use; the files that they name are written into the working directory."""
    torch.manual_seed(0)
    photos = [read_image(path) for path in photographs()]
    hr = photos[1][..., 32:224, 32:224].contiguous()
    kinds = {"attention_map": Attending, "sr-hooks-attention": Gated, "sr-hooks-modulation": Modulated}
    module = kinds.get(page, Small)()
    networks = [sr_hooks.Network(module, scale=4, name=name) for name in ("network", "another")]
    if page == "faig":
        networks = [demo_network("baseline"), demo_network("target")]
    small = [photo[..., 64:160, 64:160].contiguous() for photo in photos[:2]]
    names = {"sr_hooks": sr_hooks, "torch": torch, "network": networks[0], "lr": downsample(hr, 4), "hr": hr}
    names |= {"hr_images": photos, "images": photos, "photos": small[:1], "other_photos": small[1:]}
    names |= {"baseline": networks[0], "target": networks[1], "other_network": networks[1], "module": module}
    names |= {"networks": networks, "lr_images": [downsample(photo, 4) for photo in photos[:2]]}
    names |= {"net": module, "optimizer": torch.optim.Adam(module.parameters()), "loader": [(None, None)] * 2}
    names |= {"model": SimpleNamespace(net_g=module), "MyNet": Small}
    if page == "attention_map":  # its query is at (40, 52)
        names["lr"] = downsample(photos[1][..., 32:208, 16:240], 4)
    if page == "sr-hooks-modulation":
        names["hr"] = photos[:2]
    if page in ("check", "sr-hooks-cem"):
        result = sr_hooks.lam(networks[0], names["lr"][..., :24, :24], window=(40, 40, 16))
        names |= {"result": result, "lam_result": sr_hooks.lam(networks[0], names["lr"], window=(96, 120, 32))}
        names["my_method"] = lambda network, image, window: np.random.default_rng(0).normal(size=image.shape[1:])
        if page == "check":
            names["card"] = sr_hooks.check(result, draws=3, orders=3)
    _write_files(photos, hr, module)
    return names


def _write_files(photos: list[torch.Tensor], hr: torch.Tensor, module: nn.Module) -> None:
    folders = {"set5": photos[:2], "div2k_valid": photos[:2], "phone_photos": photos[2:], "photos/phone": photos[2:]}
    for folder, images in {**folders, "my_lr_images": [downsample(photo, 4) for photo in photos]}.items():
        Path(folder).mkdir(parents=True)
        for number, image in enumerate(images):
            write_image(image[0], f"{folder}/{number}.png")
    lr = downsample(hr, 4)
    for name, image in {"lr.png": lr, "baby.png": lr, "photo.png": hr, "logo.png": hr}.items():
        write_image(image[0], name)
    mask = torch.zeros(hr.shape[-2:])
    mask[60:90, 40:80] = 1
    write_image(mask[None], "mask.png")
    torch.save(module.state_dict(), "b.pth")
