"""The documentation: its code runs and leaves its pictures, its links lead somewhere, the site needs no network."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.support.browser import chromium

_spec = importlib.util.spec_from_file_location("pages", REPOSITORY / "benchmarks/pages.py")
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

ANALYSES = ["lam", "ddr", "faig", "verify", "training", "grid", "check", "compare", "gallery", "index"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ANALYSES)
def test_a_page_runs_and_draws_its_picture(name, tmp_path):
    for picture in pages.run_page(pages.DOCS / f"{name}.md", tmp_path):
        with Image.open(picture) as drawn, Image.open(pages.DOCS / picture.name) as shown:
            width, height = min(drawn.width, 1200), drawn.height * min(drawn.width, 1200) / drawn.width
            assert shown.size == (width, round(height)), f"run benchmarks/pages.py {name}.md"
            if name in ("gallery", "index"):  # their numbers are of the demo network alone: no times, no training
                pair = [np.asarray(image.convert("RGB").resize(shown.size), float) for image in (drawn, shown)]
                assert np.abs(pair[0] - pair[1]).mean() < 1.0, f"{picture.name} is old: run benchmarks/pages.py"


def test_every_marked_page_is_tested():
    assert {page.stem for page in pages.pages()} == set(ANALYSES)


@pytest.mark.parametrize("name", [name for name in ANALYSES if name not in ("training", "grid", "gallery", "index")])
def test_a_page_says_how_to_read_and_how_it_can_fool(name):
    text = (pages.DOCS / f"{name}.md").read_text(encoding="utf-8")
    for heading in ("## How to read it", "## How it can fool you", "## The equations"):
        assert heading in text, f"{name}.md has no {heading!r}"


@pytest.mark.parametrize("name", [*sorted(set(ANALYSES) - {"gallery", "index"}), "video", "attention_map"])
def test_each_way_to_be_fooled_has_its_control_and_figure(name):
    """A control that can show the answer wrong, and a number or a picture of what it shows."""
    text = (pages.DOCS / f"{name}.md").read_text(encoding="utf-8")
    section = text.partition("## How it can fool you\n")[2].partition("\n## ")[0]
    ways = re.findall(r"^- \*\*(.*?)(?=^- \*\*|\Z)", section, re.MULTILINE | re.DOTALL)
    controlled = [way for way in ways if "*Control:*" in way]
    assert len(ways) >= 4 and len(controlled) >= 0.5 * len(ways), ways
    assert len([way for way in controlled if re.search(r"\d", way)]) >= 2
    assert name == "attention_map" or "![" in section


@pytest.mark.parametrize(
    "page", sorted((REPOSITORY / "plugins").glob("*/README.md")), ids=lambda path: path.parent.name
)
def test_the_page_of_a_package_says_how_it_can_fool_you(page):
    text = page.read_text(encoding="utf-8")
    if page.parent.name != "sr-hooks-example":  # it answers no question
        assert "ow it can fool you" in text and re.search(r"[Cc]ontrol", text)


def test_code_that_leaves_no_picture_is_an_error(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- picture: none.png -->\n```python\nx = 1\n```\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="left no none"):
        pages.run_page(page, tmp_path)


@pytest.mark.parametrize("page", sorted([*REPOSITORY.glob("README*.md"), *(REPOSITORY / "docs").glob("*.md")]), ids=str)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed (the extra `test` has it)")
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_site_builds_and_fetches_nothing(site):
    built = sorted(site.rglob("*.html"))
    assert {page.stem for page in built} >= {"index", *ANALYSES}
    packages = [path.parent.name.removeprefix("sr-hooks-") for path in (REPOSITORY / "plugins").glob("*/README.md")]
    assert {page.stem for page in built} >= {f"plugin-{name}" for name in packages}
    notebooks = {path.stem for path in (REPOSITORY / "docs/tutorials").glob("*.ipynb")}
    assert {page.stem for page in (site / "tutorials").glob("*.html")} == notebooks
    assert len(list((site / "tutorials").rglob("*.png"))) == len(notebooks)  # a picture each
    for page in built:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//[^>]+>", text)
        fetched += [tag for tag in re.findall(r"<link[^>]+>", text) if re.search(r"href=[\"']?(https?:)?//", tag)]
        assert not [tag for tag in fetched if "canonical" not in tag], page.name


@pytest.mark.slow
@pytest.mark.browser
def test_the_site_is_searched_from_disk(site):
    """As a reader does who opens the built pages without a server: words that are on a page find that page."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    with chromium() as page:
        page.get((site / "index.html").as_uri())
        page.execute_script("document.querySelector('#__search').click()")
        field = page.find_element(By.CSS_SELECTOR, "input.md-search__input")
        for words, expected in (("imprecise", "Cautions"), ("psnr_shift", "sr_hooks.images"), ("EMA", "training")):
            field.clear()
            field.send_keys(words)
            WebDriverWait(page, 20).until(lambda page, e=expected: e in _answers(page))
        for words, target in QUESTIONS.items():  # as a fresh reader asks: the first or the second page answers
            field.clear()
            field.send_keys(words)
            WebDriverWait(page, 60).until(lambda page, t=target: t in _first_pages(page))
        assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


QUESTIONS = {
    "how to explain a mask": "lam.html#how-to-explain-a-mask",
    "how to watch the EMA": "training.html#how-to-watch-the-ema",
    "imprecise": "lam.html#what-the-verdict-means-sound-imprecise-out-of-range",
    "how to cite": "citing.html",
    "WindowError": "errors.html#windowerror",
}


def _first_pages(page):
    """The targets of the first two pages that a search lists, without the words that are marked there."""
    items = page.find_elements("css selector", "li.md-search-result__item")[:2]
    links = [link for item in items for link in item.find_elements("css selector", "a.md-search-result__link")]
    targets = [(link.get_attribute("href") or "").partition("/site/")[2] for link in links]
    return [re.sub(r"\?h=[^#]*", "", target) for target in targets]


def _answers(page):
    return " ".join(link.text for link in page.find_elements("css selector", "a.md-search-result__link"))


WIDER = """
return [...document.querySelectorAll('.md-content pre > code')].filter(code => code.scrollWidth > code.clientWidth + 1)
  .map(code => code.innerText)
"""
"""The text of blocks of code that are wider than the page's room for them."""
UNWRAPPED = """
const style = document.createElement('style');
style.textContent = '.md-typeset pre > code { white-space: pre }';
document.head.append(style);
"""


@pytest.mark.slow
@pytest.mark.browser
def test_no_code_is_cut_at_1280_pixels(site):
    """Lines of up to 120 characters have room. Longer ones, such as a verdict in an output, are broken."""
    with chromium() as page:
        page.set_window_size(1280, 1000)
        for file in sorted(site.rglob("*.html")):
            page.get(file.as_uri())
            assert not page.execute_script(WIDER), file.name
            page.execute_script(UNWRAPPED)
            for text in page.execute_script(WIDER):
                assert max(map(len, text.splitlines())) > 120, f"{file.name}: {text}"
