"""The result of an analysis, saved whole and loaded; the faithfulness card; a cache by content."""

from sr_hooks.results.cache import Cache, key_of
from sr_hooks.results.card import Card, Verdict
from sr_hooks.results.result import Result, read_result
from sr_hooks.results.run_index import read_index

__all__ = [
    "Cache",
    "Card",
    "Result",
    "Verdict",
    "key_of",
    "read_index",
    "read_result",
]
