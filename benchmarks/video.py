"""LAM of a small BasicVSR over a known camera motion, before and after some training; the picture of docs/video.md.

    OMP_NUM_THREADS=1 python benchmarks/video.py --seconds 240 --out out/video [--picture docs/video.png]

BasicVSR (16 features, 2 blocks) is trained x4 on pans over three of the shipped photographs and looked at on a pan over
the fourth. Its SPyNet is set to zero flow and left so: the pans move by a pixel a frame or less, which its convolutions
bridge, and a flow takes longer to learn. Seconds are this process's own. Printed: PSNR of the middle frame against
bicubic, shares of the frames, temporal diffusion, completeness gap, for the trained network, the untrained one, and the
trained one where the clip stands still.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import sr_hooks
from sr_hooks.demo.assets import photographs
from sr_hooks.images.clips import by_frames, camera_pan
from sr_hooks.images.image import downsample, read_image, upsample
from sr_hooks.images.metrics import psnr
from sr_hooks.networks.loading.loaders import import_basicsr

SCALE, FRAMES = 4, 7
WINDOW = (88, 72, 24)


def build() -> torch.nn.Module:
    import_basicsr()
    from basicsr.archs.basicvsr_arch import BasicVSR

    torch.manual_seed(0)
    module = BasicVSR(num_feat=16, num_block=2)
    with torch.no_grad():
        for part in module.spynet.basic_module:
            last = part.basic_module[-1]
            last.weight.zero_()
            last.bias.zero_()
    return module


def lr_of(hr: torch.Tensor) -> torch.Tensor:
    return by_frames(lambda frames: downsample(frames, SCALE), hr)


def train(module: torch.nn.Module, photos: list[torch.Tensor], seconds: float, side: int = 24) -> int:
    """Charbonnier loss over all frames of random pans; how many steps there were."""
    rng = np.random.default_rng(0)
    parameters = [p for name, p in module.named_parameters() if not name.startswith("spynet")]
    optimizer = torch.optim.Adam(parameters, 2e-3)
    flow = module.get_flow
    module.get_flow = lambda x: (x.new_zeros(len(x), x.shape[1] - 1, 2, *x.shape[3:]),) * 2  # what SPyNet would give
    begin, steps = time.process_time(), 0
    while (used := time.process_time() - begin) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - 0.95 * used / seconds)
        photo, size = photos[rng.integers(len(photos))], side * SCALE
        step = rng.integers(-4, 5, 2)
        room = [photo.shape[-2 + i] - size - abs(int(step[i])) * (FRAMES - 3) for i in range(2)]
        start = [int(rng.integers(room[i] + 1)) + max(0, -int(step[i])) * (FRAMES - 3) for i in range(2)]
        hr = camera_pan(photo, frames=FRAMES - 2, size=(size, size), step=tuple(map(int, step)), start=tuple(start))
        loss = ((module(lr_of(hr)) - hr).square() + 1e-6).sqrt().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"  {used:5.0f} s, step {steps}, loss {float(loss):.4f}", flush=True)
    module.get_flow = flow
    return steps


def look(name: str, module: torch.nn.Module, hr: torch.Tensor) -> sr_hooks.LamResult:
    lr, middle = lr_of(hr), FRAMES // 2
    network = sr_hooks.Network(module, name=name)
    with torch.no_grad(), network.prepared():
        restored = psnr(network(lr).clamp(0, 1), hr[:, middle])
    plain = psnr(upsample(lr[:, middle], (hr.shape[-2], hr.shape[-1])).clamp(0, 1), hr[:, middle])
    result = sr_hooks.lam(network, lr, window=WINDOW)
    shares = " ".join(f"{share:.2%}" for share in result.frame_shares)
    print(f"{name}: {float(restored):.2f} dB (bicubic {float(plain):.2f}); shares {shares};", flush=True)
    print(f"  temporal diffusion {result.temporal_diffusion:.3f} of {FRAMES}, gap {result.completeness_gap:.2g}")
    print(f"  {result.verdict}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240, help="of training")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--picture", type=Path, help="write the trained network's figure here, for the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    test, *photos = [read_image(path) for path in photographs()]
    hr = camera_pan(test, frames=FRAMES, size=(192, 192), step=(0, 4), start=(20, 10))
    look("untrained BasicVSR", build(), hr)
    module = build()
    print(f"{train(module, photos, arguments.seconds)} steps in {arguments.seconds:g} s")
    torch.save(module.state_dict(), arguments.out.with_suffix(".pth"))
    result = look("small BasicVSR", module, hr)
    result.save(arguments.out)
    if arguments.picture:
        result.figure().savefig(arguments.picture, dpi=80)
    look("small BasicVSR, still clip", module, hr[:, 3:4].expand(-1, FRAMES, -1, -1, -1))


if __name__ == "__main__":
    main()
