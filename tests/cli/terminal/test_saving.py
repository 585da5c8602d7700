"""Nothing is overwritten unasked: numbered folders, `--overwrite`, and several results that appear together."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sr_hooks
from sr_hooks.cli import analysis
from sr_hooks.cli.app import main
from sr_hooks.cli.terminal.saving import free_folder, save_results
from sr_hooks.errors import ResultError
from sr_hooks.images.image import write_image
from sr_hooks.results.result import Result

pytestmark = pytest.mark.slow


def a_result(number=0.0):
    return Result("own", {"a": np.zeros(3, np.float32)}, {"number": number}, {}, "sound")


@pytest.fixture
def ask(tmp_path, lr, monkeypatch, capsys):
    """Run `sr-hooks lam` on a small image in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)
    write_image(lr[..., :24, :24], tmp_path / "a.png")
    write_image(lr[..., 24:48, :24], tmp_path / "b.png")

    def ask(*flags, images=("a.png",)):
        command = ["lam", "--model", "tests.support.networks:Tiny", "--image", *images, "--steps", "3"]
        status = main([*command, *(flags if "--window" in flags else (*flags, "--window", "8,8,8"))])
        return status, capsys.readouterr()

    return ask


def folders(path):
    return sorted(item.name for item in path.iterdir() if item.is_dir())


def test_a_second_run_makes_a_numbered_folder_and_says_so(ask, tmp_path):
    assert ask()[0] == 0
    before = (tmp_path / "lam_result/result.json").read_bytes()
    status, printed = ask()
    assert status == 0 and "lam_result_2 (lam_result holds results" in printed.out and "--overwrite" in printed.out
    assert "lam_result_3" in ask("--window", "0,0,8")[1].out
    assert folders(tmp_path) == ["lam_result", "lam_result_2", "lam_result_3"]
    assert (tmp_path / "lam_result/result.json").read_bytes() == before


def test_a_folder_that_was_named_is_not_replaced_either(ask, tmp_path):
    for _ in range(2):
        assert ask("--out", "out/mine")[0] == 0
    assert folders(tmp_path / "out") == ["mine", "mine_2"]


def test_overwrite_replaces(ask, tmp_path):
    ask()
    status, printed = ask("--overwrite", "--window", "0,0,8")
    assert status == 0 and folders(tmp_path) == ["lam_result"] and "_2" not in printed.out
    assert sr_hooks.load(tmp_path / "lam_result").window == (0, 0, 8, 8)


def test_several_results_are_numbered_and_replaced_as_one(ask, tmp_path):
    assert ask(images=("a.png", "b.png"))[0] == 0
    assert ask(images=("a.png", "b.png"))[0] == 0  # was refused: "it holds other files"
    assert folders(tmp_path) == ["lam_result", "lam_result_2"]
    assert ask("--overwrite", images=("b.png",))[0] == 0
    assert sr_hooks.load(tmp_path / "lam_result").provenance["input_file"] == "b.png"
    assert folders(tmp_path / "lam_result") == []
    assert ask("--overwrite", images=("a.png", "b.png"))[0] == 0
    assert sorted(p.name for p in (tmp_path / "lam_result").iterdir()) == ["a", "b"]


@pytest.mark.parametrize("flags", [(), ("--overwrite",)], ids=["plain", "overwrite"])
def test_what_is_not_ours_is_never_replaced(ask, tmp_path, flags):
    for inside in ("lam_result/thesis.tex", "lam_result/a/result.json"):
        (tmp_path / inside).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / inside).write_text("{}")
        status, printed = ask(*flags)
        assert status == 2 and "holds other files" in printed.err
        assert (tmp_path / "lam_result/thesis.tex").read_text() == "{}"


def test_what_stands_where_the_number_leads_is_passed(tmp_path):
    a_result().save(tmp_path / "r")
    (tmp_path / "r_2").write_text("a file")
    (tmp_path / "r_3").symlink_to(tmp_path / "nothing")
    (tmp_path / "r_4").mkdir()
    (tmp_path / "r_4/other").touch()
    (tmp_path / "r_5").mkdir()
    assert free_folder(tmp_path / "r", overwrite=False) == tmp_path / "r_5"


def test_a_folder_that_another_process_made_meanwhile_is_left(tmp_path):
    assert free_folder(tmp_path / "r", overwrite=False) == tmp_path / "r"
    a_result(1.0).save(tmp_path / "r")
    out, _ = save_results([("x", a_result(2.0))], tmp_path / "r", overwrite=False)
    assert out == tmp_path / "r_2" and sr_hooks.load(tmp_path / "r").scalars == {"number": 1.0}


def test_several_results_appear_together_or_not_at_all(tmp_path):
    broken = a_result()
    broken.arrays["a"] = np.array([object()])
    for wanted in ("new", "old"):
        if wanted == "old":
            save_results([("x", a_result()), ("y", a_result())], tmp_path / "old", overwrite=False)
        with pytest.raises((ResultError, ValueError, TypeError)):
            save_results([("x", a_result(5.0)), ("y", broken)], tmp_path / wanted, overwrite=True)
    assert folders(tmp_path) == ["old"] and sr_hooks.load(tmp_path / "old/x").scalars == {"number": 0.0}


def test_two_images_of_one_name_are_refused_before_the_work(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "execute", lambda *arguments: pytest.fail("it was computed"))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.png").write_bytes((tmp_path / "a.png").read_bytes())
    status, printed = ask(images=("a.png", "d/a.png"))
    assert status == 2 and "same name" in printed.err and folders(tmp_path) == ["d"]


def test_compare_is_numbered_too(ask, tmp_path, capsys):
    ask()
    for _ in range(2):
        assert main(["compare", "lam_result", "lam_result"]) == 0
    assert "compare_result_2" in capsys.readouterr().out
    assert main(["compare", "lam_result", "lam_result", "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "compare_result")
    assert folders(tmp_path) == ["compare_result", "compare_result_2", "lam_result"]
