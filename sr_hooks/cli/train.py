"""The command `train`: a BasicSR training that is watched, started from an unedited script or without one."""

from __future__ import annotations

import functools
import runpy
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr_hooks.adapters.basicsr_force_yml import forced
from sr_hooks.adapters.watch import watched_run
from sr_hooks.cli.command_list import COMMANDS
from sr_hooks.core.yaml_files import read_options
from sr_hooks.errors import OptionError, RunStopped, SRHooksError
from sr_hooks.files.regular_files import is_file
from sr_hooks.networks.loading.loaders import import_basicsr
from sr_hooks.training.config import BLOCK, block_file_beside, merge, option_file, parse_block, read_block

__all__ = ["main"]

_SUMMARY = COMMANDS["train"].summary
_USAGE = f"""usage: sr-hooks train [SCRIPT] -opt FILE [flags of BasicSR]

{_SUMMARY[0].upper()}{_SUMMARY[1:]}. Everything after `train` is for BasicSR
(--auto_resume, --debug, --launcher, --force_yml) and for the script.

  SCRIPT     a training script, unedited, of BasicSR, a copy of it, traiNNer-redux or neosr;
             without one, BasicSR's own train_pipeline runs, and experiments/ and tb_logger/
             land in the working directory
  -opt FILE  the option file, YAML or TOML. Where it has no `sr_hooks` block, because the
             trainer refuses one, the file sr_hooks.yml beside it is read

  --force_yml sr_hooks:lam:every=5000 changes the block, and makes keys that the file lacks.
  Several GPUs: torchrun --nproc_per_node=N -m sr_hooks train -opt FILE --launcher pytorch

examples:
  sr-hooks train -opt options/train/mine.yml --auto_resume
  sr-hooks train path/to/train.py -opt mine.yml --force_yml sr_hooks:lam:every=5000
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status: 0; 2 for a user's mistake, in one line. Errors of training pass."""
    if any(text in ("-h", "--help") for text in arguments):
        print(_USAGE, end="")
        return 0
    try:
        script, flags = (arguments[0], arguments[1:]) if arguments and arguments[0][:1] != "-" else (None, arguments)
        _train(script, list(flags))
    except RunStopped as error:
        if error.code != 1:  # of several processes, one speaks
            print(f"sr-hooks: {error}", file=sys.stderr)
        return 2
    except SRHooksError as error:
        print(f"sr-hooks: {error}", file=sys.stderr)
        return 2
    return 0


def _train(script: str | None, flags: list[str]) -> None:
    file = option_file(flags)
    if file is None:
        raise OptionError("train needs -opt FILE, BasicSR's option file (see sr-hooks train --help)")
    if script is not None and not is_file(script):
        raise OptionError(f"no training script {script}")
    content = _content(file)
    where, own, beside = f"{file}: {BLOCK}", content.get(BLOCK), block_file_beside(file)
    if own is None and beside is not None:
        where, own = str(beside), read_block(beside)
    if script is None and file.suffix.lower() == ".toml":
        raise OptionError(f"BasicSR reads no TOML: give the training script, sr-hooks train train.py -opt {file}")
    block = merge(_mapping(own, where), forced(flags, content).block)
    parse_block(block, where=where, base=file.parent)  # now, and not after minutes of imports and data
    before = sys.argv, sys.path[:]
    sys.argv = [script or "sr-hooks train", *flags]
    if script is not None:
        sys.path.insert(0, str(Path(script).resolve().parent))
    elif Path("basicsr").is_dir():
        sys.path.insert(0, str(Path.cwd()))  # inside a clone of BasicSR, that one, as with python -m
    try:
        with _outputs_here(), watched_run(file=file, is_told=False) as request, _ending_well():
            if script is not None:
                runpy.run_path(script, run_name="__main__")
            else:
                _pipeline()(str(Path.cwd()))
        if request.is_empty:
            request.tell()
        elif not request.is_met:
            raise OptionError(request.message)
    finally:
        sys.argv, sys.path[:] = before


@contextmanager
def _ending_well() -> Iterator[None]:
    """A script that ends by sys.exit() or sys.exit(0) has ended well; what follows it still runs."""
    try:
        yield
    except SystemExit as error:
        if error.code not in (None, 0):
            raise


def _pipeline() -> Any:
    import_basicsr()
    import basicsr.train as module

    if not hasattr(module, "train_pipeline"):
        raise OptionError(
            f"the BasicSR in {Path(module.__file__ or '').parent} has no train_pipeline: give its training script, "
            "sr-hooks train path/to/train.py -opt FILE"
        )
    return module.train_pipeline


def _content(file: Path) -> dict[str, Any]:
    content = read_options(file, name="the option file")
    if not isinstance(content, dict):
        raise OptionError(f"{file} is no option file of BasicSR: it holds no mapping")
    return content


def _mapping(block: Any, where: str) -> Any:
    if block is not None and not isinstance(block, dict):
        parse_block(block, where=where)  # says what it should be
    return block


@contextmanager
def _outputs_here() -> Iterator[None]:
    """Make a script that lies among installed packages write its experiments to the working directory, not there."""
    try:
        import_basicsr()
        import basicsr.train as module

        original = module.train_pipeline
    except Exception:
        yield  # a copy of BasicSR without this function, or no BasicSR: the script knows what it needs
        return
    site_folders = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}

    @functools.wraps(original)
    def train_pipeline(root_path: Any, *args: Any, **kwargs: Any) -> Any:
        root = Path(root_path).resolve()
        if any(root == folder or folder in root.parents for folder in site_folders):
            root_path = str(Path.cwd())
        return original(root_path, *args, **kwargs)

    module.train_pipeline = train_pipeline
    try:
        yield
    finally:
        module.train_pipeline = original
