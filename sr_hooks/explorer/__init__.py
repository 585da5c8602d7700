"""A page on which one clicks or drags windows of an output, and sees the LAM of each network side by side."""

from sr_hooks.explorer.server import ExplorerPage, explore

__all__ = [
    "ExplorerPage",
    "explore",
]
