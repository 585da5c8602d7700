"""A hook of mkdocs: a page of the API reference for each face, a folder's public names with their docstrings."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).resolve().parents[1] / "sr_hooks"
INTERNAL = ("files", "cli")  # faces that nobody but the package itself imports from
OPTIONS = "    options: {heading_level: 2, show_root_heading: true}"


BOOSTS = {"api-": 0.3, "plugins": 0.3, "plugin-": 0.7}  # beginnings of pages that stand behind others in a search


@dataclass(frozen=True)
class Face:
    """A folder's public API: import path, first line of its docstring, and name to the module that defines it."""

    path: str
    text: str
    names: dict[str, str]


def faces() -> list[Face]:
    """All faces, the package itself first."""
    files = [PACKAGE / "__init__.py", *sorted(PACKAGE.glob("*/__init__.py"))]
    files += sorted(PACKAGE.glob("analyses/*/__init__.py"))
    listed = [_face(file) for file in files if file.parent.name not in INTERNAL]
    return [face for face in listed if face.names]


def _face(file: Path) -> Face:
    module = ast.parse(file.read_text(encoding="utf-8"))
    path = ".".join(file.parent.relative_to(PACKAGE.parent).parts)
    origins = {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    listed = [ast.literal_eval(node.value) for node in module.body if _is_all(node)]
    names = {name: origins.get(name, path) for name in sorted(listed[0] if listed else []) if not name.startswith("__")}
    return Face(path, (ast.get_docstring(module) or "").partition("\n")[0], names)


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"


def pages() -> dict[str, str]:
    """File name to text. What several faces offer is described on the first of their pages, and linked from others."""
    described: dict[tuple[str, str], str] = {}
    texts = {}
    for face in faces():
        parts = [f"# {face.path}", face.text]
        for name, module in face.names.items():
            first = described.setdefault((module, name), face.path)
            if first == face.path:
                parts.append(f"::: {face.path}.{name}\n{OPTIONS}")
            else:
                parts.append(f"`{name}` is described as [`{first}.{name}`](api-{first}.md#{first}.{name}).")
        texts[f"api-{face.path}.md"] = "\n\n".join(parts) + "\n"
    return texts


def on_config(config: Any) -> Any:
    """One more section at the end of the navigation."""
    config.nav.append({"API reference": [{page[4:-3]: page} for page in pages()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    for page, text in pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> None:
    """In a search, the pages that explain come before those that list names."""
    for beginning, boost in BOOSTS.items():
        if page.file.src_uri.startswith(beginning):
            page.meta["search"] = {"boost": boost}
            return
