"""The style that all figures share, and what sets them on a sheet or in a page."""

from sr_hooks.figures import style

__all__ = ["style"]
