"""Name layers, capture and change what passes through them; every handle is removed."""

from sr_hooks.hooks.activations import capture, features, intervene
from sr_hooks.hooks.interventions import bypass, drop, drop_each, replace, scale
from sr_hooks.hooks.layer_list import layers, resolve
from sr_hooks.hooks.taps import Tap, parse_layers, parse_tap

__all__ = [
    "Tap",
    "bypass",
    "capture",
    "drop",
    "drop_each",
    "features",
    "intervene",
    "layers",
    "parse_layers",
    "parse_tap",
    "replace",
    "resolve",
    "scale",
]
