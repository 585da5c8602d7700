"""The HTML report: one file that opens from disk and asks the network for nothing."""

from sr_hooks.grid.report.html.page import make_report

__all__ = [
    "make_report",
]
