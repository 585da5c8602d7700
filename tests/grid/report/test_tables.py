"""A grid's tables: the best in bold where a comparison is sound, cautions where not, and names that inject nothing."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from sr_hooks.core.text import for_csv, for_latex, for_markdown, one_line
from sr_hooks.figures.style import plain
from sr_hooks.grid.plan import Cell
from sr_hooks.grid.report.formats import as_latex, as_markdown, as_text
from sr_hooks.grid.report.rows import GridRows, Row
from sr_hooks.grid.report.tables import as_csv, make_tables
from sr_hooks.grid.report.warnings import comparison_warnings
from sr_hooks.grid.request import GridRequest, ImageRequest, NetworkRequest
from sr_hooks.results.card import Card, Verdict

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b`c`*d*_e_[f](http://x.y) ~g~ $h$ @i",
    "\\input{/etc/passwd} ^_%&#${}~\"'`",
    "new\nline\r\tand \u2028 \u202e turned",
    "=1+1",
    "@SUM(A1)",
    "名前 é",
    "x" * 500,
    "[0pt] * \\\\",
]
SOUND = "sound: converged"


def row(number: int, network: int, image: int, **more: Any) -> Row:
    names = more.pop("names", ["one", "two", "three"])
    facts = {"input_range": 1.0, "weights": "params", "sha256": f"sha {network}", **more.pop("facts", {})}
    window = more.pop("window", (16, 16, 8, 8))
    scalars = {"canvas": {"input": more.pop("canvas", [24, 24]), "output": [48, 48]}}
    numbers = {"diffusion_index": more.pop("di", 1.0 + number), "psnr_y": more.pop("psnr", 30.0 + network)}
    if more.get("failure"):
        numbers, scalars = {}, {}
    cell = Cell(f"key{number}", "lam", network, image, window, {"window": window, **more.pop("options", {})})
    return Row(
        number,
        cell,
        names[network],
        f"photo {image}",
        numbers,
        more.pop("verdict", SOUND),
        scalars,
        {"network": facts},
        **more,
    )


def gathered(rows: list[Row], names: list[str] | None = None, images: list[str] | None = None) -> GridRows:
    names = names or ["one", "two", "three"][: 1 + max(r.cell.network for r in rows)]
    asked = GridRequest(
        tuple(NetworkRequest(name, "m") for name in names),
        tuple(ImageRequest(name, None) for name in images or ["photo 0", "photo 1"]),  # type: ignore[arg-type]
    )
    networks = [{"weights": "params", "sha256": "0", "scale": 2.0}] * len(names)
    found = SimpleNamespace(plan=SimpleNamespace(request=asked, networks=networks), rows=rows)
    found.of = lambda analysis: [r for r in rows if r.cell.analysis == analysis]
    return found  # type: ignore[return-value]


def table(rows: list[Row], **more: Any):
    grid = gathered(rows, **more)
    return make_tables(grid, comparison_warnings(grid))[0]


def bold(found) -> list[list[bool]]:
    return [[value.best for value in line] for line in found.values]


def test_the_best_of_each_column_is_bold_at_the_precision_that_is_printed():
    found = table([row(0, 0, 0, di=1.0), row(1, 0, 1, di=3.0), row(2, 1, 0, di=2.0), row(3, 1, 1, di=2.999)])
    assert [head.text for head in found.columns] == ["photo 0", "photo 1", "mean", "PSNR-Y, dB"]
    assert [[v.text for v in line] for line in found.values] == [
        ["1.00", "3.00", "2.00", "30.00"],
        ["2.00", "3.00", "2.50", "31.00"],
    ]
    assert bold(found) == [[False, True, False, False], [True, True, True, True]] and not found.notes


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"canvas": [12, 12]}, "canvas", "24×24 (one); 12×12 (two); the same window covers different input areas"),
        ({"facts": {"input_range": 255.0}}, "input range", "[0, 1] (one); [0, 255] (two)"),
        ({"facts": {"weights": "params_ema"}}, "weights", "params (one); params_ema (two)"),
        ({"options": {"objective": "intensity"}}, "options", "different options"),
    ],
)
def test_a_comparison_that_is_unsound_has_no_winner_and_says_why(change, kind, said):
    rows = [row(0, 0, 0), row(1, 1, 0, **change)]
    found = table(rows)
    assert said in found.notes[0][1] and [c.kind for c in comparison_warnings(gathered(rows))] == [kind]
    assert found.columns[0].notes == "a" and not bold(found)[0][0] and not bold(found)[1][0]
    assert said.split(" (")[0] in html.unescape(as_markdown([found])).replace("\\", "")
    assert "\\textsuperscript{a}" in as_latex([found]) and "[a]" in as_text(found)


def test_windows_and_canvases_that_differ_between_images_spoil_the_mean_alone():
    small = {"canvas": [12, 12], "window": (4, 4, 4, 4)}
    rows = [row(0, 0, 0), row(1, 0, 1, **small), row(2, 1, 0), row(3, 1, 1, **small)]
    found = table(rows)
    assert "canvases (24×24, 12×12 input pixels) and windows (8×8, 4×4 output pixels)" in found.notes[0][1]
    assert [head.notes for head in found.columns] == ["", "", "a", ""]
    assert bold(found)[1] == [True, True, False, True]


@pytest.mark.parametrize("verdict", ["degenerate: the map is zero everywhere", "out of range: x", "not converged: y"])
def test_a_map_that_says_nothing_wins_nothing(verdict):
    found = table([row(0, 0, 0, di=9.0, verdict=verdict), row(1, 1, 0, di=1.0), row(2, 2, 0, di=2.0)])
    assert [line[0].notes for line in found.values] == ["a", "", ""]
    assert [line[0].best for line in found.values] == [False, False, True]


def test_a_cell_whose_result_is_doubtful_is_named():
    doubtful = row(1, 1, 0, di=2.0)
    doubtful.provenance["warnings"] = ["input range guessed: neither file nor output tells"]
    found = [w for w in comparison_warnings(gathered([row(0, 0, 0, di=1.0), doubtful])) if w.kind == "doubt"]
    assert len(found) == 1 and found[0].rows == {1} and found[0].applies({1})
    assert found[0].sentence.startswith("Input range guessed") and "two, photo 0" in found[0].sentence


def test_averaged_beside_averaged_and_raw_beside_raw_are_sound():
    for place in ("params_ema", "params", "bare"):
        rows = [row(0, 0, 0, facts={"weights": place}), row(1, 1, 0, facts={"weights": place})]
        assert comparison_warnings(gathered(rows)) == []
    rows = [row(0, 0, 0, facts={"weights": "net_g_ema"}), row(1, 1, 0, facts={"weights": "bare"})]
    assert [c.kind for c in comparison_warnings(gathered(rows))] == ["weights"]


def test_equal_weights_are_told_and_spoil_nothing():
    found = table([row(0, 0, 0, facts={"sha256": "s"}), row(1, 1, 0, facts={"sha256": "s"})])
    assert "one and two have the very same weights." in found.notes[0][1] and bold(found)[1][0]


def test_a_failed_cell_has_no_number_and_its_network_no_mean():
    found = table([row(0, 0, 0), row(1, 0, 1, failure="no <luck>"), row(2, 1, 0), row(3, 1, 1)])
    assert [v.text for v in found.values[0]][:3] == ["1.00", "–", "–"] and found.notes[0][1] == "Failed: no <luck>"


def test_cards_are_counted():
    card = (
        Card((Verdict("a", "passes", "", {}),)),
        Card((Verdict("a", "passes", "", {}), Verdict("b", "fails", "", {}))),
    )
    found = table([row(0, 0, 0, card=card[0]), row(1, 0, 1, card=card[1])])
    assert found.columns[-1].text == "maps that pass all checks" and found.values[0][-1].text == "1 of 2"


def test_many_columns_are_turned():
    rows = [row(8 * n + k, n, k) for n in range(2) for k in range(8)]
    found = table(rows, images=[f"photo {k}" for k in range(8)])
    assert len(found.columns) == 2 and [head.text for head in found.rows][-2:] == ["mean", "PSNR-Y, dB"]
    assert found.values[0][1].best and found.rows[0].better == "higher"


# -- names -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile():
    names = HOSTILE
    rows = [row(n, n, 0, names=names) for n in range(len(names))]
    grid = gathered(rows, names=names, images=[HOSTILE[1]])
    rows = [Row(**{**vars(r), "image": HOSTILE[1]}) for r in rows]
    grid.rows[:] = rows
    return grid, make_tables(grid, comparison_warnings(grid))


def test_csv_keeps_names_and_is_no_formula(hostile):
    grid, _ = hostile
    found = list(csv.DictReader(io.StringIO(as_csv(grid, []), newline="")))
    assert len(found) == len(HOSTILE)
    for entry, name in zip(found, HOSTILE, strict=True):
        assert entry["network"].lstrip("'") == one_line(name, None)
        assert not entry["network"].startswith(("=", "+", "-", "@"))
        assert float(entry["diffusion_index"]) > 0


def test_markdown_keeps_its_columns_and_shows_names_as_they_are(hostile):
    text = as_markdown(hostile[1])
    assert "<script" not in text and not re.search(r"(?<!\\)\]\(", text) and "http:" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(HOSTILE)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(hostile[1][0].columns) + 2}
    for line, name in zip(lines[2:], HOSTILE, strict=True):
        shown = re.split(r"(?<!\\)\|", line)[1].strip()
        read = html.unescape(re.sub(r"\\([\\`*_\[\]|~$@])", r"\1", shown)).replace("\u200b", "")
        assert read == one_line(name)


def test_latex_has_no_command_but_ours_and_balanced_braces(hostile):
    text = as_latex(hostile[1])
    body = text.split("\n", 2)[2]
    commands = set(re.findall(r"\\([a-zA-Z]+)", body))
    assert commands <= {
        "begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf", "textsuperscript", "par",
        "smallskip", "footnotesize", "uparrow", "downarrow", "srhookschar", "ldots", "textbackslash", "textless",
        "textgreater", "textasciicircum", "textasciitilde", "textbar", "textquotedbl", "textquotesingle",
        "textasciigrave",
    }  # fmt: skip
    bare = re.sub(r"\\[a-zA-Z]+|\\\\|\\[{}$&#%_]", "", body)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and not set(bare) & set("\\#%_^~") and bare.count("$") % 2 == 0
    rows = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(hostile[1][0].columns)}
    assert all(line.startswith("{}") for line in rows[1:])  # or "[0pt]" would be the length of a line break


def test_latex_compiles(hostile, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    (tmp_path / "table.tex").write_text(as_latex(hostile[1]), encoding="utf-8")
    packages = r"\usepackage{booktabs}\usepackage[T1]{fontenc}\usepackage{textcomp}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}"
    (tmp_path / "document.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_draw_names_as_text(name):
    import warnings

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    drawn = figure.text(0, 0, plain(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of glyphs that the font lacks
        FigureCanvasAgg(figure).draw()
    assert drawn._preprocess_math(drawn.get_text())[1] is False  # what matplotlib takes for mathtext


def test_single_escapes():
    assert for_csv("-3 dB") == "'-3 dB" and for_csv("plain") == "plain"
    assert for_markdown("a_b") == r"a\_b" and for_latex("50 %") == r"50 \%"
    assert for_latex("é中") == r"é\srhookschar{4E2D}"
    assert one_line("a\u202eb\nc") == "a b c" and len(one_line("y" * 999)) == 80
