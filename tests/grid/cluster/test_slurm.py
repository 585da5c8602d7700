"""A grid on SLURM: the options, the script, and a whole run against a stand-in for SLURM's commands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sr_hooks.cli.app import main
from sr_hooks.errors import OptionError
from sr_hooks.grid.cluster.slurm import parse_slurm, sbatch_script, slurm_executor
from sr_hooks.grid.folder import GridFolder
from tests.support.grids import command, environment, write_grid

SBATCH = """#!{python}
# Runs the tasks of an array at once, as SLURM would.
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
last = int((re.search("--array=0-([0-9]+)", text) or [0, "0"])[1])
for task in range(last + 1):
    job = {{"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(task)}} if last else {{}}
    variables = {{**os.environ, "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1",
                 "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", **job}}
    subprocess.Popen(["bash", sys.argv[-1]], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     stdin=subprocess.DEVNULL, start_new_session=True)
print("Submitted batch job 7")
"""
SRUN = """#!{python}
import os, sys
words = sys.argv[1:]
while words and words[0].startswith("-"):
    words = words[1 if words[0] == "--unbuffered" or "=" in words[0] else 2:]
os.execvp(words[0], words)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of stand-ins for sbatch, srun and sacct, first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\necho 'JobID|State|NodeList'\n"}
    for name, text in scripts.items():
        (folder / name).write_text(text.format(python=sys.executable))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_options_are_read_by_sbatch_s_names():
    options = parse_slurm("partition=gpu, gpus=1,time=60,mail-user=a@b.c")
    assert options == {
        "job_name": "sr-hooks",
        "partition": "gpu",
        "gpus_per_node": "1",
        "time": "60",
        "mail_user": "a@b.c",
    }
    for text in ("gpu", "=3", "time=", "time=1,time=2", "Time!=3"):
        with pytest.raises(OptionError, match="--slurm"):
            parse_slurm(text)


def test_the_script_runs_ordinary_workers(tmp_path, capsys):
    file = write_grid(tmp_path)
    flags = ["--slurm", "partition=gpu,gpus=1,time=60", "--workers", "16", "--print-sbatch"]
    assert main(["grid", str(file), "--out", str(tmp_path / "my out"), *flags]) == 0
    script = capsys.readouterr().out
    assert "#SBATCH --array=0-15\n" in script and "#SBATCH --gpus-per-node=1\n" in script and "--requeue" in script
    assert f"grid {file} --out '{tmp_path}/my out' --jobs 1 --threads 1" in script
    assert f'#SBATCH --output="{tmp_path}/my out/slurm/%A_%a.log"' in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert not (tmp_path / "my out").exists()
    assert sbatch_script({}, 1, ["grid"], tmp_path).startswith("#!/bin/bash\n#SBATCH --array=0-0\n")


def test_without_slurm_the_remedy_is_named(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed here: pip install 'sr_hooks[cluster]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="no srun on this machine"):
        slurm_executor(parse_slurm("time=5"), tmp_path)


@pytest.mark.slow
def test_an_array_of_workers_computes_the_grid_and_is_followed(slurm, tmp_path):
    file, out = write_grid(tmp_path), tmp_path / "out"
    done = subprocess.run(
        [*command(file, "--out", out), "--slurm", "time=5,partition=gpu,account=x", "--workers", "2"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "grid: the workers are planning" in done.stderr and "4 of 4 cells" in done.stdout
    assert (out / "table.csv").is_file() and (out / "report.html").is_file()
    journal = GridFolder(out).journal()
    assert len({line["pid"] for line in journal if line["event"] == "planned"}) == 2
    again = subprocess.run(
        [*command("--out", out), "--follow"], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 0 and "4 of 4 cells" in again.stdout


def test_follow_needs_a_grid(tmp_path, capsys):
    assert main(["grid", "--out", str(tmp_path), "--follow"]) == 2
    assert "is no folder of a grid" in capsys.readouterr().err
