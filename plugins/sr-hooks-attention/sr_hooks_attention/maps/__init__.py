"""Pictures of attention: what one pixel of the image reads in each layer."""

from sr_hooks_attention.maps.analysis import AttentionMap, AttentionMapOptions

__all__ = ["AttentionMap", "AttentionMapOptions"]
