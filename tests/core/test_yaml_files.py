"""YAML is read in one module, and an error names what was read."""

import os
from pathlib import Path

import pytest

import sr_hooks
from sr_hooks.core.yaml_files import parse_yaml, read_options, read_yaml, to_yaml, value_or_text
from sr_hooks.errors import NetworkError, OptionError


def test_errors_name_the_file_and_have_the_class_that_the_caller_wants(tmp_path):
    with pytest.raises(OptionError, match=r"cannot read the grid file .*no\.yml: No such file"):
        read_yaml(tmp_path / "no.yml", name="the grid file")
    (tmp_path / "broken.yml").write_text("{a")
    with pytest.raises(NetworkError, match=r"broken\.yml is not a sound YAML file"):
        read_yaml(tmp_path / "broken.yml", error=NetworkError)
    (tmp_path / "latin.yml").write_bytes(b"a: \xe9")
    with pytest.raises(OptionError, match=r"latin\.yml is not a sound YAML file"):
        read_yaml(tmp_path / "latin.yml")
    with pytest.raises(OptionError, match="--arguments is not sound YAML"):
        parse_yaml("{a", name="--arguments")


def test_values_are_read(tmp_path):
    (tmp_path / "some.yml").write_text("a: [1, x]\n", encoding="utf-8")
    assert read_yaml(tmp_path / "some.yml") == {"a": [1, "x"]}
    assert parse_yaml("{a: 1}", name="--arguments") == {"a": 1}
    assert parse_yaml(to_yaml({"b": [1, "é"], "a": {"c": None}}), name="x") == {"b": [1, "é"], "a": {"c": None}}
    assert value_or_text("1.5") == 1.5 and value_or_text("{a") == "{a"


def test_no_other_module_of_the_package_reads_yaml():
    package = Path(sr_hooks.__file__).parent
    readers = [str(p.relative_to(package)) for p in package.rglob("*.py") if "import yaml" in p.read_text("utf-8")]
    assert readers == ["core/yaml_files.py"]


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
UNSOUND = {
    "a date that there is not": "a: 2026-13-45",
    "a time that there is not": "a: 2026-01-01 99:00:00",
    "5,000 digits": "a: " + "9" * 5000,
    "no digits": "a: 0b_",
    "no digits in base 16": "a: 0x_",
    "an octal 9": "a: 0o9: [",
    "500 levels": "[" * 500 + "]" * 500,
    "500 mappings": "{a: " * 500 + "}" * 500,
    "100,000 open brackets": "[" * 100_000,
    "billion laughs": LAUGHS,
    "an alias inside itself": "a: &a [*a]",
    "an alias inside its own mapping": "&a {b: *a}",
    "a key twice": "a: 1\nb: 2\na: 3",
    "a key twice, deeper": "x: {a: 1, 'a': 2}",
    "a list for a key": "? [1]\n: 2",
    "a mapping for a key": "{{a: 1}: 2}",
    "a tag of Python": "a: !!python/object/apply:os.system [ls]",
    "a tag of nobody": "a: !nobody x",
    "a merge of text": "<<: text",
    "a null character": "a: \0",
    "a base 60 number": "a: 1:" + ":".join(["59"] * 3000) + "x: [",
    "binary that is none": "a: !!binary '\u00e9'",
    "a float that is none": "a: !!float x",
    "a set of lists": "!!set {[1]: null}",
    "two documents": "a: 1\n---\nb: 2",
}


@pytest.mark.parametrize("unsound", UNSOUND)
def test_unsound_yaml_is_refused_in_one_line(tmp_path, unsound):
    text = UNSOUND[unsound]
    (tmp_path / "x.yml").write_text(text, encoding="utf-8")
    for read in (lambda: read_yaml(tmp_path / "x.yml"), lambda: parse_yaml(text, name="--arguments")):
        with pytest.raises(OptionError, match="sound YAML") as caught:
            read()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert value_or_text(text) == text


def test_sound_yaml_with_aliases_and_merges_is_read():
    text = "base: &b {a: 1, c: [1, 2]}\nx: {<<: *b, a: 2}\ny: {<<: *b}\nz: [*b, *b]"
    value = parse_yaml(text, name="x")
    assert value["x"] == {"a": 2, "c": [1, 2]} and value["y"] == {"a": 1, "c": [1, 2]} and value["z"][1]["a"] == 1
    assert parse_yaml(MERGES, name="x")["a59"] == {"x": 1}
    assert parse_yaml("[" * 50 + "]" * 50, name="x") is not None


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.yml")
    for path in (tmp_path / "pipe.yml", Path("/dev/zero"), tmp_path, tmp_path / ("x" * 5000), "a\0b"):
        with pytest.raises(OptionError, match="cannot read") as caught:
            read_yaml(path)
        assert len(str(caught.value)) < 1000


def test_option_files_are_toml_by_their_name(tmp_path):
    (tmp_path / "a.toml").write_text('name = "x"\n[train.optim_g]\nlr = 1e-4\n')
    assert read_options(tmp_path / "a.toml") == {"name": "x", "train": {"optim_g": {"lr": 1e-4}}}
    (tmp_path / "a.yml").write_text("name: x\n")
    assert read_options(tmp_path / "a.yml") == {"name": "x"}
    (tmp_path / "broken.toml").write_text("name: x\n")
    with pytest.raises(OptionError, match=r"broken\.toml is not a sound TOML file: Expected '='"):
        read_options(tmp_path / "broken.toml")
    for text in (b'a = "\xe9"', b"a = " + b"9" * 5000, b"a = " + b"[" * 5000, b"a = 1\na = 2"):
        (tmp_path / "odd.toml").write_bytes(text)
        with pytest.raises(OptionError, match=r"odd\.toml is not a sound TOML file"):
            read_options(tmp_path / "odd.toml")
    with pytest.raises(NetworkError, match=r"cannot read the option file .*no\.toml: No such file"):
        read_options(tmp_path / "no.toml", name="the option file", error=NetworkError)
