"""Name the layers of a module, capture what passes through them, and change it."""

from sr_hooks.hooks.activations import capture, features, intervene
from sr_hooks.hooks.checkpoints import repeated_blocks
from sr_hooks.hooks.interventions import bypass, drop, drop_each, replace, scale
from sr_hooks.hooks.layer_list import Layer, deep_feature, layers, resolve
from sr_hooks.hooks.taps import Tap, parse_layers, parse_tap

__all__ = [
    "Layer",
    "Tap",
    "bypass",
    "capture",
    "deep_feature",
    "drop",
    "drop_each",
    "features",
    "intervene",
    "layers",
    "parse_layers",
    "parse_tap",
    "repeated_blocks",
    "replace",
    "resolve",
    "scale",
]
