"""The script that trained the two states of the demo network, on a folder of photographs.

    python -m sr_hooks.demo.train PHOTOS --set5 SET5 --out sr_hooks/demo/weights

The baseline learns plain bicubic x4. The target continues from it on a third each of clean, blurred
(Gaussian, std 2 to 4 output pixels, before downsampling) and noisy (std 10 to 30 of 255, after it)
inputs. PHOTOS holds the training photographs, searched recursively; SET5 holds `GTmod12` and
`LRbicx4` and is only measured on. About an hour on one CPU core; seeded.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from sr_hooks.images.image import read_image
from sr_hooks.images.metrics import psnr, quantise
from sr_hooks.networks.loading.compact_resnet import CompactResNet

SCALE = 4
BLUR_STD = (2.0, 4.0)
NOISE_STD = (10.0 / 255, 30.0 / 255)


def read_rgb(path: Path) -> np.ndarray:
    """(H,W,3) uint8."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read {path} as an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def crops(photos: list[np.ndarray], batch: int, size: int, rng: np.random.Generator) -> torch.Tensor:
    """(batch,3,size,size) float32 in [0,1]: random crops, flipped and rotated at random."""
    images = []
    for _ in range(batch):
        photo = photos[rng.integers(len(photos))]
        top = rng.integers(photo.shape[0] - size + 1)
        left = rng.integers(photo.shape[1] - size + 1)
        crop = np.rot90(photo[top : top + size, left : left + size], int(rng.integers(4)))
        images.append(np.ascontiguousarray(crop[:, ::-1] if rng.integers(2) else crop))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def downsample(hr: torch.Tensor) -> torch.Tensor:
    return F.interpolate(hr, scale_factor=1 / SCALE, mode="bicubic", antialias=True)


def blur(hr: torch.Tensor, std: float) -> torch.Tensor:
    images = [
        cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (21, 21), std, borderType=cv2.BORDER_REFLECT_101)
        for image in hr
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def degrade(hr: torch.Tensor, kinds: tuple[str, ...], rng: np.random.Generator) -> torch.Tensor:
    """Make the LR batch; image i is degraded by kinds[i % len(kinds)]."""
    inputs = []
    for index, image in enumerate(hr):
        kind = kinds[index % len(kinds)]
        image = image[None]
        if kind == "blur":
            image = blur(image, rng.uniform(*BLUR_STD))
        lr = downsample(image)
        if kind == "noise":
            lr = lr + rng.uniform(*NOISE_STD) * torch.from_numpy(rng.standard_normal(lr.shape, dtype=np.float32))
        inputs.append(quantise(lr))
    return torch.cat(inputs)


@torch.no_grad()
def set5_psnr(network: nn.Module, set5: Path) -> float:
    """Mean Y-PSNR in dB over Set5 at x4, without a border of 4 pixels."""
    values = []
    for gt_path in sorted((set5 / "GTmod12").glob("*.png")):
        output = quantise(network(read_image(set5 / "LRbicx4" / gt_path.name)))
        values.append(float(psnr(output, read_image(gt_path), border=SCALE, colour="y")))
    return float(np.mean(values))


def train(
    network: CompactResNet,
    photos: list[np.ndarray],
    *,
    iterations: int,
    kinds: tuple[str, ...],
    learning_rate: float,
    seed: int,
    batch: int = 12,
    size: int = 128,
    report: Callable[[int, float, nn.Module], None],
) -> CompactResNet:
    """Train with Adam on the L1 loss, with warm-up and cosine decay; return the moving average of the weights."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    warm_up = 200
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min(1.0, (i + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * i / iterations)) + 1e-4,
    )
    average = copy.deepcopy(network)
    for iteration in range(1, iterations + 1):
        hr = crops(photos, batch, size, rng)
        lr = degrade(hr, kinds, rng)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            sr = network(lr.contiguous(memory_format=torch.channels_last))
        loss = F.l1_loss(sr.float(), hr)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(0.998, iteration / (iteration + 10))
        with torch.no_grad():
            for averaged, trained in zip(average.parameters(), network.parameters(), strict=True):
                averaged.lerp_(trained, 1 - decay)
        if iteration % 250 == 0 or iteration == iterations:
            report(iteration, loss.item(), average)
    return average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--set5", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--baseline-iterations", type=int, default=9000)
    parser.add_argument("--target-iterations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    paths = sorted(p for p in args.photos.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not paths:
        raise SystemExit(f"no photographs under {args.photos}")
    photos = [read_rgb(path) for path in paths]
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def report(iteration: int, loss: float, average: nn.Module) -> None:
        psnr = set5_psnr(average, args.set5)
        seconds = time.perf_counter() - start
        print(f"iteration {iteration:5d}  loss {loss:.4f}  Set5 {psnr:.2f} dB  {seconds:.0f} s", flush=True)

    network = CompactResNet(scale=SCALE).to(memory_format=torch.channels_last)
    stages = (
        ("baseline", ("clean",), args.baseline_iterations, 1e-3),
        ("target", ("clean", "blur", "noise"), args.target_iterations, 6e-4),
    )
    for number, (name, kinds, iterations, rate) in enumerate(stages):
        print(f"{name}: {iterations} iterations on {', '.join(kinds)}", flush=True)
        network = train(
            network,
            photos,
            iterations=iterations,
            kinds=kinds,
            learning_rate=rate,
            seed=args.seed + number,
            report=report,
        )
        weights = {key: value.contiguous() for key, value in network.state_dict().items()}
        facts = {"stage": name, "set5_y_psnr_x4": f"{set5_psnr(network, args.set5):.2f}"}
        save_file(weights, args.out / f"{name}.safetensors", metadata=facts)


if __name__ == "__main__":
    main()
