"""A result that is spoilt in any way is refused with its path: nothing hangs, nothing takes memory without reason."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.errors import ResultError
from sr_hooks.files.strict_json import from_json
from sr_hooks.results.result import Result
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(lr, tmp_path_factory):
    result = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=3)
    return result.save(tmp_path_factory.mktemp("saved") / "r", figure=False)


@pytest.fixture
def folder(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "r")
    return tmp_path / "r"


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays.npz") as stored:
        return {name: stored[name] for name in stored.files}


def with_arrays(change):
    def spoil(folder: Path) -> None:
        arrays = arrays_of(folder)
        arrays = change(arrays) or arrays
        np.savez_compressed(folder / "arrays.npz", **arrays)

    return spoil


def with_record(change, *, old=False):
    """Change result.json; `old`: as a version before the digests wrote it, so that only the numbers can tell."""

    def spoil(folder: Path) -> None:
        record = json.loads((folder / "result.json").read_text())
        if old:
            del record["arrays"], record["sha256"]
        change(record)
        (folder / "result.json").write_text(json.dumps(record))

    return spoil


def without_facts(spoil):
    def both(folder: Path) -> None:
        with_record(lambda record: None, old=True)(folder)
        spoil(folder)

    return both


def bomb(folder: Path, *, header: bool = True, members: int = 1) -> None:
    """512 MB of zeros in 512 kB."""
    with zipfile.ZipFile(folder / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(members):
            with archive.open(f"a{number}.npy", "w", force_zip64=True) as stream:
                if header:
                    np.lib.format.write_array_header_1_0(
                        stream, {"descr": "<f4", "fortran_order": False, "shape": (2**27 // members,)}
                    )
                for _ in range(512 // members):
                    stream.write(b"\0" * 2**20)


def encrypted(folder: Path) -> None:
    data = bytearray((folder / "arrays.npz").read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        position = data.find(mark)
        while position >= 0:
            data[position + offset] |= 1
            position = data.find(mark, position + 4)
    (folder / "arrays.npz").write_bytes(data)


def lying_header(**facts):
    def spoil(folder: Path) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2, 2), **facts}
        buffer = io.BytesIO()
        buffer.write(b"\x93NUMPY\x01\x00")
        text = (repr(header).ljust(118) + "\n").encode()
        buffer.write(struct.pack("<H", len(text)) + text + b"\0" * 16)
        with zipfile.ZipFile(folder / "arrays.npz", "w") as archive:
            archive.writestr("attribution.npy", buffer.getvalue())

    return spoil


def replaced(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def as_pipe(name: str):
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def as_link(name: str, target: str):
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return spoil


def flipped(position: float):
    def spoil(folder: Path) -> None:
        data = bytearray((folder / "arrays.npz").read_bytes())
        data[int(position * len(data))] ^= 0xFF
        (folder / "arrays.npz").write_bytes(data)

    return spoil


def drop(name):
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


SPOILT = {
    "a zip bomb": bomb,
    "a zip bomb without a header": lambda f: bomb(f, header=False),
    "a zip bomb of many members": lambda f: bomb(f, members=512),
    "encrypted": encrypted,
    "deep JSON": replaced("result.json", b"[" * 100_000),
    "deep mappings": replaced("result.json", b'{"format":' * 50_000),
    "a huge number": replaced("result.json", b'{"format": ' + b"9" * 5000 + b"}"),
    "a list": replaced("result.json", b"[1]"),
    "not UTF-8": replaced("result.json", b'{"format": "\xff\xfe"}'),
    "no card": replaced("card.json", b"{}"),
    "a card that is a list": replaced("card.json", b"[]"),
    "a deep card": replaced("card.json", b"[" * 100_000),
    "arrays that are a pipe": as_pipe("arrays.npz"),
    "a record that is a pipe": as_pipe("result.json"),
    "a card that is a pipe": as_pipe("card.json"),
    "arrays that are a device": as_link("arrays.npz", "/dev/zero"),
    "a record that is a device": as_link("result.json", "/dev/zero"),
    "a card that is a device": as_link("card.json", "/dev/zero"),
    "no arrays": lambda f: (f / "arrays.npz").unlink(),
    "arrays that are a folder": lambda f: ((f / "arrays.npz").unlink(), (f / "arrays.npz").mkdir()),
    "a lacking array": with_arrays(drop("attribution")),
    "an extra array": with_arrays(lambda a: {**a, "extra": np.zeros(3)}),
    "objects": with_arrays(lambda a: {**a, "nodes": np.array([{}], dtype=object)}),
    "another type": with_arrays(lambda a: {**a, "lr": a["lr"].astype(np.float64)}),
    "another shape": with_arrays(lambda a: {**a, "lr": a["lr"].reshape(-1)}),
    "NaN everywhere": with_arrays(lambda a: {n: np.full_like(v, np.nan) for n, v in a.items()}),
    "one value changed": with_arrays(lambda a: a["lr"].__setitem__((0, 0, 0), 0.123)),
    "a lying shape": lying_header(shape=(2**40, 2**20)),
    "a negative shape": lying_header(shape=(-4,)),
    "a lying type": lying_header(descr="<f16"),
    "an unknown type": lying_header(descr="nonsense"),
    "a type of objects": lying_header(descr="|O"),
    "a DI that was edited": with_record(lambda r: r["scalars"].update(diffusion_index=55.0)),
    "a verdict that was edited": with_record(lambda r: r.update(verdict="sound: it is perfect")),
    "scalars that are a list": with_record(lambda r: r.update(scalars=[])),
    "no provenance": with_record(lambda r: r.pop("provenance")),
    "a format that is true": with_record(lambda r: r.update(format=True)),
    "a format in words": with_record(lambda r: r.update(format="one")),
    "no digest": with_record(lambda r: r.pop("sha256")),
    "old: a DI that was edited": with_record(lambda r: r["scalars"].update(diffusion_index=55.0), old=True),
    "old: a Gini that is text": with_record(lambda r: r["scalars"].update(gini="0.5"), old=True),
    "old: a completeness gap": with_record(lambda r: r["scalars"].update(completeness_gap=0.9), old=True),
    "old: effective pixels": with_record(lambda r: r["scalars"].pop("effective_pixels"), old=True),
    "old: NaN": without_facts(with_arrays(lambda a: {n: np.full_like(v, np.nan) for n, v in a.items()})),
    "old: another shape": without_facts(with_arrays(lambda a: {**a, "attribution": a["attribution"][:, 1:]})),
    "old: a map of text": without_facts(with_arrays(lambda a: {**a, "attribution": a["lr"].astype(str)})),
    "old: no map": without_facts(with_arrays(drop("attribution"))),
    **{f"a flipped byte at {p}": flipped(p) for p in (0.01, 0.2, 0.4, 0.6, 0.8, 0.95)},
    **{f"cut off at {n}": lambda f, n=n: os.truncate(f / "arrays.npz", n) for n in (0, 1, 30, 1000, 5000)},
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_it_is_refused_with_its_path(folder, spoilt, capsys):
    SPOILT[spoilt](folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ResultError) as caught:
        sr_hooks.load(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and len(message) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, "kB"
    assert main(["show", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(folder) in error


def test_a_result_of_an_older_version_is_read(folder):
    with_record(lambda record: None, old=True)(folder)
    assert sr_hooks.load(folder).steps == 3


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "/dev/zero", "/dev/stdin"])
def test_names_that_no_result_can_have(name):
    with pytest.raises(ResultError, match="no result in") as caught:
        sr_hooks.load(name)
    assert len(str(caught.value)) < 1000


def test_numbers_that_are_not_finite_are_strict_json_and_read_back(tmp_path):
    scalars = {"a": np.nan, "b": [np.inf, {"c": -np.inf}], "d": np.float32("nan"), "n": 3, "words": "no number"}
    Result("count", {"x": np.full(3, np.nan)}, scalars, {"seconds": np.inf}, "unsound").save(tmp_path / "r")
    text = (tmp_path / "r/result.json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    loaded = sr_hooks.load(tmp_path / "r")
    assert np.isnan(loaded.scalars["a"]) and loaded.scalars["b"] == [np.inf, {"c": -np.inf}]
    assert np.isnan(loaded.scalars["d"]) and loaded.scalars["words"] == "no number"
    assert loaded.provenance == {"seconds": "Infinity"} and np.isnan(loaded.arrays["x"]).all()


def test_large_arrays_of_one_value_are_written_so_that_they_can_be_read(tmp_path):
    empty = np.full((3, 3600, 4000), np.nan, dtype=np.float32)  # an output that was not computed: 165 MiB
    Result("count", {"output": empty, "x": np.arange(4).reshape(2, 2).T}, {}, {}, "").save(tmp_path / "r")
    loaded = sr_hooks.load(tmp_path / "r")
    assert loaded.arrays["output"].shape == empty.shape and np.array_equal(loaded.arrays["x"], [[0, 2], [1, 3]])


WRITER = """
import sys
import numpy as np
from sr_hooks.results.result import Result
for number in range(10**9):
    Result("count", {"x": np.full(5000, number)}, {"n": number}, {}, "").save(sys.argv[1], figure=False)
    if number == 0:
        print("go", flush=True)
"""


@pytest.mark.slow
def test_a_reader_beside_a_writer_reads_whole_results(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "r")], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"go\n"
        numbers, end = [], time.monotonic() + 120
        while len(numbers) < 200 or (len(set(numbers)) <= 20 and time.monotonic() < end):
            result = sr_hooks.load(tmp_path / "r")
            assert (result.arrays["x"] == result.scalars["n"]).all()
            numbers.append(result.scalars["n"])
    finally:
        writer.kill()
        writer.communicate()
    assert len(set(numbers)) > 20


def test_json_that_is_nested_too_deeply_is_a_value_error():
    with pytest.raises(ValueError, match="too deeply"):
        from_json("[" * 100_000)
