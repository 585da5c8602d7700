"""The table of verified networks, on which the tests have run every analysis: read it, write it, print it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_hooks.core.text import text_table
from sr_hooks.doctor.diagnosis import Diagnosis

__all__ = ["ANALYSES", "markdown", "read_table", "row_of", "rows_of", "summary", "write_table"]

ANALYSES = ("taps", "lam", "ddr", "faig")
_FILE = Path(__file__).with_name("networks.json")
_YES, _NO = "yes", "no"


def read_table() -> dict[str, dict[str, dict[str, Any]]]:
    """The table: source ("BasicSR", "spandrel", ...) to network's name to its entry."""
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return table


def write_table(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Write the table, with sources in the given order and networks sorted by name."""
    ordered = {source: dict(sorted(rows.items(), key=lambda item: item[0].lower())) for source, rows in table.items()}
    _FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def row_of(diagnosis: Diagnosis, note: str = "") -> dict[str, Any]:
    """The entry of a diagnosis: facts, and for each analysis "yes" or the reason why it does not work."""
    outcomes = {finding.analysis: _YES if finding.works else finding.message for finding in diagnosis.findings}
    facts = {name: diagnosis.facts.get(name) for name in ("scale", "channels", "multiple", "minimum", "input_range")}
    row: dict[str, Any] = {
        **facts,
        **{name: outcomes[name] for name in ANALYSES},
        "window": diagnosis.cone.partition(":")[0],
    }
    if note:
        row["note"] = note
    return row


def rows_of(table: Mapping[str, Mapping[str, Mapping[str, Any]]], source: str | None = None) -> list[dict[str, Any]]:
    """The rows to print, of one source or of all."""
    rows = []
    for name, networks in table.items():
        for network, entry in networks.items() if source in (None, name) else ():
            short = {key: _YES if entry[key] == _YES else _NO for key in ANALYSES}
            shown = {
                "source": name,
                "network": network,
                **{key: entry[key] for key in ("scale", "channels", "multiple")},
            }
            rows.append({**shown, **short, "window": entry["window"] or None})
    return rows


def summary(table: Mapping[str, Mapping[str, Mapping[str, Any]]], source: str | None = None) -> str:
    """The table as text, with the reason for every "no", and with notes."""
    lines = [text_table(rows_of(table, source)), ""]
    for name, rows in table.items():
        for row, entry in rows.items() if source in (None, name) else ():
            lines += [f"{name} {row}: {text}" for text in _remarks(entry)]
    return "\n".join(lines).rstrip()


def _remarks(entry: Mapping[str, Any]) -> list[str]:
    """The reasons, each once with all analyses that fail for it, then the note."""
    reasons: dict[str, list[str]] = {}
    for analysis in ANALYSES:
        if entry[analysis] != _YES:
            reasons.setdefault(entry[analysis], []).append(analysis)
    remarks = [f"no {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return [*remarks, *([entry["note"]] if entry.get("note") else [])]


def markdown(table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The text of docs/networks.md."""
    parts = [_HEAD]
    for source, rows in table.items():
        working = sum(1 for row in rows.values() if all(row[name] == _YES for name in ANALYSES))
        parts.append(f"## {source}\n\n{len(rows)} networks, {working} of them with every analysis.\n")
        head = "| network | scale | channels | multiple | taps | LAM | DDR | FAIG | window | remarks |"
        lines = [head, "|" + "---|" * 10]
        for name, entry in rows.items():
            facts = [_cell(entry[key]) for key in ("scale", "channels", "multiple")]
            marks = [_YES if entry[key] == _YES else _NO for key in ANALYSES]
            remarks = "; ".join(_remarks(entry)).replace("|", "\\|")
            lines.append("| " + " | ".join([name, *facts, *marks, entry["window"] or "–", remarks]) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


_HEAD = """# Networks that are verified

Written by the tests (`tests/doctor/test_verified_networks.py`), which build each network at a small size with random
weights and run every analysis on it; `sr-hooks networks` prints it, and a test fails where it no longer holds. Weights
are random, so what is verified is that the analysis runs and is sound, not what a trained network would show.

- Facts (scale, channels, the multiple that inputs are padded to) are inferred, or read from the file by spandrel.
- *taps*: its layers are listed and `auto` captures the deep feature. *LAM*: a finite, non-zero map of a window in the
  middle. *DDR*: the index at `auto` over three degradations. *FAIG*: scores against a copy with disturbed weights.
- *window*: `proved` where only what a window depends on can be computed; `whole` where the whole network is, because
  its operations cannot be written down or everything depends on everything. The map is the same.

Not in the table, or of your own: `sr-hooks doctor FILE` (or `package.module:Class`, or a file) says what works on a
network, what does not and why, and what to set.
"""
