"""From the bytes of an image file to an array: pictures as people have them, and files of many bands."""

from sr_hooks.images.decoding.image_files import IMAGE_SUFFIXES, READ_FORMATS, decode, decode_labels

__all__ = [
    "IMAGE_SUFFIXES",
    "READ_FORMATS",
    "decode",
    "decode_labels",
]
