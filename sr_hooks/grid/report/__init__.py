"""A computed grid as a figure, tables and one HTML file."""

from sr_hooks.grid.report.html.page import make_report

__all__ = [
    "make_report",
]
