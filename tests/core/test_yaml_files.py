"""YAML is read in one module, and an error names what was read."""

from pathlib import Path

import pytest

import sr_hooks
from sr_hooks.core.yaml_files import parse_yaml, read_yaml, value_or_text
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
    assert value_or_text("1.5") == 1.5 and value_or_text("{a") == "{a"


def test_no_other_module_of_the_package_reads_yaml():
    package = Path(sr_hooks.__file__).parent
    readers = [str(p.relative_to(package)) for p in package.rglob("*.py") if "import yaml" in p.read_text("utf-8")]
    assert readers == ["core/yaml_files.py"]
