"""Channel importance: one weight for each channel of a tap, fitted to keep the output with few channels."""

from sr_hooks_csm.importance.analysis import Importance, ImportanceOptions

__all__ = ["Importance", "ImportanceOptions"]
