"""Up-front variants of training images."""

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
