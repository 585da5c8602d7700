"""Files that are read with care, and strict JSON. The folder knows nothing of images, networks or results."""

from sr_hooks.files.regular_files import expanded, is_disk_full, is_file, is_folder, open_regular, read_bytes
from sr_hooks.files.strict_json import from_json, restored, to_json

__all__ = [
    "expanded",
    "from_json",
    "is_disk_full",
    "is_file",
    "is_folder",
    "open_regular",
    "read_bytes",
    "restored",
    "to_json",
]
