"""For each of torch's operations, which part of its inputs a part of its output needs, and how to compute just that."""

from sr_hooks.attribution.receptive_field.rules.table import part_of

__all__ = ["part_of"]
