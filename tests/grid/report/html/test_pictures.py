"""The report's pictures in a real Chromium: overview, one slider for all maps, blink, tooltips, patches, outlines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from sr_hooks.analyses.number_glossary import NUMBERS
from sr_hooks.grid import run_grid
from sr_hooks.grid.request import parse_request
from tests.support.grids import content
from tests.support.networks import Tiny

CSS = "css selector"
TITLE = "Ours & theirs <b>×2</b>\n</title><script>window.hit = 9</script>"
REASON = "no 24 columns & <i>no</i> answer"


class Refuses(Tiny):
    """A network that fails on inputs of more than 20 columns, once it is loaded."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] == 24 and x.shape[-2] == 24:
            raise RuntimeError(REASON)
        return super().forward(x)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Three networks, of which one fails on one of two images; a mask; two windows; DDR; a title of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    asked = content(folder, networks=2, images=2)
    asked["networks"]["refuses"] = {"model": f"{__file__}:Refuses", "arguments": {"features": 6}}
    narrow = folder / "narrow.png"
    cv2.imwrite(str(narrow), cv2.imread(asked["images"][1])[:, :32])
    mask = np.zeros((48, 32), np.uint8)
    mask[10:20, 8:12] = mask[16:20, 8:24] = 255  # an L
    cv2.imwrite(str(folder / "mask.png"), mask)
    images = {
        "square": {"file": asked["images"][0], "windows": [[16, 16, 8], [4, 30, 10]]},
        "narrow": {"file": str(narrow), "windows": str(folder / "mask.png")},
    }
    ddr = {"patch": 16, "patches": 6, "tsne": 0, "permutations": 19, "subsamples": 5}
    asked |= {"images": images, "analyses": {"lam": {"steps": 3}, "ddr": ddr}, "title": TITLE}
    asked |= {"figure": {"notes": False}}
    asked["networks"]["refuses"]["analyses"] = {"ddr": False}
    summary = run_grid(parse_request(asked), folder / "out", jobs=1)
    assert len(summary.failures) == 2, summary.failures  # the two windows of the square image
    return folder / "out"


def show(page, out, anchor="", width=1280):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.get("about:blank")
    page.get(f"file://{out}/report.html#{anchor}")


def shown(page):
    return next(s for s in page.find_elements(CSS, "main > section") if s.is_displayed())


def test_the_overview_has_a_picture_and_a_mark_of_every_cell(browser, out):
    show(browser, out)
    assert browser.title == "Ours & theirs <b>×2</b> </title><script>window.hit = 9</script>"
    assert browser.find_element(CSS, "h1").text == browser.title
    assert browser.execute_script("return window.hit") is None
    table = browser.find_element(CSS, "#overview table.pictures")
    groups = [(th.text, th.get_attribute("colspan")) for th in table.find_elements(CSS, "thead tr:first-child th")]
    assert groups == [("square", "2"), ("narrow", "1")]
    assert len(table.find_elements(CSS, "thead .thumb .outline")) == 3
    rows = table.find_elements(CSS, "tbody tr")
    assert [row.find_element(CSS, "th").text for row in rows] == ["tiny 4", "tiny 5", "refuses"]
    pictures = table.find_elements(CSS, "tbody td img")
    assert len(pictures) == 7 and len({image.get_attribute("src") for image in pictures}) == 7
    failed = [cell.text.split() for cell in rows[2].find_elements(CSS, "td")][:2]
    assert failed == [["no", "map", "✕", "failed"]] * 2
    assert all(cell.text.startswith("DI ") for cell in rows[0].find_elements(CSS, "td"))
    rows[2].find_elements(CSS, "td a")[0].click()
    entry = browser.find_element(CSS, ":target")
    assert entry.is_displayed() and REASON in entry.find_element(CSS, ".verdict").text
    assert entry.find_element(CSS, "h3").text.startswith("refuses") and not entry.find_elements(CSS, "img")


def test_one_slider_and_one_close_up_change_all_maps(browser, out):
    show(browser, out, "place-0-16-16-8-8")
    maps = browser.find_elements(CSS, ".layers .map, .layers .under, .layers .over")
    slider = browser.find_element(CSS, "#opacity")
    assert slider.is_displayed() and len(maps) == 7 + 2 * 3
    for value, expected in ((0, "0"), (35, "0.35"), (100, "1")):
        browser.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, value
        )
        assert {image.value_of_css_property("opacity") for image in maps} == {expected}
    slider.send_keys("\ue012")
    assert {image.value_of_css_property("opacity") for image in maps} == {"0.99"}
    browser.find_element(CSS, "nav a[href='#place-1-10-8-10-16']").click()  # the next page keeps it
    assert browser.find_element(CSS, "#opacity").get_attribute("value") == "99"
    browser.find_element(CSS, "#closeup").send_keys("4")
    layers = shown(browser).find_elements(CSS, ".entry .layers")
    assert {layer.value_of_css_property("transform") for layer in layers} == {"matrix(4, 0, 0, 4, 0, 0)"}
    lines = shown(browser).find_elements(CSS, ".entry .layers .outline .line")
    assert {line.value_of_css_property("stroke-width") for line in lines} == {
        "0.3px"
    }  # as thin as before on the screen
    browser.find_element(CSS, "nav a[href='#overview']").click()
    assert not slider.is_displayed()


def sources(section):
    maps, outputs = section.find_elements(CSS, ".inplace .frame")
    return [
        frame.find_element(CSS, layer).get_attribute("src")
        for frame in (maps, outputs)
        for layer in (".under", ".over")
    ]


def test_two_networks_change_place_by_mouse_keys_and_blinking(browser, out):
    from selenium.webdriver.support.ui import Select, WebDriverWait

    show(browser, out, "place-1-10-8-10-16")
    section = shown(browser)
    entries = {
        e.find_element(CSS, "h3").text.split(" ✓")[0].split(" !")[0].strip(): e
        for e in section.find_elements(CSS, ".entry")
    }
    own = {
        name: [entry.find_element(CSS, part).get_attribute("src") for part in (".map", ".patch")]
        for name, entry in entries.items()
    }
    assert sources(section) == [own["tiny 4"][0], own["tiny 5"][0], own["tiny 4"][1], own["tiny 5"][1]]
    Select(section.find_element(CSS, ".b")).select_by_visible_text("refuses")
    assert sources(section)[1::2] == own["refuses"]
    now, over = section.find_element(CSS, ".now"), section.find_element(CSS, ".inplace .over")
    assert now.text == "tiny 4 | refuses"
    flip, blink = section.find_element(CSS, ".flip"), section.find_element(CSS, ".blink")
    flip.send_keys("\ue007")  # by the keyboard
    assert now.text == "shown: tiny 4" and over.value_of_css_property("clip-path") == "inset(0px 0px 0px 100%)"
    flip.click()
    assert now.text == "shown: refuses" and over.value_of_css_property("clip-path") == "inset(0px 0px 0px 0%)"
    blink.send_keys(" ")
    assert blink.get_attribute("aria-pressed") == "true"
    wait = WebDriverWait(browser, 5, poll_frequency=0.05)
    for name in ("tiny 4", "refuses", "tiny 4"):
        wait.until(lambda page, name=name: now.text == f"shown: {name}")
    blink.click()
    assert blink.get_attribute("aria-pressed") == "false" and now.text == "tiny 4 | refuses"
    blink.click()
    browser.find_element(CSS, "nav a").click()  # another page stops it
    browser.back()
    assert blink.get_attribute("aria-pressed") == "false" and now.text == "tiny 4 | refuses"


def test_numbers_are_explained_to_pointer_keyboard_and_touch(browser, out):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    show(browser, out)
    tip = browser.find_element(CSS, "#tip")
    head = next(b for b in browser.find_elements(CSS, "#cells-lam th button") if b.text == "DI")
    ActionChains(browser).move_to_element(head).perform()
    assert tip.is_displayed() and tip.text == NUMBERS["diffusion_index"]
    ActionChains(browser).send_keys("\ue00c").perform()  # escape
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].focus()", head)
    ActionChains(browser).send_keys("\ue004").perform()  # tab, to the next head
    assert tip.is_displayed() and tip.text == NUMBERS["effective_pixels"]
    assert browser.switch_to.active_element.get_attribute("aria-describedby") == "tip"
    show(browser, out, "place-0-16-16-8-8", width=400)
    tip = browser.find_element(CSS, "#tip")
    term = next(t for t in shown(browser).find_elements(CSS, ".term") if t.text == "completeness gap")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", term)
    finger = ActionBuilder(browser, mouse=PointerInput("touch", "finger"))
    finger.pointer_action.move_to(term).pointer_down().pointer_up()
    finger.perform()
    assert tip.is_displayed() and tip.text == NUMBERS["completeness_gap"]
    box = tip.rect
    assert box["x"] >= 0 and box["x"] + box["width"] <= 400
    terms = {t.text for t in browser.find_elements(CSS, ".entry .facts .term") if t.is_displayed()}
    told = {t.text for t in shown(browser).find_elements(CSS, ".facts dt")}
    assert told == terms and len(terms) >= 7  # every number is explained
    show(browser, out, "numbers")
    meanings = {d.text for d in browser.find_elements(CSS, "#numbers .glossary dd")}
    assert {NUMBERS["diffusion_index"], NUMBERS["chi"], NUMBERS["psnr_y"]} <= meanings


def test_a_point_of_ddr_shows_its_patch(browser, out):
    from selenium.webdriver import ActionChains

    show(browser, out, "ddr")
    plots = browser.find_elements(CSS, "svg.scatter")
    assert len(plots) == 2 and len(browser.find_elements(CSS, "img.sheet")) == 1  # the same patches, once
    points = plots[0].find_elements(CSS, "[data-tip]")
    pixels = (
        "const c = document.querySelector('#tip canvas'); return [...c.getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    seen = []
    for point in (points[0], points[1], points[-1]):
        ActionChains(browser).move_to_element(point).perform()
        seen.append(tuple(browser.execute_script(pixels)))
    assert len(set(seen)) == 3 and all(len(set(patch[::4])) > 3 for patch in seen)
    browser.execute_script("arguments[0].focus()", plots[1])
    ActionChains(browser).send_keys("\ue014").perform()
    tip = browser.find_element(CSS, "#tip")
    first = plots[1].find_elements(CSS, "[data-tip]")[0]
    assert tip.text == first.get_attribute("data-tip") and "on" in first.get_attribute("class")
    assert tuple(browser.execute_script(pixels)) == seen[0]  # the same point of another network


def test_a_mask_is_drawn_as_its_outline(browser, out):
    show(browser, out, "place-1-10-8-10-16")
    section = shown(browser)
    assert section.find_element(CSS, "h2").text == "narrow, mask of 88 pixels within 10×16 at (10, 8)"
    lines = [path.get_attribute("d") for path in section.find_elements(CSS, ".outline .line")]
    corners = [sorted(part.strip("MZ").split("L")) for part in lines]
    whole = sorted(["8 10", "12 10", "12 16", "24 16", "24 20", "8 20"])
    half = sorted(["4 5", "6 5", "6 8", "12 8", "12 10", "4 10"])
    patch = sorted(["0 0", "4 0", "4 6", "16 6", "16 10", "0 10"])
    assert corners.count(whole) == 1 and corners.count(half) == 4 and corners.count(patch) == 1 + 2 + 3
    assert not section.find_elements(CSS, ".outline rect")


def test_the_page_links_to_the_files_beside_it(browser, out):
    show(browser, out)
    links = [link.get_attribute("href") for link in browser.find_elements(CSS, ".files a")]
    names = [link.rpartition("/")[2] for link in links]
    assert names[0] == "figure.pdf" and {"table.tex", "table.csv", "table.md", "notes.txt"} <= set(names)
    for name in names:
        assert (out / name).is_file()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_is_legible_and_asks_for_nothing(browser, out, width, scheme):
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, out, width=width)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        for link in browser.find_elements(CSS, "nav a"):
            browser.execute_script("arguments[0].click()", link)
            assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), link.text
            assert browser.execute_script(CONTRAST) == [], link.text
        browser.execute_script("document.querySelector('h1').style.color = '#777'")
        assert len(browser.execute_script(CONTRAST)) == 1  # the measure sees what is faint
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.get_log("browser") == []
    asked = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWillBeSent" in entry["message"]
    ]
    assert not [message for message in asked if '"url":"http' in message]


CONTRAST = """
const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = (rgb) => rgb.slice(0, 3).map(v => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; }
  return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255]; };
const faint = [];
for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
  const style = getComputedStyle(e), ink = parse(e instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(e.tagName + ' ' + e.textContent.slice(0, 30));
}
return faint;
"""
"""Texts with less contrast to their ground than 4.5, as WCAG 2.1 asks for."""


def test_a_grid_of_one_cell_and_one_without_a_result_are_whole_pages(browser, tmp_path):
    one = content(tmp_path, networks=1, images=1)
    run_grid(parse_request(one), tmp_path / "one", jobs=1)
    browser.get_log("browser")
    show(browser, tmp_path / "one")
    assert len(browser.find_elements(CSS, ".pictures tbody img")) == 1
    browser.find_element(CSS, ".pictures tbody a").click()
    assert len(shown(browser).find_elements(CSS, ".entry")) == 1 and not browser.find_elements(CSS, ".inplace")
    assert browser.title == "sr-hooks grid" and browser.get_log("browser") == []
    one["networks"] = {"refuses": {"model": f"{__file__}:Refuses", "arguments": {"features": 4}}}
    assert run_grid(parse_request(one), tmp_path / "none", jobs=1).failures
    show(browser, tmp_path / "none")
    assert [cell.text for cell in browser.find_elements(CSS, ".pictures tbody .badge")] == ["✕ failed"]
    for link in browser.find_elements(CSS, "nav a"):
        link.click()
    assert REASON in browser.find_element(CSS, ".entry .verdict").get_attribute("textContent")
    assert browser.get_log("browser") == []
