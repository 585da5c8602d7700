"""Classes out of other people's repositories, and what the doctor says of networks."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
import torch

import sr_hooks
from sr_hooks import Network
from sr_hooks.cli.app import main
from sr_hooks.doctor.diagnosis import examine
from sr_hooks.errors import CheckpointError, NetworkError
from tests.conftest import REPOSITORY
from tests.support.networks import Answering, Tiny

pytestmark = pytest.mark.slow

CONV = "torch.nn.Conv2d(3, 3, 3, padding=1)"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def test_relative_imports_and_packages_of_the_repository(basicsr, tmp_path):
    """Packages around the file do not run; its own `basicsr` comes before the installed one, which stays as it was."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("basicsr", "common")}
    write(tmp_path, {
        "basicsr/__init__.py": "raise RuntimeError('not to be run')",
        "basicsr/models/__init__.py": "raise RuntimeError('nor this')",
        "basicsr/models/parts.py": f"import torch\ndef conv(): return {CONV}",
        "basicsr/models/net.py": """
            import torch
            from .parts import conv
            from basicsr.models import parts
            from common import act
            class Net(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.one, self.two = conv(), parts.conv()
                def forward(self, x):
                    return x + self.two(act(self.one(x)))
            """,
        "basicsr/models/common.py": "import torch\nact = torch.relu",
    })  # fmt: skip
    network = Network.from_import(f"{tmp_path}/basicsr/models/net.py:Net")
    assert network.scale == 1
    write(tmp_path / "other", {"common.py": "act = 2", "net.py": "from common import act\ndef Net(): return act"})
    with pytest.raises(NetworkError, match="Net built a int"):  # and not the first repository's common
        Network.from_import(f"{tmp_path}/other/net.py:Net")
    after = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("basicsr", "common")}
    assert after == before


def test_a_repository_without_packages_comes_before_what_is_installed(basicsr, tmp_path):
    files = {
        "basicsr/models/archs/parts.py": f"import torch\ndef conv(): return {CONV}",
        "basicsr/models/archs/net.py": "from basicsr.models.archs.parts import conv as Net",
    }
    write(tmp_path, files)
    assert Network.from_import(f"{tmp_path}/basicsr/models/archs/net.py:Net").scale == 1


@pytest.mark.parametrize("call", ["__import__('ops.OSA', fromlist=['x'])", "__import__('ops.' + kind, fromlist=['x'])",
    "importlib.import_module(f'ops.{kind}')", "importlib.import_module(''.join(['o', 'ps.', kind]))"])  # fmt: skip
def test_a_constructor_imports_by_name(tmp_path, call):
    """OmniSR's constructor imports its blocks by a name that comes with the arguments."""
    write(tmp_path / "repository", {
        "README.md": "",
        "ops/__init__.py": "",
        "ops/OSA.py": "import torch\nfrom ops.parts import conv\ndef block(): return conv()",
        "ops/parts.py": f"import torch\ndef conv(): return {CONV}",
        "components/net.py": f"""
            import importlib, torch
            class Net(torch.nn.Module):
                def __init__(self, kind="OSA"):
                    super().__init__()
                    self.body = {call}.block()
                def forward(self, x):
                    return x + self.body(x)
            """,
    })  # fmt: skip
    before, path = set(sys.modules), list(sys.path)
    assert Network.from_import(f"{tmp_path}/repository/components/net.py:Net").scale == 1
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] == "ops"} and sys.path == path
    if "kind" not in call:
        return
    with pytest.raises(NetworkError, match=r"cannot build Net.*ops"):
        Network.from_import(f"{tmp_path}/repository/components/net.py:Net", {"kind": "none"})


class Fusing(torch.nn.Module):
    """A class whose own load_state_dict adds two kernels of the file to one, as NTIRE's ARRLFN does."""

    strict_names = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x)

    def load_state_dict(self, state, strict=True):
        fused = {f"conv.{kind}": state[f"one.{kind}"] + state[f"two.{kind}"] for kind in ("weight", "bias")}
        return super().load_state_dict(fused, strict=strict)


class Silent(Fusing):
    """Its own load_state_dict takes what fits and says nothing."""

    def load_state_dict(self, state, strict=True):
        torch.nn.Module.load_state_dict(self, {k: v for k, v in state.items() if k == "conv.bias"}, strict=False)


class Hooked(torch.nn.Module):
    """A hook of a part renames what older files have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self._register_load_state_dict_pre_hook(self.rename)

    def forward(self, x):
        return self.conv(x)

    def rename(self, state, prefix, *rest):
        for key in [key for key in state if key.startswith(f"{prefix}old")]:
            state[key.replace("old", "conv")] = state.pop(key)


@pytest.mark.slow
def test_a_class_that_transforms_names_is_asked(tmp_path):
    one, two = torch.nn.Conv2d(3, 3, 3), torch.nn.Conv2d(3, 3, 3)
    both = {f"{n}.{k}": v for n, part in (("one", one), ("two", two)) for k, v in part.state_dict().items()}
    torch.save({"params": both}, tmp_path / "net.pth")
    here = f"{__file__}:"
    network = Network.from_import(here + "Fusing", weights=tmp_path / "net.pth")
    assert torch.equal(network.module.conv.weight, one.weight + two.weight)
    torch.save({"params": {f"module.{k}": v for k, v in both.items()}}, tmp_path / "wrapped.pth")
    network = Network.from_import(here + "Fusing", weights=tmp_path / "wrapped.pth")
    assert torch.equal(network.module.conv.weight, one.weight + two.weight)
    torch.save({f"old.{k}": v for k, v in one.state_dict().items()}, tmp_path / "old.pth")
    network = Network.from_import(here + "Hooked", weights=tmp_path / "old.pth")
    assert torch.equal(network.module.conv.weight, one.weight)
    with pytest.raises(
        CheckpointError, match=r"not in the file.*Its own load_state_dict says: .*conv\.weight was left"
    ):
        Network.from_import(here + "Silent", weights=tmp_path / "net.pth")
    del both["two.bias"]
    torch.save(both, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"Its own load_state_dict says: .*two\.bias"):
        Network.from_import(here + "Fusing", weights=tmp_path / "less.pth")


def test_settings_functions_and_scripts(tmp_path):
    write(tmp_path, {"net.py": f"""
        import argparse, torch
        parser = argparse.ArgumentParser()
        parser.add_argument("--depth", type=int, default=1)
        known = parser.parse_args()
        class Net(torch.nn.Module):
            def __init__(self, args, kind="plain"):
                super().__init__()
                self.body = torch.nn.Sequential(*({CONV} for _ in range(args.depth)))
                self.factor, self.kind = args.scale[0] * args.inner.gain, kind
                self.cuda()
            def forward(self, x):
                return self.body(x.cuda()) * self.factor
        def make_model(args):
            return Net(args)
        """})  # fmt: skip
    arguments = {"depth": 2, "scale": [2], "inner": {"gain": 0.5}, "kind": "odd"}
    for name in ("Net", "make_model"):
        given = arguments if name == "Net" else {k: v for k, v in arguments.items() if k != "kind"}
        network = Network.from_import(f"{tmp_path}/net.py:{name}", given)
        assert len(network.module.body) == 2 and network.module.factor == 1 and network.scale == 1
    assert Network.from_import(f"{tmp_path}/net.py:Net", arguments).module.kind == "odd"
    with pytest.raises(NetworkError, match="depth is not among the settings given"):
        Network.from_import(f"{tmp_path}/net.py:Net", {"scale": [2]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_package_at_all", "Install what it needs .no_such_package_at_all."),
        ("raise SystemExit(3)", "ends the program when imported"),
        ("class Nett: pass", "has no Net"),
    ],
)
def test_what_cannot_be_imported(tmp_path, text, message):
    write(tmp_path, {"net.py": text})
    with pytest.raises(NetworkError, match=message):
        Network.from_import(f"{tmp_path}/net.py:Net")


def test_a_network_of_one_size(small_lr):
    class Fixed(Tiny):
        def forward(self, x):
            assert x.shape[-2:] == (48, 48), "only 48x48"
            return super().forward(x)

    network = Network(Fixed())
    assert (network.multiple, network.minimum, network.square) == (48, 48, True)
    result = sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=3)
    assert result.attribution.shape == (3, 24, 24) and result.map.max() > 0
    with pytest.raises(NetworkError, match="only 48x48"):
        network(torch.rand(1, 3, 64, 64))


def test_the_range_of_a_trained_network(tmp_path, target):
    """Biases of the size of 8-bit values tell that it was trained on [0, 255]; 1 where nothing does."""
    source = REPOSITORY / "tests/support/networks.py"

    def save(gain: float) -> Path:
        module = Tiny()
        with torch.no_grad():
            module.tail.weight.zero_()
            module.tail.bias.fill_(gain)
        torch.save(module.state_dict(), tmp_path / "net.pth")
        return tmp_path / "net.pth"

    assert Network.from_import(f"{source}:Tiny", weights=save(5.0)).input_range == 255
    assert Network.from_import(f"{source}:Tiny", weights=save(0.0)).input_range == 1
    assert Network.from_import(f"{source}:Tiny", weights=save(5.0), input_range=1).input_range == 1
    assert target.input_range == 1


class TestDoctor:
    @pytest.mark.slow
    def test_all_works(self, tmp_path, capsys):
        assert main(["doctor", "demo:baseline"]) == 0
        said = capsys.readouterr().out
        for word in ("taps  works", "lam   works: a map", "ddr   works", "faig  works", "scale        4"):
            assert word in said, said

    def test_not_all_works(self, tmp_path, capsys):
        write(tmp_path, {"net.py": f"""
            import torch
            class Net(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.conv = {CONV}
                def forward(self, x):
                    return self.conv(x).detach()
            class Judge(Net):
                def forward(self, x):
                    return self.conv(x).mean((2, 3))
            """})  # fmt: skip
        assert main(["doctor", f"{tmp_path}/net.py:Net"]) == 3
        said = capsys.readouterr().out
        assert "lam   does not work: no gradient reaches" in said and "ddr   works" in said
        assert main(["doctor", f"{tmp_path}/net.py:Judge"]) == 3
        said = capsys.readouterr().out
        assert "lam   does not work: no image comes out" in said and "ddr   works" in said and "scale=1" in said
        assert main(["doctor", f"{tmp_path}/none.py:Net"]) == 2
        assert "no file" in capsys.readouterr().err

    def test_cautions(self):
        noisy = examine(Answering(lambda y: y + torch.rand_like(y) * 0.1))
        assert any("draws random numbers" in text for text in noisy.warnings)
        mixing = examine(Answering(lambda y: y + y.mean(0, keepdim=True)))
        assert any("images of one batch change each other's output" in text for text in mixing.warnings)

        class Partly(Tiny):
            def forward(self, x):
                return super().forward(x) + self.act(self.head(x)).detach().mean()

        assert not any("gradient ends" in text for text in examine(Tiny()).warnings)
        assert examine(Partly()).works
