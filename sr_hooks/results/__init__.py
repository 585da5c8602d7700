"""What an analysis found, saved and loaded whole; the cache by content."""

from sr_hooks.results.cache import Cache, key_of

__all__ = ["Cache", "key_of"]
