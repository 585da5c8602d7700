"""Which part of each layer's input a window depends on, and a forward pass of these parts alone."""

from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone, WindowCones

__all__ = [
    "Cone",
    "WindowCone",
    "WindowCones",
]
