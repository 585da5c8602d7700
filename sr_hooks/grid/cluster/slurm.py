"""Submit a grid to SLURM as an array of workers, through submitit, or print the script that does so."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_hooks.errors import OptionError

__all__ = ["parse_slurm", "sbatch_script", "slurm_executor", "submit_array"]

_SHORT = {"gpus": "gpus_per_node", "cpus": "cpus_per_task", "name": "job_name"}
_KEY = re.compile(r"[a-z][a-z_-]*")
_DEFAULTS = {"job_name": "sr-hooks", "time": 60}


def parse_slurm(text: str) -> dict[str, str]:
    """Read `partition=gpu,gpus=1,time=60` as options of sbatch: names with `_`, gpus for gpus_per_node.

    Raises:
        OptionError: a part is not NAME=VALUE, or a name occurs twice.
    """
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = _SHORT.get(name, name).replace("-", "_")
        if not equals or not value or not _KEY.fullmatch(name):
            raise OptionError(f"--slurm: {part!r} is not NAME=VALUE: write e.g. 'partition=gpu,gpus=1,time=60'")
        if name in options:
            raise OptionError(f"--slurm: {name} is there twice")
        options[name] = value
    return {key: str(value) for key, value in _DEFAULTS.items()} | options


def sbatch_script(options: Mapping[str, str], workers: int, command: Sequence[str], folder: Path) -> str:
    """The script of an array of ordinary workers: `sbatch FILE` submits it, and a preempted task is queued again.

    Args:
        command: arguments of `sr-hooks` for one worker.
        folder: where the logs go; it must exist when the job starts.
    """
    lines = ["#!/bin/bash"]
    flags = {**options, "array": f"0-{workers - 1}", "output": f"{folder}/%A_%a.log", "open_mode": "append"}
    lines += [f"#SBATCH --{name.replace('_', '-')}={_quoted(value)}" for name, value in flags.items()]
    lines += ["#SBATCH --requeue", "", f"srun {shlex.join([sys.executable, '-m', 'sr_hooks', *command])}", ""]
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) else value


def slurm_executor(options: Mapping[str, str], folder: Path) -> Any:
    """An executor of submitit whose jobs run on SLURM.

    Raises:
        OptionError: submitit is not installed, this machine has no SLURM, or an option is unknown to submitit.
    """
    try:
        import submitit
    except ImportError:
        raise OptionError("--slurm needs submitit: pip install 'sr_hooks[cluster]'") from None
    try:
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=1000)
    except RuntimeError:
        raise OptionError("no srun on this machine: run this on a login node, or use --print-sbatch") from None
    known = submitit.SlurmExecutor._valid_parameters()
    values = {name: int(value) if value.isdigit() else value for name, value in options.items()}
    further = {name.replace("_", "-"): value for name, value in values.items() if name not in known}
    parameters = {name: value for name, value in values.items() if name in known}
    executor.update_parameters(**parameters, additional_parameters={**further, "requeue": True, "open-mode": "append"})
    return executor


def submit_array(executor: Any, work: Callable[[int], Any], count: int) -> list[Any]:
    """Submit `count` workers as one array; return their jobs."""
    with executor.batch():
        return [executor.submit(work, number) for number in range(count)]
