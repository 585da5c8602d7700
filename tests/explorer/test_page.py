"""The page in a real Chromium, by the mouse: windows asked and answered, upload, download, and who is talked to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import sr_hooks
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.errors import OptionError
from sr_hooks.explorer.page import import_gradio
from sr_hooks.grid import read_request
from sr_hooks.images.image import downsample, read_image, write_image
from tests.support.browser import chromium
from tests.support.processes import hear_ctrl_c

CSS = "css selector"
PHOTO = photographs()[1]
SHARES = [(0.2, 0.3), (0.5, 0.5), (0.8, 0.7), (0.1, 0.9), (0.6, 0.2)]
DRAGS = [(0.1, 0.1, 0.3, 0.4), (0.6, 0.6, 0.4, 0.3), (0.5, 0.9, 0.8, 0.7), (0.3, 0.5, 0.45, 0.62), (0.7, 0.1, 0.9, 0.2)]


@pytest.fixture(scope="module")
def browser():
    with chromium() as page:
        page.set_window_size(1280, 1200)
        yield page


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory):
    """Two networks side by side; without a browser nothing is served."""
    pytest.importorskip("gradio", reason="gradio is not installed (the extra `explore` has it)")
    grid = tmp_path_factory.mktemp("explored") / "grid.yml"
    page = sr_hooks.explore(["demo:target", "demo:baseline"], PHOTO, hr=True, grid=grid)
    yield page
    page.close()


@pytest.fixture
def opened(browser, served):
    browser.get("about:blank")
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(served.url)
    answered(browser)
    return browser


def chosen(browser, word):
    """Click the choice with this word in the list that is open; False while the list is not drawn."""
    choices = [choice for choice in browser.find_elements(CSS, "[role=option]") if word in choice.text]
    for choice in choices[:1]:
        choice.click()
    return bool(choices)


def wait_for(get, what, seconds=180):
    """What `get` returns as soon as that is true; a page that is drawn anew meanwhile is asked again."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if value := get():
                return value
        except (NoSuchElementException, StaleElementReferenceException):
            pass
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {seconds} s")


def answered(browser, window=None, but=None):
    """The answer that the page shows: of a window (top, left, height, width), or another one than `but`."""

    def get():
        answer = browser.find_element(CSS, "#answers .answer")
        shown = tuple(int(side) for side in answer.get_attribute("data-window").split(","))
        return answer if (window in (None, shown)) and answer.get_attribute("data-key") != but else None

    return wait_for(get, f"answer about {window}")


def press(browser, start, end=None):
    """Click at a share of the picture's height and width, or drag from there to another; the window that this means."""
    from selenium.webdriver import ActionChains

    canvas = browser.find_element(CSS, ".picture .canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    box = canvas.rect
    side = browser.execute_script("return arguments[0].getBoundingClientRect().width", canvas)

    def offset(share):
        return round((share[1] - 0.5) * side), round((share[0] - 0.5) * side)

    x, y = offset(start)
    actions = ActionChains(browser, duration=20).move_to_element_with_offset(canvas, x, y)
    if end is None:
        actions.click().perform()
    else:
        to_x, to_y = offset(end)
        actions.click_and_hold().move_by_offset(to_x - x, to_y - y).release().perform()
    assert box["width"] > 200
    return side


def message(browser):
    return browser.find_element(CSS, "#message").text


def field(browser, name):
    return browser.find_element(CSS, f"#{name} textarea, #{name} input")


def type_into(browser, name, text):
    box = field(browser, name)
    box.click()
    browser.execute_script("arguments[0].select()", box)
    box.send_keys(text + "\ue007")


def requests_of(browser):
    """Hosts of all addresses that the browser asked for."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {urlsplit(url).netloc for url in urls if not url.startswith(("data:", "blob:"))}


def test_ten_windows_by_the_mouse_are_each_answered_by_two_networks(opened, served):
    size = int(field(opened, "size").get_attribute("value"))
    lr, network = downsample(read_image(PHOTO), 4), demo_network("target")
    before = served.explorer.latest.computed
    for asked in [*SHARES, *DRAGS]:
        key = answered(opened).get_attribute("data-key")
        drag = len(asked) == 4
        press(opened, asked[:2], asked[2:] if drag else None)
        answer = answered(opened, but=key)
        shown = np.array([int(side) for side in answer.get_attribute("data-window").split(",")])
        if drag:
            (top, bottom), (left, right) = sorted(asked[::2]), sorted(asked[1::2])
            expected = np.array([top, left, bottom - top, right - left]) * 256
            assert np.abs(shown - expected).max() <= 2, (asked, shown)
        else:
            expected = np.clip(np.array(asked) * 256 - size / 2, 0, 256 - size)
            assert np.abs(shown[:2] - expected).max() <= 1 and tuple(shown[2:]) == (size, size), (asked, shown)
        assert [head.text for head in answer.find_elements(CSS, "h2")] == ["target", "baseline"]
        assert len(answer.find_elements(CSS, "img.map")) == len(answer.find_elements(CSS, "img.patch")) == 2
        assert all(text.text.startswith("sound") for text in answer.find_elements(CSS, ".verdict"))
        text = field(opened, "window").get_attribute("value")
        assert [int(part) for part in text.split(",")] == list(shown)
        marked = opened.find_element(CSS, ".picture .window").get_attribute("style")
        assert f"top: {100 * shown[0] / 256:g}"[:9] in marked
    assert served.explorer.latest.computed == before + 10
    result = sr_hooks.lam(network, lr, window=tuple(int(side) for side in shown))
    values = [text.text for text in answer.find_elements(CSS, "dd.di")]
    assert values[0] == f"{result.diffusion_index:.2f}" and values[0] != values[1]
    boxes = [card.rect for card in answer.find_elements(CSS, ".card")]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]  # side by side
    assert requests_of(opened) == {urlsplit(served.url).netloc}
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_of_clicks_in_a_row_only_the_last_is_answered(opened, served):
    opened.execute_script(
        "window.keys = new Set(); new MutationObserver(() => { const shown = document.querySelector('.answer');"
        "if (shown) window.keys.add(shown.dataset.key); })"
        ".observe(document.querySelector('#answers'), {childList: true, subtree: true, attributes: true});"
    )
    clicks = (
        "const canvas = document.querySelector('.picture .canvas'), box = canvas.getBoundingClientRect();"
        "for (let i = 1; i <= 12; i++) for (const kind of ['pointerdown', 'pointerup'])"
        "canvas.querySelector('img').dispatchEvent(new PointerEvent(kind, {bubbles: true, button: 0, pointerId: 1,"
        "clientX: box.left + box.width * i / 16, clientY: box.top + box.height / 2}))"
    )
    latest = served.explorer.latest
    before = latest.computed, latest.dropped
    opened.execute_script("Element.prototype.setPointerCapture = () => {};" + clicks)
    size = int(field(opened, "size").get_attribute("value"))
    answered(opened, window=(128 - size // 2, 192 - size // 2, size, size))
    wait_for(lambda: latest.computed + latest.dropped == sum(before) + 12, "end of all requests")
    assert latest.computed - before[0] <= 2 and latest.dropped - before[1] >= 10
    assert len(opened.execute_script("return [...window.keys]")) <= 2


def test_fields_change_the_question_and_mistakes_are_one_line(opened):
    type_into(opened, "window", "60, 70, 24")
    first = answered(opened, window=(60, 70, 24, 24))
    key = first.get_attribute("data-key")
    type_into(opened, "objective", "gabor:45")
    answer = answered(opened, but=key)
    assert "gabor:45" in answer.find_element(CSS, ".asked").text
    key = answer.get_attribute("data-key")
    type_into(opened, "path", "linear:black")
    answer = answered(opened, but=key)
    assert "linear:black" in answer.find_element(CSS, ".asked").text
    type_into(opened, "size", "40")
    answer = answered(opened, window=(52, 62, 40, 40))
    key, map_before = answer.get_attribute("data-key"), answer.find_element(CSS, ".map").get_attribute("src")
    opened.find_element(CSS, "#zoom input").click()
    answer = answered(opened, but=key)
    assert answer.find_element(CSS, ".map").get_attribute("src") != map_before
    key = answer.get_attribute("data-key")
    field(opened, "overlay").click()
    wait_for(lambda: chosen(opened, "red"), "choice of red")
    answer = answered(opened, but=key)
    type_into(opened, "window", "250, 250, 32")
    error = wait_for(lambda: opened.find_element(CSS, "#message .error"), "error")
    assert "leaves the output" in error.text and "\n" not in error.text
    assert answered(opened).get_attribute("data-window") == "52,62,40,40"  # what was shown stays
    type_into(opened, "path", "nowhere")
    wait_for(lambda: opened.find_element(CSS, "#message .error"), "error")
    type_into(opened, "window", "0, 0, 16")
    assert "no path" in answered(opened, window=(0, 0, 16, 16)).find_element(CSS, ".card .error").text


def test_windows_are_kept_for_the_grid(opened, served):
    for text in ("60, 70, 24", "10, 20, 30, 40"):
        type_into(opened, "window", text)
        answered(opened, window=tuple(int(part) for part in (text if text.count(",") > 2 else text + ",24").split(",")))
        opened.find_element(CSS, "#keep").click()
        wait_for(lambda: "kept" in message(opened), "line about the grid")
        top = opened.execute_script("return document.querySelector('#message p').getBoundingClientRect().top")
        assert top >= 0  # seen from where the button is
    assert "2 in" in wait_for(lambda: "2 in" in message(opened) and message(opened), "second window")
    request = read_request(served.explorer.grid)
    assert [n.model for n in request.networks] == ["demo:target", "demo:baseline"] and request.hr
    assert request.images[0].windows == ((60, 70, 24, 24), (10, 20, 30, 40)) and request.images[0].file == PHOTO


def test_an_upload_is_asked_about_and_what_is_shown_is_downloaded(opened, served, tmp_path):
    image = read_image(photographs()[0])[..., 40:168, 30:222]
    write_image(image, tmp_path / "mine.png")
    key = answered(opened).get_attribute("data-key")
    opened.find_element(CSS, "input[type=file]").send_keys(str(tmp_path / "mine.png"))
    answer = answered(opened, but=key)
    picture = opened.find_element(CSS, ".picture")
    assert (picture.get_attribute("data-height"), picture.get_attribute("data-width")) == ("128", "192")
    folder = tmp_path / "downloads"
    folder.mkdir()
    opened.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    for link in answer.find_elements(CSS, "a[download]")[:3]:
        link.click()
    names = {"explored.zip", "lam_target.png", "lam_target.pdf"}
    wait_for(lambda: names <= {path.name for path in folder.iterdir()}, "downloads")
    with zipfile.ZipFile(folder / "explored.zip") as archive:
        archive.extractall(tmp_path / "out")
    results = {path.name: sr_hooks.load(path) for path in (tmp_path / "out").iterdir()}
    assert set(results) == {"target", "baseline"}
    window = answer.get_attribute("data-window")
    assert all(",".join(map(str, result.window)) == window for result in results.values())
    assert results["target"].provenance["input_file"] == "mine.png"
    shown = [float(text.text) for text in answer.find_elements(CSS, "dd.di")]
    assert [f"{results[name].diffusion_index:.2f}" for name in ("target", "baseline")] == [f"{di:.2f}" for di in shown]
    (tmp_path / "no.png").write_text("no image")
    opened.find_element(CSS, "input[type=file]").send_keys(str(tmp_path / "no.png"))
    error = wait_for(lambda: opened.find_element(CSS, "#message .error"), "error")
    assert "no.png" in error.text and opened.find_element(CSS, ".picture").get_attribute("data-width") == "192"
    assert requests_of(opened) == {urlsplit(served.url).netloc}


def test_the_browser_may_fetch_nothing_from_elsewhere(opened):
    ask = (
        "const done = arguments[arguments.length - 1];"
        "document.addEventListener('securitypolicyviolation',"
        "(event) => done(event.blockedURI + event.effectiveDirective));"
        "setTimeout(() => done('nothing was refused'), 8000); const image = new Image(); image.src = arguments[0];"
    )
    assert opened.execute_async_script(ask, "https://example.com/x.png") == "https://example.com/x.pngimg-src"


@pytest.mark.parametrize("width", [800, 1280])
def test_nothing_is_wider_than_the_page(opened, width):
    opened.set_window_size(width, 1200)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        for part in opened.find_elements(CSS, ".card, .picture .canvas, #keep, #objective"):
            assert part.rect["x"] >= 0 and part.rect["x"] + part.rect["width"] <= width
    finally:
        opened.set_window_size(1280, 1200)


def test_a_notebook_shows_the_page_in_a_frame(browser, served, tmp_path):
    (tmp_path / "notebook.html").write_text(f"<!doctype html><main>{served._repr_html_()}</main>")
    browser.get(f"file://{tmp_path}/notebook.html")
    browser.switch_to.frame(browser.find_element(CSS, "iframe"))
    key = answered(browser).get_attribute("data-key")
    press(browser, (0.4, 0.4))
    answered(browser, but=key)
    browser.switch_to.default_content()


WATCHED = """
import sys
def watch(event, arguments):
    if event == "socket.connect":
        host = arguments[1]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    with open(sys.argv[1], "a") as file:
        print(event, host, file=file)
sys.addaudithook(watch)
from sr_hooks.cli.app import main
sys.exit(main(sys.argv[2:]))
"""


def test_the_command_talks_to_nobody_and_answers_its_own_name_alone(browser, tmp_path):
    pytest.importorskip("gradio", reason="gradio is not installed (the extra `explore` has it)")
    log = tmp_path / "log"
    log.touch()
    command = ["explore", "--model", "demo:target", "--image", str(PHOTO), "--hr", "--no-open", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(log), *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    try:
        record = ""
        while not record.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "the command ended"
            record += line
        url = json.loads(record)["url"]
        assert urlsplit(url).hostname == "127.0.0.1"
        browser.get(url)
        answered(browser)
        port = urlsplit(url).port
        assert _status(port, "127.0.0.1") == 200 and _status(port, "evil.example") == 400
        assert _listens_on(port) == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)  # Ctrl-C, while the page is open
        assert process.wait(180) == 0 and process.stderr.read() == ""
    finally:
        browser.get("about:blank")
        process.kill()
        process.wait(30)
    assert log.read_text() == ""


def _status(port, host):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    connection.request("GET", "/config", headers={"Host": f"{host}:{port}"})
    return connection.getresponse().status


def _listens_on(port):
    """The addresses on which this machine listens at a port, as Linux lists them."""
    addresses = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, _, number = local.partition(":")
        if state == "0A" and int(number, 16) == port:
            addresses.add(".".join(str(byte) for byte in bytes.fromhex(address)[::-1]))
    return addresses


def test_without_the_extra_it_is_refused_in_one_line(monkeypatch, capsys):
    from sr_hooks.cli.app import main

    for name in [name for name in sys.modules if name.partition(".")[0] == "gradio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(OptionError, match=r"pip install 'sr_hooks\[explore\]'"):
        import_gradio()
    assert main(["explore", "--model", "demo:target", "--image", "none.png"]) == 2
    assert capsys.readouterr().err == "sr-hooks: the explorer needs gradio: pip install 'sr_hooks[explore]'\n"
