"""Regular files alone are read, and JSON is strict."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest

from sr_hooks.files import from_json, is_disk_full, is_file, is_folder, open_regular, read_bytes, restored, to_json


def test_a_regular_file_is_read(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"12345")
    assert read_bytes(file) == b"12345" and is_file(file) and is_folder(tmp_path) and not is_file(tmp_path)
    with pytest.raises(OSError, match="at most 4 are read"):
        read_bytes(file, largest=4)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "null byte", "long name", "missing"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    name = {"device": "/dev/zero", "null byte": "a\0b", "long name": "n" * 5000}.get(kind, str(path))
    assert not is_file(name)
    with pytest.raises(OSError), open_regular(name):
        pass


def test_numbers_that_json_lacks_are_texts_and_come_back():
    value = {"a": [1.5, math.nan, -math.inf], "b": {"c": np.float32(2)}, "d": np.arange(3)}
    text = to_json(value)

    def refuse(constant):
        raise ValueError(constant)

    json.loads(text, parse_constant=refuse)
    back = restored(from_json(text))
    assert math.isnan(back["a"][1]) and back["a"][2] == -math.inf and back["b"]["c"] == 2 and back["d"] == [0, 1, 2]


def test_deep_nesting_is_an_error_of_the_text():
    with pytest.raises(ValueError, match="nested"):
        from_json("[" * 100_000)


def test_a_full_disk_is_known_behind_another_error():
    error = RuntimeError("not written")
    error.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(error) and not is_disk_full(RuntimeError("x"))
