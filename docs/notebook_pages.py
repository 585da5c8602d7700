"""A hook of mkdocs: every notebook under docs/tutorials is a page of the site, with the outputs that it holds.

Pages link to notebooks and to READMEs of plugins as files of the repository. On the site these are links to pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

TUTORIALS = Path(__file__).with_name("tutorials")


def on_files(files: Files, config: Any) -> Files:
    for notebook in sorted(TUTORIALS.glob("*.ipynb")):
        names = {"unique_key": notebook.stem, "output_files_dir": f"{notebook.stem}_files"}
        text, resources = MarkdownExporter().from_filename(str(notebook), resources=names)
        files.append(File.generated(config, f"tutorials/{notebook.stem}.md", content=text))
        for name, data in resources["outputs"].items():
            files.append(File.generated(config, f"tutorials/{name}", content=data))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    markdown = re.sub(r"(\]\((?!http)[^)\s]+)\.ipynb\b", r"\1.md", markdown)
    return re.sub(r"\]\(((?:\.\./)*)\.\./plugins/sr-hooks-([\w-]+)/README\.md", r"](\1plugin-\2.md", markdown)
