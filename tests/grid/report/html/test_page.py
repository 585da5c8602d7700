"""The report in a real Chromium, from disk: pages, sorting, slider, tips; and what hostile names cannot do to it."""

from __future__ import annotations

import json

import pytest
import torch

from sr_hooks.core.text import one_line
from sr_hooks.grid import run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.request import parse_request
from sr_hooks.results.card import Card, Verdict
from sr_hooks.results.writing import write_file
from tests.conftest import REPOSITORY
from tests.support.grids import content
from tests.support.networks import LinearUp, Tiny

CSS = "css selector"
HOSTILE = [
    "<script>window.hit = 1</script>",
    "\"'><img src=x onerror='window.hit=2'> {{ 7*7 }} </title></style>",
    "two\nlines\r\tand \u202e tab | pipe `tick` $x^2$ \\ & % # _ ~ { }",
    '=HYPERLINK("http://example.com")',
    "名前 Ωμέγα ñ 🦆",
    "very long " * 60,
]
LAYER = "<b>\u00e9 & $l$</b>"


class Hostile(torch.nn.Module):
    """A network whose layer is named so that it would be markup."""

    def __init__(self, features: int = 4) -> None:
        super().__init__()
        inner = Tiny(features=features)
        self.add_module(LAYER, inner.head)
        self.add_module("tail", inner.tail)
        self.shuffle = inner.shuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return base + 0.1 * self.shuffle(self.tail(self._modules[LAYER](x).relu()))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A grid whose networks, images and layers have the worst of names."""
    folder = tmp_path_factory.mktemp("hostile")
    asked = content(folder)
    images = dict(zip(HOSTILE[:3], asked["images"] * 2, strict=False))
    file = folder / (HOSTILE[0].replace("/", "") + "\n' \" 名.png")
    file.write_bytes((folder / "photo_0.png").read_bytes())
    images[HOSTILE[0]] = str(file)
    torch.save({k: v + 0.01 for k, v in Hostile(4).state_dict().items()}, folder / "before.pth")
    networks = {
        name: {
            "model": f"{__file__}:Hostile",
            "arguments": {"features": 4 + i % 3},
            "analyses": {"faig": {"baseline": str(folder / "before.pth")} if i == 0 else False},
        }
        for i, name in enumerate(HOSTILE[3:] + HOSTILE[:1])
    }
    analyses = {
        "lam": {"steps": 3},
        "ddr": {"patch": 16, "patches": 6, "tsne": 0, "permutations": 19, "subsamples": 5, "layers": "all"},
        "faig": {"steps": 2, "any_order": True},
    }
    asked |= {"networks": networks, "images": images, "analyses": analyses}
    summary = run_grid(parse_request(asked), folder / "out", jobs=1)
    assert not summary.failures, summary.failures
    return folder / "out"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two networks of which one has a degenerate map, two images; one map with a card."""
    folder = tmp_path_factory.mktemp("report")
    asked = content(folder, images=2)
    asked["networks"]["dead"] = {
        "model": f"{REPOSITORY}/tests/support/networks.py:LinearUp",
        "weights": str(folder / "zero.pth"),
    }
    torch.save({k: 0 * v for k, v in LinearUp().state_dict().items()}, folder / "zero.pth")
    plan = make_plan(parse_request(asked), device="cpu", threads=1)
    run_grid(plan.request, folder / "out", jobs=1)
    names = ("completeness", "model randomisation", "deletion and insertion", "other baselines")
    verdicts = tuple(
        Verdict(name, "fails" if i == 1 else "passes", f"because of {i} < 2 & more", {}) for i, name in enumerate(names)
    )
    write_file(GridFolder(folder / "out").cache.path(plan.cells[0].key) / "card.json", Card(verdicts).write)
    run_grid(plan.request, folder / "out", jobs=1)
    return folder / "out"


def show(page, out, anchor=""):
    page.get("about:blank")
    page.get(f"file://{out}/report.html#{anchor}")


def complaints(page):
    return [entry["message"] for entry in page.get_log("browser")]


def requests_of(page):
    """Addresses that the browser asked for, data: aside."""
    found = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith("data:")]


def column(page, table, number):
    return [cell.text for cell in page.find_elements(CSS, f"#{table} tbody tr td:nth-child({number})")]


def test_a_click_on_a_head_sorts_and_a_second_one_turns(browser, report):
    show(browser, report)
    heads = browser.find_elements(CSS, "#cells-lam thead th")
    at = [head.text for head in heads].index("DI") + 1
    before = column(browser, "cells-lam", at)
    heads[at - 1].find_element(CSS, "button").click()
    up = [float(text) for text in column(browser, "cells-lam", at)]
    assert up == sorted(map(float, before)) and up != list(map(float, before))
    assert heads[at - 1].get_attribute("aria-sort") == "ascending"
    heads[at - 1].find_element(CSS, "button").click()
    assert [float(text) for text in column(browser, "cells-lam", at)] == up[::-1]
    heads[0].find_element(CSS, "button").click()
    names = column(browser, "cells-lam", 1)
    assert names == sorted(names) and heads[at - 1].get_attribute("aria-sort") is None


def test_links_lead_to_an_image_s_page_and_the_slider_uncovers_the_map(browser, report):
    show(browser, report)
    assert [s.get_attribute("id") for s in browser.find_elements(CSS, "main > section") if s.is_displayed()] == [
        "overview"
    ]
    browser.find_element(CSS, "#cells-lam tbody a").click()
    shown = [s for s in browser.find_elements(CSS, "main > section") if s.is_displayed()]
    assert len(shown) == 1 and shown[0].find_element(CSS, "h2").text == "photo_0, window 8×8 at (16, 16)"
    assert len(shown[0].find_elements(CSS, ".entry")) == 3
    over, slider = shown[0].find_element(CSS, ".over"), shown[0].find_element(CSS, "input.wipe")
    loaded = "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert browser.execute_script(loaded)
    widths = []
    for value in (0, 30, 100):
        browser.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, value
        )
        widths.append(over.value_of_css_property("clip-path"))
    assert widths == ["inset(0px 0px 0px 0%)", "inset(0px 0px 0px 30%)", "inset(0px 0px 0px 100%)"]
    slider.send_keys("\ue012")  # the arrow key to the left: it is an input like any other
    assert over.value_of_css_property("clip-path") == "inset(0px 0px 0px 99%)"
    pixels = "const c = document.createElement('canvas').getContext('2d'); c.drawImage(arguments[0], 0, 0);"
    pixels += "return [...c.getImageData(0, 0, 24, 24).data]"
    images = shown[0].find_elements(CSS, ".frame img")
    lr, drawn = (browser.execute_script(pixels, image) for image in images[1:3])
    assert len(set(drawn[::4])) > 3 and drawn != lr  # a map, not a blank


def test_verdicts_card_cautions_and_provenance_are_told(browser, report):
    show(browser, report)
    told = browser.find_element(CSS, ".warnings").text
    said = "Degenerate, whose diffusion index says nothing: lam of dead, photo_0, window 16,16,8,8; dead, photo_1, "
    assert said in told
    dead = next(row for row in browser.find_elements(CSS, "table.paper tbody tr") if row.text.startswith("dead"))
    assert not dead.find_elements(CSS, "b") and dead.find_elements(CSS, "td sup")
    browser.find_element(CSS, "#cells-lam tbody a").click()
    entry = browser.find_elements(CSS, ".entry")[0]
    card = entry.find_element(CSS, ".card")
    assert [item.text for item in card.find_elements(CSS, "li")] == [
        "completeness: passes. because of 0 < 2 & more",
        "model randomisation: fails. because of 1 < 2 & more",
        "deletion and insertion: passes. because of 2 < 2 & more",
        "other baselines: passes. because of 3 < 2 & more",
    ]
    assert "not to be relied on" in card.find_element(CSS, ".overall").text
    assert entry.find_element(CSS, ".verdict").text.startswith("Verdict: ")
    entry.find_element("link text", "where this comes from").click()
    facts = browser.find_element(CSS, "#provenance-0")
    assert facts.get_attribute("open") is not None and "network: sha256" in facts.text


def test_tips_of_scatter_and_histogram(browser, hostile):
    from selenium.webdriver import ActionChains

    show(browser, hostile, "ddr")
    tip = browser.find_element(CSS, "#tip")
    assert not tip.is_displayed()
    points = browser.find_elements(CSS, "#ddr .entry:nth-of-type(1) svg.scatter")[0].find_elements(CSS, "[data-tip]")
    assert len(points) == 18
    ActionChains(browser).move_to_element(points[0]).perform()
    assert tip.is_displayed() and tip.text.startswith(("clean", "blur:2", "noise:20")) and "patch" in tip.text
    assert [entry.text for entry in browser.find_elements(CSS, "#ddr .key")[0].find_elements(CSS, "li")] == [
        "clean", "blur:2", "noise:20"
    ]  # fmt: skip
    show(browser, hostile, "faig")
    bars = [
        bar for bar in browser.find_elements(CSS, "svg.histogram [data-tip]") if float(bar.get_attribute("height")) > 3
    ]
    ActionChains(browser).move_to_element(bars[0]).perform()
    assert "filters for" in browser.find_element(CSS, "#tip").text
    counted = [bar.get_attribute("data-tip") for bar in bars]
    assert any(text.startswith(LAYER) for text in counted) or any(text.startswith("tail") for text in counted)
    assert any(LAYER in text.text for text in browser.find_elements(CSS, "svg.histogram text"))


def test_hostile_names_are_shown_and_do_nothing(browser, hostile):
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, hostile)
    for section in browser.find_elements(CSS, "nav a"):
        section.click()
    assert browser.execute_script("return window.hit") is None
    assert complaints(browser) == []
    assert [url.partition("#")[0] for url in requests_of(browser)] == [f"file://{hostile}/report.html"]
    assert browser.title == "sr-hooks grid"
    assert len(browser.find_elements(CSS, "script")) == 1 and not browser.find_elements(CSS, "[onerror]")
    links = [link.get_attribute("textContent") for link in browser.find_elements(CSS, "#cells-lam tbody a")]
    assert set(links) == {one_line(name) for name in HOSTILE[3:] + HOSTILE[:1]}
    heads = [h.get_attribute("textContent") for h in browser.find_elements(CSS, "main > section > h2")]
    assert any(HOSTILE[1] in head and "{{ 7*7 }}" in head for head in heads)
    assert browser.find_elements(CSS, "#overview table.paper")
    wide = browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert wide  # very long names are broken, not overflowing


def test_the_policy_stops_what_escaping_would_let_pass(browser, report, tmp_path):
    text = (report / "report.html").read_text()
    holed = text.replace("<main>", "<main><script>window.hit = 3</script><img src='https://example.com/x.png'>", 1)
    (tmp_path / "report.html").write_text(holed)
    browser.get_log("performance")
    show(browser, tmp_path)
    assert browser.execute_script("return window.hit") is None
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        e["params"] for e in events if e["method"] == "Network.requestWillBeSent" and "example" in str(e["params"])
    ]
    refused = [e["params"] for e in events if e["method"] == "Network.loadingFailed"]
    assert len(asked) == 1  # the page wanted it, and the policy let nothing out
    assert [r["blockedReason"] for r in refused if r["requestId"] == asked[0]["requestId"]] == ["csp"]
    assert browser.find_elements(CSS, "#cells-lam th button")


@pytest.mark.slow
def test_it_reads_without_scripts_and_names_nothing_outside(report):
    text = (report / "report.html").read_text()
    assert "http://" not in text and "https://" not in text and 'src="data:' in text
    assert "display: none" not in text.partition(".routed section")[0]  # only the script hides pages
