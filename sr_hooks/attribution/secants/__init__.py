"""Integrals along image paths by the slopes between nodes, for networks of rectifiers."""

from sr_hooks.attribution.secants.strategy import SecantsOrGradients

__all__ = ["SecantsOrGradients"]
