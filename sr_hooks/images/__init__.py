"""Images, clips, sets of them and windows: read, check, resize, compare."""

from sr_hooks.images.clips import as_clips, by_frames, camera_pan, read_clip
from sr_hooks.images.image import as_batch, blur, downsample, read_image, sha256_of, upsample, write_image
from sr_hooks.images.image_sets import cut_patches, image_files, parse_folders, single_images
from sr_hooks.images.metrics import luma, make_metric, psnr, quantise, ssim
from sr_hooks.images.windows import Window, parse_window, parse_windows

__all__ = [
    "Window",
    "as_batch",
    "as_clips",
    "blur",
    "by_frames",
    "camera_pan",
    "cut_patches",
    "downsample",
    "image_files",
    "luma",
    "make_metric",
    "parse_folders",
    "parse_window",
    "parse_windows",
    "psnr",
    "quantise",
    "read_clip",
    "read_image",
    "sha256_of",
    "single_images",
    "ssim",
    "upsample",
    "write_image",
]
