"""Augmentation: the same for each image however the epoch is cut, equal to torchvision's where it has the like."""

import math
from itertools import pairwise
from pathlib import Path

import kornia.augmentation as K
import pytest
import torch
import visionlab.conf
from hydra.utils import instantiate
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from visionlab.config import compose
from visionlab.data import augment as augment_module
from visionlab.data import geometric
from visionlab.data.augment import Augmentation
from visionlab.data.color import ColorJitter
from visionlab.data.draws import keys, uniforms
from visionlab.data.geometric import Crop, Flip, ResizedCrop, Warp
from visionlab.data.mix import Erasing, Mix
from visionlab.data.policy import RandAugment
from visionlab.errors import ConfigError

CHOICES = sorted(path.stem for path in (Path(visionlab.conf.__path__[0]) / "augment").glob("[!_]*.yaml"))
COUNT = 96
# kornia's JPEG multiplies matrices whose rounding depends on the number of images
TOLERANCE = {"jpeg": 1e-6}


def images(height=24, width=20, count=COUNT, seed=0):
    return torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(seed)).byte()


def labels(count=COUNT):
    return torch.arange(count) % 5


def chosen(name, *overrides):
    return instantiate(compose([f"augment={name}", *overrides]).augment)


def run(augment, x, places, *, seed=7, epoch=3):
    return augment(x, labels(len(x)), seed=seed, epoch=epoch, places=places, classes=5)


def as_float(x):
    return x if x.is_floating_point() else x / 255


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_changes_images_within_their_range(name):
    x, places = images(), torch.arange(COUNT)
    before = x.clone()
    y, target = run(chosen(name), x, places)
    assert torch.equal(x, before), "the caller's images were changed"
    assert y.shape == x.shape and torch.equal(target, labels())
    assert y.min() >= 0 and y.max() <= (1 if y.is_floating_point() else 255)
    changed = (as_float(y) - as_float(x)).abs().amax((1, 2, 3)) > 0.02
    assert changed.float().mean() > 0.3 if name != "none" else y is x


class NoDouble(TorchDispatchMode):
    """Refuses double precision on a device, as Apple's GPUs do."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, torch.Tensor) and result.device.type == "cuda" and result.dtype == torch.float64:
                raise TypeError(f"{function} makes float64")
        return results


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "jpeg"])  # kornia's asks for values
def test_a_device_without_double_precision_will_do(name, monkeypatch):
    """The tensors have no contents, so it takes no such device, and no other one either."""
    monkeypatch.setattr(geometric, "_WITHOUT_DOUBLE", ("cuda",), raising=False)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), NoDouble():
            y, _ = run(chosen(name), images().to("cuda"), torch.arange(COUNT))
    finally:
        geometric._coordinates.cache_clear()
        geometric._corners.cache_clear()
    assert y.device.type == "cuda" and y.shape == images().shape


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("switches", [[], ["augment.mixup=0.4", "augment.cutmix=1", "augment.erasing=0.5"]])
def test_an_image_does_not_depend_on_how_the_epoch_is_cut(name, switches, monkeypatch):
    places = torch.arange(1000, 1000 + COUNT)
    whole, targets = run(chosen(name, *switches), images(), places)
    monkeypatch.setattr(augment_module, "_CHUNK", 5000)
    cuts = [0, 2, 4, 34, 62, COUNT] if switches else [0, 1, 2, 33, 62, COUNT]
    augment = chosen(name, *switches)
    parts = [run(augment, images()[a:b], places[a:b]) for a, b in pairwise(cuts)]
    if not switches:
        assert (torch.cat([part for part, _ in parts]).float() - whole.float()).abs().max() <= TOLERANCE.get(name, 0)
    else:  # the labels of `run` depend on the cut, so compare the images only
        torch.testing.assert_close(torch.cat([part for part, _ in parts]), whole, rtol=0, atol=TOLERANCE.get(name, 0))
        assert targets.shape == (COUNT, 5)


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "none"])
def test_each_place_epoch_and_seed_draws_anew(name):
    same = images(count=1).expand(64, -1, -1, -1)
    places = torch.arange(64)
    y, _ = run(chosen(name), same, places)
    least = 2 if name == "flip" else 20
    assert len(torch.unique(y, dim=0)) >= least, "neighbours got the same parameters"
    for other in ({"seed": 8}, {"epoch": 4}):
        assert not torch.equal(run(chosen(name), same, places, **other)[0], y)
    assert torch.equal(run(chosen(name), same, places)[0], y)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    for name in ("cifar_strong", "jpeg"):
        run(chosen(name), images(), torch.arange(COUNT))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_further_step_leaves_the_draws_of_the_others():
    x, places = images(), torch.arange(COUNT)
    flipped, _ = run(Augmentation(steps={"flip": Flip()}), x, places)
    both, _ = run(Augmentation(steps={"crop": Crop(padding=1), "flip": Flip()}), x, places)
    changed = [not torch.equal(a[:, 2:-2, 2:-2], b[:, 2:-2, 2:-2]) for a, b in zip(flipped, x, strict=True)]
    centre = both[:, :, 1:-1].float()
    nearer_flipped = [
        min(
            (c[..., 1 + s : 19 + s] - f[:, 1 + t : 23 + t, 1:19].float()).abs().mean()
            for s in (-1, 0, 1)
            for t in (-1, 0, 1)
        )
        < 1
        for c, f in zip(centre, flipped, strict=True)
    ]
    assert all(nearer_flipped) and any(changed) and not all(changed)


@pytest.mark.parametrize(
    "module",
    [
        K.RandomPerspective(0.4, p=0.5),
        K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=0.5),
        K.RandomElasticTransform(p=0.5),
        K.ColorJitter(0.2, 0.2, 0.2, 0.1, p=0.7),
        K.RandomGaussianNoise(std=0.1, p=0.5),
        K.RandomErasing(p=0.5),
        K.RandomResizedCrop((24, 20), p=1.0),
        K.AugmentationSequential(K.RandomHorizontalFlip(), K.RandomAffine(20.0)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_modules_of_kornia_draw_by_place(module):
    places = torch.arange(200, 200 + COUNT)  # over the border of a block, at 256
    augment = Augmentation(steps={"module": module})
    whole, _ = run(augment, images(), places)
    augment = Augmentation(steps={"module": module})
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0)).sort().values
    parts = [run(augment, images()[order[a:b]], places[order[a:b]])[0] for a, b in pairwise([0, 1, 20, 57, COUNT])]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
    same, _ = run(augment, images(count=1).expand(40, -1, -1, -1), torch.arange(40))
    assert len(torch.unique(same, dim=0)) > 15


def test_modules_of_kornia_stay_within_the_range():
    y, _ = run(Augmentation(steps={"noise": K.RandomGaussianNoise(std=0.5, p=1.0)}), images(), torch.arange(COUNT))
    assert y.min() == 0 and y.max() == 1


def test_mixed_pairs_are_neighbours_and_labels_tell_the_shares():
    x, places = images(), torch.arange(COUNT)
    y, target = run(chosen("none", "augment.mixup=1"), x, places)
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.sum(1), torch.ones(COUNT))
    own = target.gather(1, labels()[:, None]).view(-1, 1, 1, 1)  # neighbours never share a class here
    partner = x[places ^ 1] / 255
    torch.testing.assert_close(y, own * (x / 255) + (1 - own) * partner, atol=1e-5, rtol=0)
    assert own.min() < 0.1 and own.max() > 0.9 and own.std() > 0.2

    y, target = run(chosen("none", "augment.cutmix=1"), x, places)
    own = target.gather(1, labels()[:, None]).squeeze(1)
    kept = (y - x / 255).abs().amax(1) < 1e-6
    pasted = (y - partner).abs().amax(1) < 1e-6
    assert (kept | pasted).all(), "cutmix made pixels of its own"
    torch.testing.assert_close(kept.float().mean((1, 2)), own, atol=0.03, rtol=0)  # a few pixels are equal by chance


@pytest.mark.parametrize("weight", [0.25, 0.64, 0.75])
def test_the_rectangle_of_cutmix_has_the_area_that_was_drawn(weight):
    """Of Beta(1, 1), which is uniform; in the middle, so that no border cuts it."""
    u = torch.tensor([[weight, 0.5, 0.5, 0.0]]).expand(2, -1)
    x = torch.stack([torch.zeros(3, 40, 40), torch.ones(3, 40, 40)])
    y, target = Mix(mixup=0.0, cutmix=1.0)(x, torch.tensor([0, 1]), u, torch.tensor([0, 1]), 2)
    assert target[0, 0].item() == pytest.approx(weight, abs=0.03)
    assert 1 - y[0].mean().item() == pytest.approx(target[0, 0].item(), abs=1e-5)


@pytest.mark.parametrize("what", ["erasing", "cutmix"])
def test_rectangles_lie_anywhere_in_an_image_that_is_not_square(what):
    """By hand, for four draws: height 12, width 40."""
    images = torch.stack([torch.zeros(3, 12, 40), torch.ones(3, 12, 40)]).repeat(2, 1, 1, 1)
    if what == "cutmix":
        mix = Mix(mixup=0.0, cutmix=1.0)  # of Beta(1, 1) the quantiles are the numbers themselves
        u = torch.tensor([[0.75, 0.5, 0.25, 0.0]] * 4)  # a quarter of the area, half of each side
        changed, _ = mix(images, torch.tensor([0, 1, 0, 1]), u, torch.arange(4), 2)
        top, left, tall, wide = 3, 0, 6, 20  # round(0.5 * 12 - 3), round(0.25 * 40 - 10)
    else:
        area, ratio = (0.12 - 0.02) / (0.33 - 0.02), (math.log(0.9) - math.log(0.3)) / (math.log(3.3) - math.log(0.3))
        u = torch.tensor([[0.0, area, ratio, 0.99, 0.5]] * 4)
        changed = Erasing(p=1.0)(images, u)
        tall, wide = round((0.12 * 480 * 0.9) ** 0.5), round((0.12 * 480 / 0.9) ** 0.5)
        top, left = math.floor(0.99 * (12 - tall + 1)), math.floor(0.5 * (40 - wide + 1))
    expected = torch.zeros(12, 40, dtype=torch.bool)
    expected[top : top + tall, left : left + wide] = True
    assert torch.equal((changed != images)[0, 0], expected)


def test_with_mixup_and_cutmix_each_image_gets_one_of_the_two():
    x, places = images(), torch.arange(COUNT)
    y, _ = run(chosen("none", "augment.mixup=1", "augment.cutmix=1"), x, places)
    pasted = ((y - x / 255).abs().amax(1) < 1e-6) | ((y - x[places ^ 1] / 255).abs().amax(1) < 1e-6)
    assert 0.3 < pasted.flatten(1).all(1).float().mean() < 0.7


def test_an_image_without_its_neighbour_stays_alone():
    x = images(count=3)
    y, target = run(chosen("none", "augment.mixup=1"), x, torch.tensor([4, 5, 6]))
    torch.testing.assert_close(y[2], x[2] / 255)
    assert target[2].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixing_weights_have_the_distribution_of_the_paper(alpha):
    x = torch.stack([torch.zeros(3, 1, 1), torch.ones(3, 1, 1)]).repeat(10_000, 1, 1, 1)
    y, _ = run(Augmentation(mixup=alpha), x, torch.arange(20_000))
    weights = (1 - y[0::2, 0]).flatten()
    assert weights.mean() == pytest.approx(0.5, abs=0.02)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)  # of Beta(alpha, alpha)


def test_erasing_covers_the_share_of_images_and_the_areas_of_the_paper():
    x = torch.zeros(2000, 3, 40, 40, dtype=torch.uint8)
    y, _ = run(chosen("none", "augment.erasing=0.3"), x, torch.arange(2000))
    area = (y[:, 0] == 128).float().mean((1, 2))
    erased = area > 0
    assert erased.float().mean() == pytest.approx(0.3, abs=0.04)
    assert area[erased].min() > 0.01 and area[erased].max() < 0.36
    assert area[erased].mean() == pytest.approx(0.175, abs=0.015)


def test_draws_are_uniform_and_independent():
    u = uniforms(torch.arange(50_000), keys("seed", 0, count=6)).double()
    assert u.min() >= 0 and u.max() < 1
    counts = torch.histc(u[:, 0], 100, 0, 1)
    assert ((counts - 500) ** 2 / 500).sum() < 150  # chi-square with 99 degrees of freedom: one in 1,000 is above 149
    assert torch.corrcoef(u.T).triu(1).abs().max() < 0.02
    assert torch.corrcoef(torch.stack([u[:-1, 0], u[1:, 0]]))[0, 1].abs() < 0.02
    assert torch.equal(uniforms(torch.tensor([17]), keys("seed", 0, count=6))[0].double(), u[17])


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Flip(horizontal=1.5), "horizontal"),
        (lambda: Crop(padding=0), "padding"),
        (lambda: Warp(scale=(0.0, 1.0)), "scale"),
        (lambda: Warp(degrees=(10, -10)), "degrees"),
        (lambda: Warp(degrees=[15]), "degrees"),
        (lambda: Warp(degrees="15"), "degrees"),
        (lambda: Warp(degrees=["a", "b"]), "degrees"),
        (lambda: Warp(scale=None), "scale"),
        (lambda: Warp(translate=[0.1, 0.1]), "translate"),
        (lambda: ResizedCrop(size=0), "a crop's size=0"),
        (lambda: ResizedCrop(size=[64]), "a crop's size="),
        (lambda: ResizedCrop(scale=(0.5, 1.5)), "scale"),
        (lambda: ResizedCrop(ratio=(0.0, 1.0)), "ratio"),
        (lambda: Crop(padding=1.5), "padding"),
        (lambda: RandAugment(number=1.5), "number=1.5"),
        (lambda: Augmentation(mixup="much"), "mixup"),
        (lambda: ColorJitter(hue=0.7), "hue"),
        (lambda: Augmentation(mixup=-1), "mixup"),
        (lambda: Augmentation(erasing=2), "erasing"),
        (lambda: Augmentation(steps={"mix": Flip()}, cutmix=1), "'mix'"),
        (lambda: Augmentation(steps={"erasing": Flip()}, erasing=0.5), "'erasing'"),
        (lambda: Augmentation(steps={"net": torch.nn.Identity()}), "net"),
    ],
)
def test_values_out_of_range_are_named(make, names):
    with pytest.raises(ConfigError, match=names):
        make()
