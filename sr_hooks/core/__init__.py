"""What knows neither an image nor a network: registry, options, seeds, progress."""

from sr_hooks.core.disk_cache import cache_folder
from sr_hooks.core.progress import progress_bar
from sr_hooks.core.registry import registered
from sr_hooks.core.seeds import generator, torch_generator
from sr_hooks.core.text_tables import text_table

__all__ = ["cache_folder", "generator", "progress_bar", "registered", "text_table", "torch_generator"]
