"""Throw-away virtual environments that see this one's packages, with packages of their own by pip."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Environment:
    """A virtual environment; torch and what else is installed here is seen from it, and it can be thrown away."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.folder = folder
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        (self.site / "around.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_paths()['purelib']}\n")
        for name, module in (("sr-hooks", "sr_hooks"), ("pip", "pip")):
            script = folder / "bin" / name
            script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
            script.chmod(0o755)

    def install(self, *packages: Path | str) -> None:
        """By pip, from folders and wheels; nothing is downloaded."""
        done = self.run("python", "-m", "pip", "install", "--no-deps", *map(str, packages))
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negation: no isolation, so that nothing is downloaded
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        environment.pop("PYTHONPATH", None)
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    def shell(self, text: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """What a person types."""
        return self.run("bash", "-euo", "pipefail", "-c", text, cwd=cwd, **variables)

    def python(self, code: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("python", "-c", textwrap.dedent(code), cwd=cwd, **variables)


def source_of(package: str, folder: Path) -> Path:
    """A copy of a package under plugins/, for building without leaving anything in the repository."""
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(REPOSITORY / "plugins" / package, folder / package, ignore=ignored))


def wheel(folder: Path, name: str, source: str, *, version: str = "1.2.3", point: str | None = None) -> Path:
    """A wheel of one module with one entry point, as a build would give it but at once."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": textwrap.dedent(source),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[sr_hooks]\n{point or name} = {module}\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_in_archive, text in files.items():
            archive.writestr(name_in_archive, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
