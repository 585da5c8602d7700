"""Attention maps of a small SwinIR before and after some training; the picture of docs/attention_map.md.

    python benchmarks/attention_map.py --seconds 150 --images bsds500/train --out out [--picture docs/attention_map.png]

SwinIR (24 channels, 2 groups of 2 layers, windows of 8) is trained x2 on three of the shipped photographs, or on the
folder --images, and looked at on another one at four queries. It needs the package sr-hooks-attention. Seconds are this
process's own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, image_files, psnr, read_image, upsample
from sr_hooks.networks import import_basicsr

SCALE = 2
QUERIES = ((20, 29), (40, 20), (30, 50), (12, 40))


def build() -> torch.nn.Module:
    import_basicsr()
    from basicsr.archs.swinir_arch import SwinIR

    torch.manual_seed(0)
    return SwinIR(
        upscale=SCALE, img_size=24, window_size=8, depths=[2, 2], embed_dim=24, num_heads=[2, 2], mlp_ratio=2,
        upsampler="pixelshuffledirect",
    )  # fmt: skip


def train(module: torch.nn.Module, photos: list[torch.Tensor], seconds: float) -> int:
    """L1 loss on random crops; how many steps there were."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    begin, steps = time.process_time(), 0
    while (used := time.process_time() - begin) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - 0.95 * used / seconds)
        crops = []
        for photo in (photos[i] for i in rng.integers(len(photos), size=4)):
            y, x = (int(rng.integers(side - 64 + 1)) for side in photo.shape[-2:])
            crops.append(photo[..., y : y + 64, x : x + 64])
        hr = torch.cat(crops)
        loss = (module(downsample(hr, SCALE)) - hr).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"  {used:5.0f} s, step {steps}, loss {float(loss.detach()):.4f}", flush=True)
    return steps


def look(name: str, module: torch.nn.Module, hr: torch.Tensor) -> list[sr_hooks.Result]:
    network, lr = sr_hooks.Network(module.eval(), name=name), downsample(hr, SCALE)
    with torch.no_grad(), network.prepared():
        restored = psnr(network(lr).clamp(0, 1), hr)
    plain = psnr(upsample(lr, (hr.shape[-2], hr.shape[-1])).clamp(0, 1), hr)
    print(f"{name}: {float(restored):.2f} dB (bicubic {float(plain):.2f})", flush=True)
    results = []
    for query in QUERIES:
        result = sr_hooks.run("attention-map", network, lr, query=query, rollout=True)
        numbers = " ".join(f"{key} {value:.3f}" for key, value in result.headline().items())
        print(f"  {query}: {numbers}\n    {result.verdict}", flush=True)
        results.append(result)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150, help="of training")
    parser.add_argument("--images", type=Path, help="folder of the training's photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--picture", type=Path, help="write the trained network's figure here, for the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, test, *shipped = [read_image(path) for path in photographs()]
    photos = (
        [read_image(path) for path in image_files(arguments.images)[:100]] if arguments.images else [first, *shipped]
    )
    hr = test[..., 40:168, 60:188]
    look("untrained SwinIR", build(), hr)
    module = build()
    print(f"{train(module, photos, arguments.seconds)} steps in {arguments.seconds:g} s")
    results = look("small SwinIR", module, hr)
    for query, result in zip(QUERIES, results, strict=True):
        result.save(arguments.out / "-".join(map(str, query)))
    if arguments.picture:
        results[0].figure().savefig(arguments.picture, dpi=80)


if __name__ == "__main__":
    main()
