"""Many images or copies, a batch at a time: equal to one by one, lazily, on little memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sr_hooks.core.seeds import generator, torch_generator
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import ImageError, OptionError, TapError, WindowError
from sr_hooks.hooks.activations import features
from sr_hooks.images.windows import Window
from sr_hooks.inference.batches import groups, in_batches
from sr_hooks.inference.perturbation import blocks_of, replace_blocks, run_perturbed
from sr_hooks.inference.streaming import stream
from sr_hooks.networks.network import Network
from tests.conftest import hooks_on
from tests.support.networks import Tiny
from tests.support.waits import Waits


@pytest.fixture
def network() -> Network:
    return Network(Tiny())


def test_streamed_features_are_those_of_single_images(network, photo):
    images = [photo[..., i : i + 20, i : i + 16 + 4 * (i == 3)] for i in range(6)]  # the fourth is of another size
    seen = list(stream(network, images, ["act", "tail:in"], batch=2, output=True))
    assert [(s.first, len(s.images)) for s in seen] == [(0, 2), (2, 1), (3, 1), (4, 2)]
    for s in seen:
        for row in range(len(s.images)):
            image = images[s.first + row]
            alone = features(network.module, lambda image=image: network(image), ["act"])
            assert torch.allclose(s.features["act"][row], alone["act"][0], atol=1e-6)
            assert s.output is not None and torch.allclose(s.output[row], network(image)[0], atol=1e-6)
    assert hooks_on(network.module) == 0


def test_streaming_is_lazy_and_stops_at_the_tap(network):
    read, ran = [], []
    network.scale  # noqa: B018  inferred by now
    network.module.tail.register_forward_hook(lambda *_: ran.append(1))

    def files():
        for path in photographs() * 100:
            read.append(path)
            yield path

    for seen in stream(network, files(), ["head"], batch=2):
        assert seen.output is None and not seen.features["head"].requires_grad
        break
    assert len(read) <= 3 and not ran and hooks_on(network.module) == 1


def test_streaming_refuses_what_it_cannot_see(network, small_lr):
    with pytest.raises(ImageError, match="takes 1"):
        list(stream(Network(Tiny(channels=1)), small_lr, ["head"]))
    with pytest.raises(TapError, match="no layer 'heda'"):
        list(stream(network, small_lr, ["heda"]))


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_repeats_nothing():
    sizes, done = [], []

    def compute(part: slice) -> list[int]:
        sizes.append(part.stop - part.start)
        if sizes[-1] > 3:
            raise MemoryError
        assert not torch.is_grad_enabled()
        return list(range(part.start, part.stop))

    for part, answer in in_batches(10, compute, batch=8):
        assert answer == list(range(part.start, part.stop))
        done += answer
    assert done == list(range(10)) and sizes == [8, 4, 2, 2, 2, 2, 2]
    with pytest.raises(MemoryError):
        list(in_batches(2, lambda part: (_ for _ in ()).throw(MemoryError()), batch=1))
    with pytest.raises(OptionError, match="at least 1"):
        list(in_batches(2, compute, batch=0))


def test_groups_keep_order_and_sizes():
    images = [torch.zeros(n, 1, side, side) for n, side in ((3, 4), (1, 4), (2, 5), (1, 4))]
    assert [tuple(g.shape[::3]) for g in groups(images, 2)] == [(2, 4), (2, 4), (2, 5), (1, 4)]


def test_replaced_blocks_and_their_outputs(network, small_lr):
    blocks = blocks_of(24, 24, 10)
    assert len(blocks) == 9 and blocks[-1] == Window(20, 20, 4, 4) and blocks[1] == Window(0, 10, 10, 10)
    contents = [small_lr.flip(-1)[0, :, : b.height, : b.width] for b in blocks]
    copies = replace_blocks(small_lr, blocks, contents)
    for copy, block, content in zip(copies, blocks, contents, strict=True):
        expected = small_lr[0].clone()
        rows, columns = slice(block.top, block.top + block.height), slice(block.left, block.left + block.width)
        expected[:, rows, columns] = content
        assert torch.equal(copy, expected)
    with torch.no_grad():
        expected = torch.stack([network(copy[None]).mean() for copy in copies])
    for batch in (1, 4, 100):
        found = run_perturbed(network, small_lr, blocks, contents.__getitem__, lambda y: y.mean((1, 2, 3)), batch=batch)
        assert torch.allclose(found, expected, atol=1e-6) and not found.requires_grad


def test_blocks_that_do_not_fit(small_lr):
    with pytest.raises(WindowError, match="leaves"):
        replace_blocks(small_lr, [Window(20, 0, 8, 8)], [torch.zeros(3, 8, 8)])
    with pytest.raises(ImageError, match="does not fit a block of 3 channels and 8x8"):
        replace_blocks(small_lr, [Window(0, 0, 8, 8)], [torch.zeros(3, 8, 7)])
    grey = replace_blocks(small_lr, [Window(0, 0, 8, 8)], [torch.full((3, 1, 1), 0.5)])
    assert bool((grey[..., :8, :8] == 0.5).all())


def test_streams_of_numbers():
    assert np.array_equal(generator(3, 1, "blur").random(4), generator(3, 1, "blur").random(4))
    several = [generator(3, 1, "blur"), generator(3, 2, "blur"), generator(3, 1, "noise"), generator(4, 1, "blur")]
    assert len({g.integers(2**60) for g in several}) == 4
    first, second = (torch.rand(3, generator=torch_generator(0, "x")) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(OptionError, match="0 or more"):
        generator(-1)


def test_many_copies_wait_once_for_an_accelerator(network, photo):
    """Where a copy's measure is a few numbers; maps leave the device batch by batch."""
    image = photo[..., :16, :16]
    blocks = blocks_of(16, 16, 4)
    network.scale  # noqa: B018  inferred before waits are counted

    def waits(measure) -> dict[str, int]:
        with Waits() as counted:
            run_perturbed(network, image, blocks, lambda k: torch.zeros(3, 1, 1), measure, batch=4)
        return counted.counts

    assert waits(lambda output: output.mean(dim=(1, 2, 3))) == {"copy to the host": 1}
    assert waits(lambda output: output)["copy to the host"] >= 4
