"""README in both languages: everything that it tells a reader to type works as it stands, and both tell the same."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch
import yaml
from safetensors.torch import load_file

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import downsample, read_image, write_image
from tests.conftest import REPOSITORY
from tests.integration.basicsr import runs
from tests.support.environments import Environment
from tests.support.processes import hear_ctrl_c

README, CHINESE = (REPOSITORY / name for name in ("README.md", "README.zh-CN.md"))
WEIGHTS = REPOSITORY / "sr_hooks/demo/weights"
RAW = "https://raw.githubusercontent.com/sr-hooks/sr_hooks/main/"
_COMMENT = re.compile(r"(^|\s+)#\s.*$", re.MULTILINE)


def code(page: Path) -> list[tuple[str, str]]:
    """(language, code without comments) of each block."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, _COMMENT.sub("", text).strip()) for language, text in blocks]


def marked(name: str) -> str:
    """The block of README that follows the comment <!-- name -->."""
    (block,) = re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return block


def table(page: Path) -> list[str]:
    """The commands of the table "what you want, what you type"."""
    text = page.read_text(encoding="utf-8").partition("<!-- table -->")[2].partition("\n\n")[0]
    rows = text.strip().splitlines()[2:]
    commands = [re.fullmatch(r"\| [^|`]+ \| `([^`]+)` \|", row) for row in rows]
    assert rows and all(commands), text
    return [command[1] for command in commands if command]


def test_both_languages_have_the_same_code_commands_and_links():
    assert code(README) == code(CHINESE) and len(code(README)) > 9
    assert table(README) == table(CHINESE) and len(table(README)) > 12
    plugins = [re.findall(r"^\| \[`([\w-]+)`\]", page.read_text("utf-8"), re.MULTILINE) for page in (README, CHINESE)]
    assert plugins[0] == plugins[1]
    markers = [re.findall(r"<!-- (\w+) -->", page.read_text("utf-8")) for page in (README, CHINESE)]
    assert markers[0] == markers[1]


@pytest.mark.parametrize("page", [README, CHINESE], ids=lambda page: page.name)
def test_the_picture_is_shown_from_everywhere_and_is_in_the_repository(page):
    (target,) = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page.read_text(encoding="utf-8"))
    assert target.startswith(RAW) and (REPOSITORY / target.removeprefix(RAW)).is_file()


def test_the_entry_for_bibtex_is_that_of_the_citation_file():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    entry = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", marked("cite"), re.MULTILINE))
    assert {key: re.sub(r"[{}\\]", "", value) for key, value in entry.items()} == {
        "title": citation["title"],
        "author": citation["authors"][0]["name"],
        "version": citation["version"],
        "year": str(citation["date-released"].year),
        "url": citation["repository-code"],
        "license": citation["license"],
    }
    assert marked("cite") in (REPOSITORY / "docs/citing.md").read_text(encoding="utf-8")
    for reference in citation["references"]:
        number = reference["identifiers"][0]["value"].removeprefix("arXiv:")
        assert all(f"arxiv.org/abs/{number}" in page.read_text(encoding="utf-8") for page in (README, CHINESE))


@pytest.mark.slow
def test_the_first_example_of_the_readme_runs_as_it_stands(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", marked("first")], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout and (tmp_path / "out" / "lam" / "figure.png").is_file()


@pytest.mark.slow
def test_the_package_is_installed_from_an_index_by_its_name(tmp_path):
    """The command as it stands; the index is a folder with the wheel of this source."""
    pytest.importorskip("setuptools", reason="setuptools is not installed (the extra `test` has it)")
    source = tmp_path / "source"
    shutil.copytree(REPOSITORY / "sr_hooks", source / "sr_hooks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    environment, index = Environment(tmp_path / "environment"), tmp_path / "index"
    done = environment.shell(f"pip wheel --no-deps --wheel-dir {index} ./source", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    variables = {"PIP_FIND_LINKS": str(index), "PIP_NO_DEPS": "1", "PIP_TARGET": str(tmp_path / "installed")}
    done = environment.shell(marked("index"), tmp_path, PIP_IGNORE_INSTALLED="1", **variables)
    assert done.returncode == 0 and "does not provide" not in done.stderr, done.stdout + done.stderr
    (facts,) = (tmp_path / "installed").glob("sr_hooks-*.dist-info/METADATA")
    assert f"\nVersion: {sr_hooks.__version__}\n" in facts.read_text(encoding="utf-8")
    assert (tmp_path / "installed/sr_hooks/demo/weights/target.safetensors").is_file()


ARCHITECTURE = """
from torch import nn
class MyNet(nn.Sequential):
    def __init__(self, depth):
        super().__init__(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(depth)])
"""


@pytest.mark.slow
def test_the_lines_about_your_own_network_run(tmp_path, monkeypatch, basicsr):
    """Each line by itself, on files of these names; that of mmagic where mmagic is installed."""
    pytest.importorskip("spandrel", reason="spandrel is not installed (the extra `models` has it)")
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from basicsr.archs.srresnet_arch import MSRResNet

    monkeypatch.chdir(tmp_path)
    Path("archs").mkdir()
    Path("archs/mynet.py").write_text(ARCHITECTURE, encoding="utf-8")
    names: dict[str, Any] = {"module": torch.nn.Upsample(scale_factor=4)}
    exec(ARCHITECTURE, names)
    torch.save({"params": MSRResNet(upscale=4).state_dict()}, "net_g_latest.pth")
    torch.save({"params_ema": RRDBNet(3, 3, num_block=2).state_dict()}, "RealESRGAN_x4plus.pth")
    torch.save(names["MyNet"](8).state_dict(), "mynet.pth")
    (block,) = [text for _, text in code(README) if text.startswith("from sr_hooks import Network")]
    scales = {}
    for line in block.splitlines()[2:]:
        call = line.partition("(")[0]
        if call != "Network.from_mmagic":  # tests/integration/mmagic has the real one
            scales[call] = eval(line, {**names, "Network": sr_hooks.Network}).scale
    assert scales == {
        "Network.from_basicsr": 4,
        "Network.from_file": 4,
        "Network.from_import": 1,
        "Network": 4,
    }


@pytest.mark.slow
def test_the_lines_about_a_loop_of_your_own_run(tmp_path, monkeypatch):
    """With budget="off" beside them, since steps that compute nothing leave no time for an analysis."""
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3, padding=1), torch.nn.PixelShuffle(2))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    write_image(read_image(photographs()[0])[..., :80, :80], "baby.png")
    (block,) = [text for _, text in code(README) if text.startswith("with sr_hooks.watch")]
    loop = "    for iteration in range(1000):\n        optimizer.step()\n"
    head = block.partition("...")[0].rstrip().replace("image=", 'budget="off", image=')
    exec(f"{head}\n{loop}", {"sr_hooks": sr_hooks, "net": net, "optimizer": optimizer})
    assert len(list(tmp_path.rglob("1000/lam/figure.png"))) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder: three checkpoints of one network, photographs, an input and an option file of BasicSR."""
    folder = tmp_path_factory.mktemp("reader")
    before, after = (load_file(WEIGHTS / f"{state}.safetensors") for state in ("baseline", "target"))
    between = {name: (before[name] + after[name]) / 2 for name in before}
    for name, weights in {"a": before, "b": after, "c": between}.items():
        torch.save({"params": weights}, folder / f"{name}.pth")
    photos = [read_image(path) for path in photographs()]
    (folder / "val").mkdir()
    for number, photo in enumerate(photos[:2]):
        write_image(photo[..., 64:192, :], folder / "val" / f"{number}.png")
    write_image(photos[1][..., 48:208, 48:208], folder / "photo.png")
    write_image(downsample(read_image(folder / "photo.png"), demo_network().scale), folder / "lr.png")
    content = runs.options(runs.make_data(folder / "data", side=144, train=2, val=1), runs.NETWORKS["MSRResNet"])
    logger = {"print_freq": 50, "save_checkpoint_freq": 1000}
    changes = {"name": "mine", "train": {"total_iter": 100}, "val": {"val_freq": 1000}, "logger": logger}
    runs.write(runs.deep(content, changes), folder / "options/train/mine.yml")
    watch = marked("watch").splitlines()
    assert watch[0].startswith("pip install") and watch[1].startswith("printf") and len(watch) == 3
    subprocess.run(["bash", "-c", watch[1]], cwd=folder, check=True)
    return folder


def words(command: str, folder: Path) -> list[str]:
    """The words of a command as a shell expands them in a folder."""
    parts = [[*map(str, sorted(folder.glob(word)))] if "*" in word else [word] for word in shlex.split(command)]
    return [word for part in parts for word in part]


def ask_in_a_process(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "sr_hooks", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def explore(arguments: list[str], folder: Path) -> None:
    """Ask for the page that the command names, and end the command as a user does."""
    process = ask_in_a_process(arguments, folder)
    try:
        end, line = time.monotonic() + 300, ""
        while "http://127.0.0.1" not in line and process.poll() is None and time.monotonic() < end:
            line = process.stdout.readline()
        with urlopen(line.split()[0], timeout=120) as page:
            assert page.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.communicate(timeout=60)


def train(arguments: list[str], folder: Path) -> None:
    process = ask_in_a_process(arguments, folder)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    assert (folder / "experiments/mine/sr_hooks/100/lam/figure.png").is_file(), text


LEAVES = {
    "lam": "lam_result/figure.png",
    "grid": "grid/report.html",
    "ddr": "ddr_result/figure.png",
    "faig": "faig_result/figure.png",
    "faig-verify": "faig-verify_result/figure.png",
    "compare": "compare_result/figure.png",
    "new-plugin": "sr-hooks-flicker/pyproject.toml",
}
"""What a command must have written."""


@pytest.mark.slow
def test_each_command_of_the_table_works_as_it_stands(folder, monkeypatch, capsys, basicsr):
    pytest.importorskip("gradio", reason="gradio is not installed (the extra `explore` has it)")
    monkeypatch.chdir(folder)
    asked = []
    for command in table(README):
        program, *arguments = words(command, folder)
        assert program == "sr-hooks"
        asked.append(arguments[0])
        if arguments[0] in ("explore", "train"):
            {"explore": explore, "train": train}[arguments[0]](arguments, folder)
            continue
        assert main(arguments) == 0, f"{command}: {capsys.readouterr().err}"
        assert capsys.readouterr().out.strip(), command
        if arguments[0] in LEAVES:
            assert (folder / LEAVES[arguments[0]]).is_file(), command
    assert set(asked) >= {*LEAVES, "explore", "train", "show", "doctor", "layers"}
