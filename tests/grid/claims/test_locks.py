"""Locks that cannot lie: file systems without locks are refused, hosts that do not see each other's locks are named."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sr_hooks.errors import ResultError
from sr_hooks.grid import read_request, run_grid
from sr_hooks.grid.claims import clock
from sr_hooks.grid.claims.overlaps import overlapping_claims
from sr_hooks.grid.folder import GridFolder
from tests.support.grids import environment, write_grid

ERRORS = ("ENOSYS", "ENOLCK", "EOPNOTSUPP")


@pytest.fixture(scope="module")
def no_flock(tmp_path_factory) -> Path:
    """A library whose flock answers with the error number in FLOCK_ERROR; 0 is success without a lock."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler for the library that stands in for flock")
    folder = tmp_path_factory.mktemp("flock")
    (folder / "flock.c").write_text(
        "#include <errno.h>\n#include <stdlib.h>\n"
        'int flock(int file, int how) { errno = atoi(getenv("FLOCK_ERROR")); return errno ? -1 : 0; }\n'
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "flock.so", "flock.c"], cwd=folder, check=True)
    return folder / "flock.so"


@pytest.mark.slow
def test_a_preloaded_flock_that_does_not_lock_is_refused(no_flock, tmp_path):
    code = """if 1:
        import errno, os, sys
        from pathlib import Path
        from sr_hooks.errors import ResultError
        from sr_hooks.grid.folder import GridFolder
        for name in sys.argv[2:]:
            os.environ["FLOCK_ERROR"] = str(getattr(errno, name, 0))
            folder = Path(sys.argv[1]) / name
            try:
                GridFolder(folder).open({})
            except ResultError as error:
                print(error)
            assert not [path for path in (folder / "claims").iterdir() if path.name.startswith(".")]
    """
    variables = {**environment(), "LD_PRELOAD": str(no_flock), "FLOCK_ERROR": "0"}
    arguments = [sys.executable, "-c", code, str(tmp_path), *ERRORS, "nothing"]
    done = subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 4, done
    for name, line in zip((*ERRORS, "nothing"), lines, strict=True):
        assert "workers of a grid need file locks" in line and "NFS 4" in line and "another file system" in line
        assert ("can be locked again" if name == "nothing" else os.strerror(getattr(errno, name))) in line


@pytest.mark.parametrize("name", [*ERRORS, "nothing"])
def test_flock_that_fails_is_refused_before_and_during_a_run(tmp_path, monkeypatch, name):
    fcntl = pytest.importorskip("fcntl", reason="flock is of Unix")
    folder = GridFolder(tmp_path / "out")
    folder.open({})

    def flock(file, how):
        if name != "nothing":
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(ResultError, match="workers of a grid need file locks"):
        GridFolder(tmp_path / "out").open({})
    if name != "nothing":
        with pytest.raises(ResultError, match="workers of a grid need file locks"), folder.claimed("a"):
            raise AssertionError("a claim without a lock")
    assert not [path for path in (tmp_path / "out/claims").iterdir() if path.name.startswith(".probe")]


# Hosts


def line(event: str, host: str, pid: int = 1, key: str = "a", time: float = 0.0) -> dict:
    return {"event": event, "key": key, "host": host, "pid": pid, "time": time}


@pytest.mark.parametrize(
    ("journal", "names"),
    [
        ([line("begun", "a"), line("begun", "b"), line("finished", "a"), line("finished", "b")], ("a", "b")),
        ([line("begun", "b", time=9e9), line("begun", "a"), line("finished", "a"), line("failed", "b")], ("a", "b")),
        (
            [line("begun", "a", 1), line("begun", "a", 2), line("finished", "a", 1)],
            ("process 1 of a", "process 2 of a"),
        ),
        ([line("begun", "a"), line("begun", "b"), line("finished", "b")], None),  # host a died, b took over
        ([line("begun", "a"), line("finished", "a"), line("begun", "b"), line("finished", "b")], None),
        ([line("begun", "a"), line("begun", "b", key="b"), line("finished", "a")], None),
        ([line("begun", "a"), line("begun", "a"), line("finished", "a")], None),
    ],
)
def test_two_that_worked_on_one_cell_are_told_by_the_order_of_the_journal(journal, names):
    assert overlapping_claims(journal) == ({"a": names} if names else {})


@pytest.mark.slow
def test_two_hosts_with_locks_of_their_own_are_named_in_the_table(tmp_path):
    """Two processes under two host names, an hour apart, each with lock files that the other one does not see."""
    file = write_grid(tmp_path, networks=1, images=1, analyses={"lam": {"steps": 3}})
    expected = run_grid(read_request(file), tmp_path / "alone", jobs=1)
    code = """if 1:
        import socket, sys, time
        from pathlib import Path
        host, hours, file, out, own = sys.argv[1:]
        socket.gethostname = lambda: host
        real_time = time.time
        time.time = lambda: real_time() + 3600 * float(hours)
        from sr_hooks.grid import compute, folder, read_request, run_grid
        real, execute = folder.file_lock, compute.execute
        folder.file_lock = lambda path: real(Path(own) / path.name)
        def slow(*arguments):
            end = time.monotonic() + 120  # until the other host is at this cell too
            journal = folder.GridFolder(out).journal
            while len({line["host"] for line in journal()}) < 2 and time.monotonic() < end:
                time.sleep(0.02)
            return execute(*arguments)
        compute.execute = slow
        summary = run_grid(read_request(file), out, jobs=1)
        print(len(summary.failures))
    """
    out = tmp_path / "out"
    processes = []
    for host, hours in (("node-a", 0), ("node-b", -1)):
        (tmp_path / host).mkdir()
        arguments = [sys.executable, "-c", code, host, str(hours), str(file), str(out), str(tmp_path / host)]
        processes.append(
            subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    answers = [process.communicate(timeout=280) for process in processes]
    assert all(process.returncode == 0 for process in processes), answers
    assert "node-a and node-b began the same cells" in "".join(errors for _, errors in answers)
    summary = run_grid(read_request(file), out, jobs=1)  # the table follows the journal
    assert summary.computed == 0 and "Computed twice at once, by node-a and node-b" in summary.tables
    assert "Computed twice at once, by node-a and node-b" in (out / "table.md").read_text()
    alone, both = GridFolder(expected.folder), GridFolder(out)
    keys = {path.name for path in out.glob("cells/*/[!.]*")}
    assert keys == {path.name for path in (tmp_path / "alone").glob("cells/*/[!.]*")}
    for key in keys:
        assert (alone.cache.get(key).attribution == both.cache.get(key).attribution).all()


# Clocks


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_failure_on_a_host_with_another_clock_is_of_this_run(tmp_path, monkeypatch, hours):
    mine, real = GridFolder(tmp_path / "out"), clock._host_time
    mine.open({})
    start = mine.now()
    monkeypatch.setattr(clock, "_host_time", lambda: real() + 3600 * hours)
    theirs = GridFolder(tmp_path / "out")
    theirs.record_failure("a", "a", "no")
    monkeypatch.setattr(clock, "_host_time", real)
    mine.now()
    assert mine.failure("a", start - 1) == "no"
    assert mine.failure("a", start + 60) is None  # a run that begins later tries again
    assert abs(theirs.now() - mine.now()) > 1000  # its own clock is back, the difference stays measured
