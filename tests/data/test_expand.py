"""Up-front variants of training images."""

import copy
import importlib
import sys

import kornia.augmentation as K
import pytest
import torch
from hydra.utils import instantiate

from visionlab.config import compose
from visionlab.data.augment import Augmentation
from visionlab.data.expand import Copies, Eightfold
from visionlab.data.geometric import Flip, ResizedCrop
from visionlab.data.step import Step
from visionlab.errors import ConfigError


@pytest.fixture
def images():
    return torch.randint(0, 256, (10, 3, 24, 24), generator=torch.Generator().manual_seed(0)).byte()


def test_eightfold_is_the_flips_and_a_changed_version_of_each(images):
    made = Eightfold().expand(images, places=torch.arange(10), seed=0)
    assert made.shape == (7, 10, 3, 24, 24) and made.dtype == torch.uint8
    flips = [images, images.flip(-1), images.flip(-2), images.flip(-1, -2)]
    for number in (1, 2, 3):
        assert torch.equal(made[number - 1], flips[number])
    smooth = torch.nn.functional.avg_pool2d(images.float(), 3, 1, 1).byte().repeat_interleave(1, 0)
    made = Eightfold(scale=(0.99, 1.0), degrees=1).expand(smooth, places=torch.arange(10), seed=0)
    for number, base in enumerate([smooth, smooth.flip(-1), smooth.flip(-2), smooth.flip(-1, -2)]):
        error = (made[3 + number].float() - base.float()).abs().mean((1, 2, 3))
        assert (error > 0).all() and (error < 25).all(), "not a slight change of the right flip"


def test_shrunk_variants_have_a_black_border():
    white = torch.full((50, 3, 40, 40), 255, dtype=torch.uint8)
    made = Eightfold(scale=(0.8, 0.8), degrees=0).expand(white, places=torch.arange(50), seed=0)
    assert (made[3:, ..., 0, :] == 0).all() and (made[3:, ..., 20, 20] == 255).all()
    assert (made[3:] > 127).float().mean() == pytest.approx(0.64, abs=0.03)


def test_variants_depend_on_seed_and_place_alone(images):
    expansion = Eightfold()
    made = expansion.expand(images, places=torch.arange(10), seed=0)
    assert torch.equal(expansion.expand(images[4:7], places=torch.arange(4, 7), seed=0), made[:, 4:7])
    assert not torch.equal(expansion.expand(images, places=torch.arange(10), seed=1), made)
    assert not torch.equal(expansion.expand(images, places=torch.arange(10, 20), seed=0), made)


def test_copies_from_the_config(images):
    config = compose(["data/expand=copies", "data.expand.copies=3", "augment@data.expand.augment=alexnet_light"])
    made = instantiate(config.data.expand).expand(images, places=torch.arange(10), seed=0)
    assert made.shape == (3, 10, 3, 24, 24) and made.dtype == torch.uint8
    assert len(torch.unique(made.flatten(0, 1), dim=0)) == 30, "two copies are equal"


class Brighter(Step):
    draws = 0

    def __call__(self, images, u):
        return images * 1.5 - 0.1


def test_what_a_step_takes_beyond_black_and_white_is_not_wrapped_round(images):
    made = Copies(copies=1, augment=Augmentation(steps={"brighter": Brighter()})).expand(
        images, places=torch.arange(10), seed=0
    )
    meant = (images * 1.5 - 25.5).clamp(0, 255)
    assert (made[0] - meant).abs().max() <= 1


def test_what_is_made_is_named_by_all_that_it_depends_on():
    def named(*overrides):
        return instantiate(compose(list(overrides)).data.expand).key

    copies = ["data/expand=copies"]
    settings = [
        ["data/expand=eightfold"],
        ["data/expand=eightfold", "data.expand.degrees=10"],
        ["data/expand=eightfold", "data.expand.scale=[0.9,1.0]"],
        copies,
        [*copies, "data.expand.copies=2"],
        [*copies, "data.expand.augment.steps.jitter.hue=0.2"],
        [*copies, "augment@data.expand.augment=randaugment"],
        [*copies, "augment@data.expand.augment=randaugment", "data.expand.augment.steps.policy.magnitude=3"],
        [*copies, "augment@data.expand.augment=jpeg"],
        [*copies, "augment@data.expand.augment=jpeg", "data.expand.augment.steps.jpeg.p=1.0"],
        [*copies, "data.expand.augment.erasing=0.1"],
    ]
    assert len({named(*setting) for setting in settings}) == len(settings)
    assert all(named(*setting) == named(*setting) for setting in settings)


def test_names_of_what_our_own_steps_make_are_fixed_for_ever():
    warp = "Warp(degrees=(-15.0, 15.0), translate=0.0, scale=(0.8, 1.0), perspective=0.0, perspective_p=0.5)"
    assert Eightfold().key == f"1 Eightfold(Augmentation({{'warp': {warp}}}))"
    flip = Augmentation(steps={"flip": Flip()}, erasing=0.5)
    assert Copies(copies=2, augment=flip).key == (
        "1 Copies(2, Augmentation({'flip': Flip(horizontal=0.5, vertical=0.0), 'erasing': Erasing(p=0.5)}))"
    )


def named(**steps) -> str:
    return Copies(copies=1, augment=Augmentation(steps=steps)).key


STEP = """
from dataclasses import dataclass
from visionlab.data.step import Step

class Plain(Step):
    draws = 0
    def __call__(self, images, u):
        return images * 1.5

@dataclass
class Told(Plain):
    value: float = 1.0

class Holding(Plain):
    def __init__(self, held):
        self.held = held
"""


@pytest.fixture
def write_steps(tmp_path, monkeypatch):
    """Return a function that writes a module of somebody's own steps and imports it anew."""
    monkeypatch.syspath_prepend(tmp_path)
    names = set()

    def write(name, source=STEP):
        (tmp_path / f"{name}.py").write_text(source)
        names.add(name)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", ["Plain", "Told"])
def test_an_edited_step_makes_variants_of_another_name(kind, write_steps):
    before = named(own=getattr(write_steps("my_steps"), kind)())
    assert named(own=getattr(write_steps("my_steps"), kind)()) == before
    assert named(own=getattr(write_steps("my_steps", STEP.replace("1.5", "0.5")), kind)()) != before
    assert named(own=getattr(write_steps("other_steps"), kind)()) != before


def test_a_step_within_a_step_is_named_by_its_source_too(write_steps):
    outer = write_steps("my_steps")
    before, after = (
        named(own=outer.Holding([write_steps("inner_steps", source).Plain()]))
        for source in (STEP, STEP.replace("1.5", "0.5"))
    )
    assert before != after


def test_numbers_that_a_step_holds_are_part_of_the_name(write_steps):
    steps = write_steps("my_steps")
    large = torch.zeros(2000)
    other = large.clone()
    other[1000] = 1
    network = torch.nn.Linear(2, 2)
    changed = copy.deepcopy(network)
    changed.weight.data += 1
    for one, two in ((large, other), ({"a": [large]}, {"a": [other]}), (large.numpy(), other.numpy()),
                     (torch.tensor(0.123456), torch.tensor(0.123457)), (network, changed)):  # fmt: skip
        assert named(own=steps.Holding(one)) == named(own=steps.Holding(copy.deepcopy(one)))
        assert named(own=steps.Holding(one)) != named(own=steps.Holding(two))


def test_a_step_without_a_file_is_never_taken_for_another():
    made = [type("Typed", (Brighter,), {"__module__": "__main__no_file"}) for _ in range(2)]
    assert named(own=made[0]()) != named(own=made[1]())
    assert named(own=made[0]()) == named(own=made[0]())


def test_another_kornia_makes_variants_of_another_name(monkeypatch, images):
    module = K.RandomGaussianNoise(std=0.1, p=0.5)
    before = named(noise=module)
    Augmentation(steps={"noise": module})(images, torch.arange(10), seed=0, epoch=0, places=torch.arange(10))
    assert named(noise=module) == before
    monkeypatch.setattr("visionlab.data.augment.version", lambda name: "0.9.99")
    assert named(noise=module) != before


def test_an_edited_expansion_makes_variants_of_another_name(write_steps):
    source = """
from visionlab.data.expand import Eightfold

class Mine(Eightfold):
    def variant(self, number, images, places, seed):
        return images + 1
"""
    before = write_steps("my_expansion", source).Mine().key
    assert write_steps("my_expansion", source).Mine().key == before
    assert write_steps("my_expansion", source.replace("+ 1", "+ 2")).Mine().key != before


def test_copies_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="duplicates"):
        Copies(copies=1, augment=Augmentation())
    with pytest.raises(ConfigError, match="mixed"):
        Copies(copies=1, augment=Augmentation(steps={"flip": Flip()}, mixup=0.2))
    with pytest.raises(ConfigError, match="0 copies"):
        Copies(copies=0, augment=Augmentation(steps={"flip": Flip()}))
    with pytest.raises(ConfigError, match=r"1\.5 copies"):
        Copies(copies=1.5, augment=Augmentation(steps={"flip": Flip()}))


def test_a_variant_of_another_size_is_refused(images):
    copies = Copies(copies=1, augment=Augmentation(steps={"warp": ResizedCrop(size=[16, 20])}))
    with pytest.raises(ConfigError, match="16x20 px and 24x24 px"):
        copies.expand(images, places=torch.arange(10), seed=0)
