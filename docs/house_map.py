"""Draw docs/house.svg, the map of the package's folders and of the imports between them: python docs/house_map.py.

The floors are those of the import contract `floors` in .importlinter; the arrows are the imports that grimp reads from
the source. An arrow is left out where other arrows lead to the same folder; the picture's metadata has all imports, and
a test compares them with the source.
"""

from __future__ import annotations

import configparser
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import grimp

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / "docs/house.svg"

WIDTH, ROW, BOX, GAP, LEFT, TOP = 800, 84, 36, 28, 40, 12  # pixels
LETTER = 8.4  # pixels of a character at 14 pixels, and a little more
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#3a8fc4", "#555555", "#7b4fa3", "#b03a2e")


def read_floors() -> list[list[str]]:
    """The folders of every floor, the lowest floor first."""
    contracts = configparser.ConfigParser()
    contracts.read(REPOSITORY / ".importlinter", encoding="utf-8")
    lines = contracts["importlinter:contract:floors"]["layers"].split("\n")
    return [[name.strip() for name in line.split("|")] for line in reversed(lines) if line.strip()]


def read_imports() -> dict[str, list[str]]:
    """Every folder (or module at the top) of the package, with those that its modules import."""
    graph = grimp.build_graph("sr_hooks", exclude_type_checking_imports=False, cache_dir=None)
    imports: dict[str, set[str]] = {name: set() for floor in read_floors() for name in floor}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            folders = [name.split(".")[1] if "." in name else "" for name in (module, imported)]
            if folders[0] in imports and folders[1] in imports and folders[0] != folders[1]:
                imports[folders[0]].add(folders[1])
    return {name: sorted(names) for name, names in sorted(imports.items())}


def drawn_data(picture: Path = PICTURE) -> dict[str, Any]:
    """The floors and imports that a picture was drawn from."""
    match = re.search(r"<metadata>(.*?)</metadata>", picture.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(html.unescape(match[1])) if match else {}


def present_data() -> dict[str, Any]:
    """The floors and imports of the source as it is now."""
    return {"floors": read_floors(), "imports": read_imports()}


def needed_arrows(imports: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others: the transitive reduction of a graph without circles."""

    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in imports[name]))

    return [
        (name, target)
        for name, targets in imports.items()
        for target in targets
        if not any(target in reached(other) for other in targets if other != target)
    ]


@dataclass
class Node:
    """A folder's box, or a point where a long arrow crosses a floor. Positions are in pixels."""

    name: str
    floor: int
    width: float
    x: float = 0.0
    neighbours: list[Node] = field(default_factory=list)


def lay_out(floors: Sequence[Sequence[str]], arrows: Sequence[tuple[str, str]]) -> tuple[list[list[Node]], list[Any]]:
    """Boxes and crossing points of every floor from left to right, and each arrow as the nodes that it visits."""
    rows = [[Node(name, number, LETTER * len(name) + 26) for name in floor] for number, floor in enumerate(floors)]
    nodes = {node.name: node for row in rows for node in row}
    chains = []
    for source, target in arrows:
        chain = [nodes[source]]
        for floor in range(nodes[source].floor - 1, nodes[target].floor, -1):
            crossing = Node("", floor, 6)
            rows[floor].append(crossing)
            chain.append(crossing)
        chain.append(nodes[target])
        chains.append(chain)
        for upper, lower in pairwise(chain):
            upper.neighbours.append(lower)
            lower.neighbours.append(upper)
    for row in rows:
        spread(row, [WIDTH * (i + 1) / (len(row) + 1) for i in range(len(row))])
    for sweep in range(60):  # each row moves to the middle of its neighbours; order and distance are kept
        for row in rows if sweep % 2 else rows[::-1]:
            wishes = [sum(n.x for n in node.neighbours) / max(len(node.neighbours), 1) for node in row]
            if sweep < 40:
                order = sorted(range(len(row)), key=lambda i: wishes[i])
                row[:] = [row[i] for i in order]
                wishes = [wishes[i] for i in order]
            spread(row, wishes)
    return rows, chains


def spread(row: list[Node], wishes: list[float]) -> None:
    """Put the nodes of a row near the wished positions, in this order, without overlap, and inside of the picture."""
    for node, wish in zip(row, wishes, strict=True):
        node.x = wish
    for _ in range(200):
        moved = False
        for left, right in pairwise(row):
            lack = left.x + (left.width + right.width) / 2 + GAP - right.x
            if lack > 0.01:
                left.x, right.x, moved = left.x - lack / 2, right.x + lack / 2, True
        for node in row:
            low, high = LEFT + node.width / 2 + 10, WIDTH - node.width / 2 - 10
            node.x = min(max(node.x, low), high)
        if not moved:
            break


def draw(data: dict[str, Any]) -> str:
    """The map as SVG."""
    floors = data["floors"]
    rows, chains = lay_out(floors, needed_arrows(data["imports"]))
    height = TOP + ROW * len(floors) + 44
    top_of = [TOP + ROW * (len(floors) - 1 - number) + 26 for number in range(len(floors))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="DejaVu Sans, Verdana, Arial, sans-serif" font-size="14">',
        "<title>The folders of sr_hooks on their floors, and the imports between them</title>",
        f"<metadata>{html.escape(json.dumps(data, sort_keys=True))}</metadata>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, top in enumerate(top_of):
        shade = "#f4f4f1" if number % 2 else "#ffffff"
        parts.append(f'<rect x="0" y="{top - 26}" width="{WIDTH}" height="{ROW}" fill="{shade}"/>')
        parts.append(f'<text x="14" y="{top + 23}" fill="#777777">{number + 1}</text>')
    ordered = [node.name for row in rows[::-1] for node in row if node.name]
    for chain in sorted(chains, key=lambda chain: ordered.index(chain[0].name)):
        colour = COLOURS[ordered.index(chain[0].name) % len(COLOURS)]
        parts += arrow(chain, top_of, colour)
    for row in rows:
        for node in row:
            if node.name:
                x, y = node.x - node.width / 2, top_of[node.floor]
                colour = COLOURS[ordered.index(node.name) % len(COLOURS)]
                parts.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{node.width:.1f}" height="{BOX}" rx="5" fill="#ffffff" '
                    f'stroke="{colour}" stroke-width="2"/>'
                )
                parts.append(
                    f'<text x="{node.x:.1f}" y="{y + 23}" text-anchor="middle" fill="#222222">{node.name}</text>'
                )
    note = "An arrow leads from a folder to one that it imports. It is left out where a chain of arrows leads there."
    parts.append(f'<text x="14" y="{height - 16}" font-size="13" fill="#555555">{note}</text>')
    return "\n".join([*parts, "</svg>", ""])


def arrow(chain: Sequence[Node], top_of: Sequence[int], colour: str) -> list[str]:
    """A curve through the nodes of a chain, from under the first box to the upper edge of the last, with a head."""
    upper, lower = chain[0], chain[-1]
    x, y = port(upper, chain[1], top_of)[0], top_of[upper.floor] + BOX
    path = f"M{x:.1f} {y}"
    for node in chain[1:]:
        last = node is lower
        next_x = port(lower, chain[-2], top_of)[0] if last else node.x
        next_y = top_of[node.floor] - (7 if last else 0)
        bend = (next_y - y) / 2
        path += f"C{x:.1f} {y + bend:.1f} {next_x:.1f} {next_y - bend:.1f} {next_x:.1f} {next_y}"
        if not last:
            path += f"V{next_y + BOX}"
            next_y += BOX
        x, y = next_x, next_y
    return [
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>',
        f'<path d="M{x:.1f} {y + 7}l-4.5 -9h9z" fill="{colour}"/>',
    ]


def port(box: Node, other: Node, top_of: Sequence[int]) -> tuple[float, int]:
    """Where an arrow leaves or enters a box: the arrows of one edge stand side by side, sorted by their other ends."""
    side = [n for n in box.neighbours if (n.floor < box.floor) == (other.floor < box.floor)]
    side.sort(key=lambda node: node.x)
    step = min(20.0, (box.width - 20) / max(len(side), 1))
    return box.x + (side.index(other) - (len(side) - 1) / 2) * step, top_of[box.floor]


if __name__ == "__main__":
    PICTURE.write_text(draw(present_data()), encoding="utf-8")
    print(f"drawn: {PICTURE.relative_to(REPOSITORY)}")
