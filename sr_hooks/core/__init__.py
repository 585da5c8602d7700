"""What knows neither an image nor a network: registry, options, seeds, progress, text, the cache on disk.

The names are imported at their first use, so that `sr-hooks --help` starts without torch.
"""

from typing import TYPE_CHECKING

from sr_hooks.core.public_names import lazy_names

if TYPE_CHECKING:
    from sr_hooks.core.disk_cache import cache_folder, recall, remember
    from sr_hooks.core.options import option
    from sr_hooks.core.progress import progress_bar
    from sr_hooks.core.registry import registered
    from sr_hooks.core.seeds import generator, torch_generator
    from sr_hooks.core.text import text_table

__all__ = [
    "cache_folder",
    "generator",
    "option",
    "progress_bar",
    "recall",
    "registered",
    "remember",
    "text_table",
    "torch_generator",
]

_SOURCES = {
    "cache_folder": "sr_hooks.core.disk_cache:cache_folder",
    "generator": "sr_hooks.core.seeds:generator",
    "option": "sr_hooks.core.options:option",
    "progress_bar": "sr_hooks.core.progress:progress_bar",
    "recall": "sr_hooks.core.disk_cache:recall",
    "registered": "sr_hooks.core.registry:registered",
    "remember": "sr_hooks.core.disk_cache:remember",
    "text_table": "sr_hooks.core.text:text_table",
    "torch_generator": "sr_hooks.core.seeds:torch_generator",
}

if not TYPE_CHECKING:  # else the type checker would let every name pass
    __getattr__ = lazy_names(globals(), _SOURCES)


def __dir__() -> list[str]:
    return __all__
