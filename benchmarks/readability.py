"""Sentence lengths of the pages and of the public docstrings, as a table, at one or several commits.

    python benchmarks/readability.py [COMMIT ...]      # these, then the working tree

It needs git and textstat (pip install textstat). Words are counted by textstat (`lexicon_count`). A paragraph is cut
into sentences after `.`, `!` or `?` before a blank and a capital letter, digit, quote, bracket or backtick. A colon or
a semicolon ends no sentence.

What is left out, since it is no sentence:

- on pages: fenced and indented code, tables, headings, pictures, HTML, and list items of fewer than 4 words;
- in docstrings: examples (`>>>` and what follows to the next empty line), indented blocks (equations, code), tables,
  the headings of sections;
- names: `name:` at the start of an entry of Args, Attributes or Raises, and entries of fewer than 4 words.

`docstrings: text` is the summary and the paragraphs; `docstrings: entries` is Args, Attributes, Returns, Yields and
Raises, where an entry is often no whole sentence. A docstring is public if neither its name, nor its class, nor its
module begins with an underscore. `changed` at the end: the docstrings that differ between the first commit and the
tree.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import textstat

ROOT = Path(__file__).parents[1]
LONG = 25  # words
FEWEST = 4
SECTIONS = ("Args:", "Attributes:", "Returns:", "Yields:", "Raises:", "Examples:")
END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`\"'(*\[])")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def files(commit: str | None) -> dict[str, str]:
    """Path to text of README.md, docs/*.md and sr_hooks/**/*.py at a commit, or in the working tree."""
    listed = git("ls-tree", "-r", "--name-only", commit) if commit else git("ls-files")
    names = [name for name in listed.splitlines() if re.fullmatch(r"README\.md|docs/[^/]+\.md|sr_hooks/.*\.py", name)]
    if commit is None:
        return {name: (ROOT / name).read_text("utf-8") for name in names if (ROOT / name).exists()}
    return {name: git("show", f"{commit}:{name}") for name in names}


def sentences(paragraph: str) -> list[int]:
    """Words of each sentence of a paragraph."""
    counts = [textstat.lexicon_count(text) for text in END.split(" ".join(paragraph.split()))]
    return [count for count in counts if count >= FEWEST] if sum(counts) >= FEWEST else []


def page_sentences(text: str) -> list[int]:
    text = re.sub(r"^([ \t]*)(```|~~~).*?^\1\2\s*$", "", text, flags=re.S | re.M)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    counts: list[int] = []
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_item = re.match(r"\s*([-*+]|\d+\.)\s+", line)
        is_other = not line.strip() or re.match(r"\s*(\||#|<|>|!!!|:::|---)", line)
        if is_item or is_other or (not block and line.startswith("    ")):
            counts += sentences(" ".join(block))
            block = []
        if is_item:
            block = [line[is_item.end() :]]
        elif not is_other and (block or not line.startswith("    ")):
            block.append(line)
    return counts


def docstrings(name: str, text: str) -> Iterator[tuple[str, str]]:
    """The public names of a module with their docstrings."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
        value = ast.get_docstring(node)  # type: ignore[arg-type]
        if value:
            yield prefix, value
        for child in node.body:  # type: ignore[attr-defined]
            if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and not child.name.startswith("_"):
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, f"{prefix}.{child.name}")
                elif own := ast.get_docstring(child):
                    yield f"{prefix}.{child.name}", own

    if not any(part.startswith("_") and part != "__init__.py" for part in Path(name).parts):
        yield from visit(ast.parse(text), name.removesuffix(".py").replace("/", "."))


def docstring_sentences(text: str) -> tuple[list[int], list[int]]:
    """Words of each sentence of the paragraphs, and of the entries of sections."""
    prose: list[int] = []
    entries: list[int] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        head = lines[0].strip()
        if head in SECTIONS:
            if head != "Examples:":
                for entry in re.split(r"\n(?! )", textwrap.dedent("\n".join(lines[1:]))):
                    entries += sentences(re.sub(r"^[\w, *`.]{1,60}: ", "", entry))
        elif not head.startswith((">>>", "|")) and not lines[0].startswith(" "):
            for item in re.split(r"\n(?=[-*] |\d+\. )", paragraph.partition("\n>>> ")[0]):
                prose += sentences(item)
    return prose, entries


def row(label: str, what: str, counts: list[int]) -> str:
    mean = sum(counts) / max(len(counts), 1)
    share = sum(count > LONG for count in counts) / max(len(counts), 1)
    return f"| {label} | {what} | {len(counts)} | {mean:.1f} | {share:.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="sentence lengths of pages and public docstrings")
    parser.add_argument("commits", nargs="*")
    trees = {commit or "tree": files(commit) for commit in [*parser.parse_args().commits, None]}
    texts = {
        label: {
            key: value for name, text in tree.items() if name.endswith(".py") for key, value in docstrings(name, text)
        }
        for label, tree in trees.items()
    }
    print(f"| at | what | sentences | mean words a sentence | share over {LONG} words |\n|---|---|---|---|---|")
    for label, tree in trees.items():
        pages = [count for name, text in tree.items() if name.endswith(".md") for count in page_sentences(text)]
        parts = [docstring_sentences(text) for text in texts[label].values()]
        print(row(label, "pages", pages))
        print(row(label, "docstrings: text", [count for prose, _ in parts for count in prose]))
        print(row(label, "docstrings: entries", [count for _, entries in parts for count in entries]))
    first, last = next(iter(texts.values())), texts["tree"]
    changed = [key for key in last if key in first and last[key] != first[key]]
    for label, tree in (("first", first), ("tree", last)):
        parts = [docstring_sentences(tree[key]) for key in changed]
        print(row(label, f"changed, {len(changed)}: text", [count for prose, _ in parts for count in prose]))
        print(row(label, f"changed, {len(changed)}: entries", [count for _, entries in parts for count in entries]))


if __name__ == "__main__":
    main()
