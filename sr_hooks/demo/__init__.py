"""A small network in two states and a few photographs, shipped for trials and tests."""

from sr_hooks.demo.assets import demo_network, photographs

__all__ = [
    "demo_network",
    "photographs",
]
