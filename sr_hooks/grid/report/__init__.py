"""A grid as one HTML file that opens from disk: nothing is fetched, nothing outside of it is run."""

from __future__ import annotations

from sr_hooks.grid.report.html_page import make_report

__all__ = ["make_report"]
