"""Metrics of an output and its ground truth: PSNR, SSIM, both at the best shift, and any other by name."""

from sr_hooks.images.metrics.alignment import best_shift, moved_back, psnr_shift, ssim_shift
from sr_hooks.images.metrics.fidelity import HIGHEST_PSNR, SMALLEST_SSIM, luma, psnr, quantise, ssim, ssim_map
from sr_hooks.images.metrics.named import Metric, make_metric

__all__ = [
    "HIGHEST_PSNR",
    "SMALLEST_SSIM",
    "Metric",
    "best_shift",
    "luma",
    "make_metric",
    "moved_back",
    "psnr",
    "psnr_shift",
    "quantise",
    "ssim",
    "ssim_map",
    "ssim_shift",
]
