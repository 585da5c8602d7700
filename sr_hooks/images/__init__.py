"""Images, clips, sets of them and windows: read, check, resize, compare."""

from sr_hooks.images.clips import as_clips, by_frames, camera_pan, read_clip
from sr_hooks.images.image import (
    as_batch,
    blur,
    check_range,
    downsample,
    gaussian_kernel,
    read_image,
    reflect_pad,
    sha256_of,
    to_numpy,
    upsample,
    write_image,
)
from sr_hooks.images.image_sets import cut_patches, image_files, parse_folders, single_images
from sr_hooks.images.masks import parse_regions
from sr_hooks.images.metrics import Metric, best_shift, luma, make_metric, psnr, psnr_shift, quantise, ssim, ssim_shift
from sr_hooks.images.regions import Region, inside, outline, region_psnr
from sr_hooks.images.windows import Box, Window, parse_window, parse_windows, window_with_most_edges

__all__ = [
    "Box",
    "Metric",
    "Region",
    "Window",
    "as_batch",
    "as_clips",
    "best_shift",
    "blur",
    "by_frames",
    "camera_pan",
    "check_range",
    "cut_patches",
    "downsample",
    "gaussian_kernel",
    "image_files",
    "inside",
    "luma",
    "make_metric",
    "outline",
    "parse_folders",
    "parse_regions",
    "parse_window",
    "parse_windows",
    "psnr",
    "psnr_shift",
    "quantise",
    "read_clip",
    "read_image",
    "reflect_pad",
    "region_psnr",
    "sha256_of",
    "single_images",
    "ssim",
    "ssim_shift",
    "to_numpy",
    "upsample",
    "window_with_most_edges",
    "write_image",
]
