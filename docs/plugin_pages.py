"""A hook of mkdocs: the README of every package under plugins/, and the changelog, are pages of the site."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[1]
PLUGINS = REPOSITORY / "plugins"


def _readmes() -> dict[str, Path]:
    """Page to file, by name."""
    return {
        f"plugin-{path.parent.name.removeprefix('sr-hooks-')}.md": path for path in sorted(PLUGINS.glob("*/README.md"))
    }


def on_config(config: Any) -> Any:
    """One more section of the navigation, before the last."""
    config.nav.insert(-1, {"Plugins": list(_readmes())})
    return config


def on_files(files: Files, config: Any) -> Files:
    for page, readme in _readmes().items():
        text = readme.read_text(encoding="utf-8").replace("](../../docs/", "](")  # all pages are in one folder
        files.append(File.generated(config, page, content=text))
        for picture in sorted(readme.parent.glob("*.png")):
            files.append(File.generated(config, picture.name, content=picture.read_bytes()))
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files
