"""Degradations: written as text, graded, the same bits on any split, before or after the downsampling."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from sr_hooks.core.registry import registered
from sr_hooks.degradations.parsing import make_lr, parse_degradation, parse_degradations
from sr_hooks.degradations.step import Degradation, Step
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.images.image import downsample

AERIS_DIGEST = "1737776970982f9654fadf8f1f2c57fb666fe7cdbddb66c1399a7d321b09fdf3"
ALL = [
    "clean", "blur:2", "aniso:3,1,45", "noise:20", "poisson:20", "jpeg:40", "down:nearest", "rain:2", "classical",
    "shuffled:1", "second:1", "aeris", "blur:2+noise:10", "noise:20@hr", "blur:1@lr",
]  # fmt: skip


@pytest.fixture(scope="module")
def hr(photo: torch.Tensor) -> torch.Tensor:
    """Three patches of 48x48."""
    return torch.cat([photo[..., y : y + 48, x : x + 48] for y, x in ((60, 40), (100, 90), (20, 150))])


@pytest.mark.parametrize("text", ALL)
def test_the_same_bits_on_any_split(hr: torch.Tensor, text: str) -> None:
    whole = make_lr(hr, text, scale=4, seed=5)
    parts = [make_lr(hr[:1], text, scale=4, seed=5), make_lr(hr[1:], text, scale=4, seed=5, first=1)]
    assert whole.shape == (3, 3, 12, 12) and whole.dtype == torch.float32
    assert torch.equal(whole, torch.cat(parts))
    assert float(whole.min()) >= 0 and float(whole.max()) <= 1


@pytest.mark.parametrize("text", ["noise:20", "poisson:20", "rain:2", "classical", "shuffled", "second", "aeris"])
def test_randomness_depends_on_seed_and_image(hr: torch.Tensor, text: str) -> None:
    one = make_lr(hr[:1], text, scale=2, seed=0)
    assert not torch.equal(one, make_lr(hr[:1], text, scale=2, seed=1))
    assert not torch.equal(one, make_lr(hr[:1], text, scale=2, seed=0, first=1))


@pytest.mark.parametrize("text", ["blur:2", "aniso:3,1,45", "jpeg:40", "down:area"])
def test_what_is_not_random_ignores_the_seed(hr: torch.Tensor, text: str) -> None:
    assert torch.equal(make_lr(hr, text, scale=2, seed=0), make_lr(hr, text, scale=2, seed=9))


@pytest.mark.parametrize(
    ("weak", "strong"),
    [("blur:1", "blur:3"), ("noise:5", "noise:40"), ("poisson:5", "poisson:40"), ("jpeg:90", "jpeg:10"),
     ("rain:0.5", "rain:4"), ("classical:0.3", "classical:2"), ("aniso:1,1,0", "aniso:4,1,0")],
)  # fmt: skip
def test_levels_grade(hr: torch.Tensor, weak: str, strong: str) -> None:
    clean = make_lr(hr, "clean", scale=2)
    distance = [float((make_lr(hr, text, scale=2) - clean).square().mean()) for text in (weak, strong)]
    assert 0 < distance[0] < distance[1]


def test_clean_is_the_bicubic_downsampling(hr: torch.Tensor) -> None:
    assert torch.equal(make_lr(hr, "clean", scale=4), downsample(hr, 4))
    assert torch.equal(make_lr(hr, "clean", scale=1), hr)


def test_noise_has_its_std_and_its_place(hr: torch.Tensor) -> None:
    grey = torch.full((1, 3, 128, 128), 0.5)
    after, before = (make_lr(grey, text, scale=2, seed=0) for text in ("noise:20", "noise:20@hr"))
    assert float(after.std()) * 255 == pytest.approx(20, rel=0.03)
    assert float(before.std()) * 255 < 14  # averaged by the downsampling
    assert float(make_lr(grey, "noise:20", scale=1, seed=0).std()) * 255 == pytest.approx(20, rel=0.03)


def test_poisson_noise_follows_intensity() -> None:
    dark, white = (torch.full((1, 1, 128, 128), value) for value in (0.25, 1.0))
    std = [float(make_lr(image, "poisson:20", scale=1, seed=0, clip=False).std()) * 255 for image in (dark, white)]
    assert std[1] == pytest.approx(20, rel=0.03) and std[0] == pytest.approx(10, rel=0.03)


def test_blur_is_in_hr_pixels_and_keeps_the_mean() -> None:
    spot = torch.zeros(1, 1, 81, 81)
    spot[..., 40, 40] = 1
    spread = make_lr(spot, "blur:3", scale=1)[0, 0].double()
    axis = torch.arange(81, dtype=torch.float64) - 40
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    assert float((spread.sum(0) * axis**2).sum()) ** 0.5 == pytest.approx(3, rel=0.02)
    narrow = make_lr(spot, "aniso:4,1,0", scale=1)[0, 0].double()
    stds = [float((narrow.sum(d) * axis**2).sum()) ** 0.5 for d in (0, 1)]
    assert stds[0] > 3.5 and stds[1] == pytest.approx(1, rel=0.05)
    turned = make_lr(spot, "aniso:4,1,90", scale=1)
    assert torch.allclose(turned[0, 0].T.double(), narrow, atol=1e-6)


def test_a_chain_does_what_comes_before_first(hr: torch.Tensor) -> None:
    blurred = make_lr(hr, "blur:2", scale=2)
    both = make_lr(hr, "noise:10+blur:2", scale=2, seed=3, clip=False)
    assert float((both - blurred).std()) * 255 == pytest.approx(10, rel=0.1)
    assert float(make_lr(hr, "blur:2@lr", scale=2).std()) < float(blurred.std())  # a pixel there is two here


def test_clipping_and_rounding_can_be_switched(hr: torch.Tensor) -> None:
    assert float(make_lr(hr, "noise:60", scale=2, clip=False).max()) > 1
    rounded = make_lr(hr, "noise:10", scale=2, quantise=True) * 255
    assert torch.allclose(rounded, rounded.round(), atol=1e-4)
    assert not torch.allclose(make_lr(hr, "noise:10", scale=2) * 255, rounded, atol=1e-4)


def test_grey_images_and_odd_sizes(hr: torch.Tensor) -> None:
    for text in ALL:
        assert make_lr(hr[:1, :1, :47, :45], text, scale=2).shape == (1, 1, 23, 22)


def test_functions_and_steps_are_degradations(hr: torch.Tensor) -> None:
    def darker(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        return image * float(rng.uniform(0.4, 0.6))

    made = make_lr(hr, darker, scale=2, seed=1)
    assert parse_degradation(darker).name == "darker" and float(made.mean()) < 0.7 * float(downsample(hr, 2).mean())
    assert torch.equal(made[1:2], make_lr(hr[1:2], darker, scale=2, seed=1, first=1))
    with pytest.raises(OptionError, match="must return a tensor of shape"):
        make_lr(hr, lambda image, rng: image[..., :4], scale=2)
    given = Degradation((Step("half", lambda image, rng, size: image / 2, "lr"),))
    assert torch.allclose(make_lr(hr, given, scale=2), downsample(hr, 2) / 2)


def test_names_are_of_one_form() -> None:
    assert parse_degradation("blur:2.0").name == "blur:2"
    assert parse_degradation("noise:20@lr").name == "noise:20"
    assert parse_degradation("noise:20@hr").name == "noise:20@hr"
    assert [d.name for d in parse_degradations("clean blur:2")] == ["clean", "blur:2"]
    assert (parse_degradation("blur:2").kind, parse_degradation("blur:2").level) == ("blur", 2)
    assert parse_degradation("jpeg:40").level == 60 and parse_degradation("clean").level == 0
    assert parse_degradation("blur:2+noise:5").level is None


@pytest.mark.parametrize(
    ("given", "message"),
    [("blurr:2", "did you mean blur"), ("blur", "takes STD"), ("blur:x", "takes STD"), ("blur:0", "above 0"),
     ("jpeg:140", "1 to 100"), ("aniso:2", "separated by commas"), ("down:sinc", "bicubic, bilinear"),
     ("noise:20@sr", "@hr and @lr"), ("down:area@lr", "downsampling itself"), ("classical+second", "downsamples twice"),
     ("aeris:4,1", "in this order"), ("aeris:0.5,2", "at least 1"), ("aeris:2", "SMALLEST,LARGEST"),
     ("", "not understood"), (7, "not understood")],
)  # fmt: skip
def test_what_is_not_understood(given: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_degradation(given)  # type: ignore[arg-type]


def test_other_bad_input(hr: torch.Tensor) -> None:
    with pytest.raises(OptionError, match="given twice"):
        parse_degradations(["blur:2", "blur:2.0"])
    with pytest.raises(OptionError, match="no degradation given"):
        parse_degradations([])
    with pytest.raises(OptionError, match="must be 0 or more"):
        make_lr(hr, "clean", scale=2, seed=-1)
    with pytest.raises(ImageError, match="too small"):
        make_lr(hr, "clean", scale=64)
    with pytest.raises(ImageError, match=r"divide an 8-bit image by 255"):
        make_lr(hr * 255, "clean", scale=2)


def test_a_plugin_adds_a_kind(hr: torch.Tensor) -> None:
    class Plugin:
        @hookimpl
        def register_degradations(self) -> dict[str, object]:
            return {"negative": lambda argument: Step("negative", lambda image, rng, size: 1 - image, "hr")}

    with registered(Plugin()):
        assert torch.allclose(make_lr(hr, "negative", scale=2), 1 - downsample(hr, 2), atol=1e-5)
    with pytest.raises(OptionError, match="negative"):
        make_lr(hr, "negative", scale=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_aeris_gives_one_image_on_every_machine(threads: int) -> None:
    """The digest was computed once: a machine, version or number of threads with other images fails here."""
    i, j = torch.arange(48)[:, None], torch.arange(48)
    hr = torch.stack([i + j, (i - j).abs(), i * j % 97])[None].float() / 96
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        images = make_lr(torch.cat([hr] * 12), "aeris", scale=2, seed=3).mul(255).round().byte()
    finally:
        torch.set_num_threads(before)
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == AERIS_DIGEST


def test_aeris_draws_scale_kernel_and_noise_as_published(hr: torch.Tensor) -> None:
    """With one scale of 1 and a flat image only the noise is left: its std is uniform between 0 and 25 of 255."""
    flat = torch.full((1, 3, 32, 32), 0.5)
    stds = [float(make_lr(flat, "aeris:1,1", scale=1, seed=seed).std()) * 255 for seed in range(60)]
    assert min(stds) < 3 and 21 < max(stds) < 27 and 10 < sum(stds) / 60 < 15
    details = [float(make_lr(hr[:1], f"aeris:{s},{s}", scale=1, seed=1).diff().square().mean()) for s in (1, 4)]
    assert details[1] < details[0], "a larger scale leaves less detail"
