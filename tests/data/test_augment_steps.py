"""Each step against torchvision's function on known parameters."""

from functools import partial
from itertools import permutations

import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop, v2
from torchvision.transforms.v2 import functional as TF

from visionlab.data import policy
from visionlab.data.color import ColorJitter, Grayscale, shift_hue
from visionlab.data.geometric import Crop, Flip, ResizedCrop, Warp, affine, crop, homography, warp
from visionlab.data.policy import RandAugment

BILINEAR = InterpolationMode.BILINEAR
close = partial(torch.testing.assert_close, atol=2e-5, rtol=0)


def images(count=12, height=30, width=22, seed=0):
    """Random bytes as floats, with flat, black, white and pure-colour images among them."""
    x = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(seed)) / 255
    x[0], x[1], x[2], x[3, 0], x[3, 1:] = 0, 1, 128 / 255, 1, 0
    return x


def uniform(count, draws):
    return torch.rand(count, draws, generator=torch.Generator().manual_seed(1))


def test_flip():
    x = images()
    u = torch.tensor([[0.9, 0.9], [0.1, 0.9], [0.9, 0.1], [0.1, 0.1]]).repeat(3, 1)
    y = Flip(horizontal=0.5, vertical=0.5)(x, u)
    for i in range(12):
        expected = TF.horizontal_flip(x[i]) if i % 2 else x[i]
        assert torch.equal(y[i], TF.vertical_flip(expected) if i % 4 > 1 else expected)


@pytest.mark.parametrize("padding", [1, 4])
def test_crop_equals_zero_padding_and_cropping(padding):
    x = (images(81) * 255).byte()
    side = 2 * padding + 1
    top, left = torch.arange(81) // 9 % side, torch.arange(81) % side
    y = crop(x, top, left, padding)
    for i in range(81):
        assert torch.equal(y[i], TF.crop(TF.pad(x[i], [padding] * 4), int(top[i]), int(left[i]), 30, 22))


def test_crop_draws_every_window_from_one_corner_to_the_other():
    x, steps = images(), 5  # of 2 px to either side
    u = torch.tensor([[(i + 0.5) / steps, (j + 0.5) / steps] for i in range(steps) for j in range(steps)])
    y = Crop(padding=2)(x[4:5].expand(len(u), -1, -1, -1), u)
    padded = torch.nn.functional.pad(x[4], (2,) * 4)
    windows = [padded[:, i : i + 30, j : j + 22] for i in range(steps) for j in range(steps)]
    assert torch.equal(y, torch.stack(windows))


@pytest.mark.parametrize(("degrees", "right", "down", "scale"), [(0, 3, -2, 1), (25, 0, 0, 1), (-130, 2.5, 4, 0.7)])
def test_affine(degrees, right, down, scale):
    x = images()
    values = (torch.full((12,), float(v)) for v in (degrees, right, down, scale))
    y = warp(x, affine(*values)[:, :2])
    expected = TF.affine(x, degrees, [right, down], scale, [0.0, 0.0], interpolation=BILINEAR)
    assert (y - expected).abs().max() < 1e-3


def test_a_warp_draws_within_its_ranges():
    x = images()
    u = torch.full((12, 13), 0.75)
    u[:, 1] = 0.25  # to the left
    y = Warp(degrees=30, translate=0.2, scale=(0.8, 1.2))(x, u)
    expected = TF.affine(x, 15, [-0.1 * 22, 0.1 * 30], 1.1, [0.0, 0.0], interpolation=BILINEAR)
    assert (y - expected).abs().max() < 1e-3


@pytest.mark.parametrize("size", [None, [26, 19], 40])
def test_a_resized_crop_is_torchvisions(size):
    """Within a pixel of the border torchvision repeats the part's own last pixel, and here the next one is seen."""
    x, u = images(), uniform(12, ResizedCrop.draws)
    step = ResizedCrop(scale=(0.2, 1.0), size=size)
    y, windows = step(x, u), torch.stack(step.windows(30, 22, u), 1)
    height, width = (30, 22) if size is None else (40, 40) if size == 40 else size
    assert y.shape == (12, 3, height, width)
    white = step(torch.ones(200, 3, 30, 22), uniform(200, step.draws))
    close(white, torch.ones_like(white))  # without a dark border
    for image, result, (tall, wide, top, left) in zip(x, y, windows.int().tolist(), strict=True):
        expected = TF.resized_crop(image, top, left, tall, wide, [height, width], BILINEAR, antialias=False)
        across, down = (-(-a // (2 * b)) for a, b in ((width, wide), (height, tall)))
        assert (result - expected)[:, down:-down, across:-across].abs().max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(30, 22), (100, 300), (20, 200), (300, 10)])
def test_a_resized_crop_draws_as_torchvision_does(height, width):
    """Among them images so long that none of ten draws fits, or only small ones."""
    step, count = ResizedCrop(scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3)), 4000
    tall, wide, top, left = step.windows(height, width, uniform(count, step.draws))
    torch.manual_seed(0)
    shape = torch.empty(3, height, width)
    drawn = [RandomResizedCrop.get_params(shape, [0.3, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    for ours, theirs in zip((top, left, tall, wide), torch.tensor(drawn).T, strict=True):
        assert ours.min() >= 0
        levels = torch.cat([ours, theirs]).unique()
        shares = [(values[None] <= levels[:, None]).float().mean(1) for values in (ours, theirs)]
        assert (shares[0] - shares[1]).abs().max() < 1.95 * (2 / count) ** 0.5  # Kolmogorov-Smirnov: one in 1,000
    assert (top + tall <= height).all() and (left + wide <= width).all()


def test_a_perspective_moves_corners_inwards_with_its_probability():
    """All four by a quarter of half the side: that is a scaling."""
    x = images()
    u = torch.full((12, 13), 0.5)
    u[:6, 4], u[6:, 4] = 0.2, 0.4
    y = Warp(perspective=0.5, perspective_p=0.3)(x, u)
    expected = TF.affine(x, 0, [0, 0], 0.75, [0.0, 0.0], interpolation=BILINEAR)
    assert (y[:6] - expected[:6]).abs().max() < 1e-3
    assert (y[6:] - x[6:]).abs().max() < 1e-4


def test_perspective():
    x = images()
    height, width = x.shape[-2:]
    start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    end = [[3, 2], [width - 2, 4], [width - 4, height - 3], [1, height - 6]]
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    matrices = homography((torch.tensor(end) - centre).expand(12, 4, 2), height, width)
    # torchvision counts corners from the edge of a pixel where it counts pixels from their centre: half a pixel more.
    halved = [[[a + 0.5, b + 0.5] for a, b in corners] for corners in (start, end)]
    expected = TF.perspective(x, *halved, interpolation=BILINEAR)
    assert (warp(x, matrices) - expected).abs().max() < 1e-3


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.07, 0.3, 0.5])
def test_hue(turn):
    x = images()
    close(shift_hue(x, torch.full((12,), turn)), TF.adjust_hue(x, turn))


def test_color_jitter_is_torchvisions_in_an_order_of_each_image():
    x = images(60, 16, 16, seed=3)
    u = torch.rand(60, 8, generator=torch.Generator().manual_seed(1))
    y = ColorJitter(brightness=0.4, contrast=0.5, saturation=0.6, hue=0.3)(x, u)
    functions = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
    seen = set()
    for i in range(4, 60):
        values = [0.6 + 0.8 * u[i, 0], 0.5 + u[i, 1], 0.4 + 1.2 * u[i, 2], -0.3 + 0.6 * u[i, 3]]
        errors = {}
        for order in permutations(range(4)):
            expected = x[i]
            for change in order:
                expected = functions[change](expected, float(values[change]))
            errors[order] = float((y[i] - expected).abs().max())
        best = min(errors, key=errors.__getitem__)
        assert errors[best] < 1e-4
        seen.add(best)
    assert len(seen) > 12, "the order is not drawn for each image"


@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation", "hue"])
def test_a_single_change_of_color_jitter(change):
    x = images(5)
    u = torch.full((5, 8), 0.75)
    y = ColorJitter(**{change: 0.4})(x, u)
    close(y, getattr(TF, f"adjust_{change}")(x, 0.2 if change == "hue" else 1.2))


def test_grayscale():
    x = images()
    close(Grayscale(p=1.0)(x, torch.zeros(12, 1)), TF.rgb_to_grayscale(x, num_output_channels=3))
    assert torch.equal(Grayscale(p=0.5)(x, torch.full((12, 1), 0.6)), x)


def torchvision_change(x, name, magnitude):
    """Torchvision's own dispatch from a name and a magnitude to a function."""
    return v2.RandAugment(interpolation=BILINEAR)._apply_image_or_video_transform(
        x, name, magnitude, interpolation=BILINEAR, fill={}
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("name", "ours", "amount", "tolerance"),
    [
        ("ShearX", partial(policy._shear, amount=0.2, across=True), 0.2, 2e-3),
        ("ShearY", partial(policy._shear, amount=0.2, across=False), 0.2, 2e-3),
        ("TranslateX", partial(policy._translate, amount=3 / 22, across=True), 3, 2e-3),
        ("TranslateY", partial(policy._translate, amount=3 / 30, across=False), 3, 2e-3),
        ("Rotate", partial(policy._rotate, degrees=20), 20, 2e-3),
        ("Brightness", partial(policy._brightness, amount=0.4), 0.4, 1e-5),
        ("Color", partial(policy._saturation, amount=0.4), 0.4, 1e-5),
        ("Contrast", partial(policy._contrast, amount=0.4), 0.4, 1e-5),
        ("Sharpness", partial(policy._sharpness, amount=0.4), 0.4, 1e-5),
    ],
)
def test_signed_changes_of_randaugment(name, ours, amount, tolerance, sign):
    x = images()
    y = ours(x, torch.full((12,), float(sign)))
    expected = torchvision_change(x, name, sign * amount)
    # The same up to the sign of angle and slant, which is drawn anyway.
    other = torchvision_change(x, name, -sign * amount) if name in ("Rotate", "ShearX", "ShearY") else expected
    assert min((y - expected).abs().max(), (y - other).abs().max()) < tolerance


def test_unsigned_changes_of_randaugment():
    x = images(seed=5)
    x[6] = (x[6] * 0.5 + 0.2).mul(255).round() / 255
    sign = torch.ones(12)
    as_bytes = (x * 255).round().byte()

    def rounded(y):
        return (y * 255).round().byte()

    assert torch.equal(rounded(policy._posterize(x, sign, bits=5)), TF.posterize(as_bytes, 5))
    assert torch.equal(rounded(policy._solarize(x, sign, threshold=99.5 / 255)), TF.solarize(as_bytes, 100))
    close(policy._stretch_contrast(x, sign), TF.autocontrast(x))
    assert torch.equal(rounded(policy._equalize(x, sign)), TF.equalize(as_bytes))


@pytest.mark.parametrize("magnitude", [9, 21])
def test_a_magnitude_means_to_each_change_what_it_means_to_torchvisions(magnitude):
    side = 331  # of which torchvision shifts by whole pixels at these magnitudes
    x, space = images(5, side, side)[4:], v2.RandAugment._AUGMENTATION_SPACE
    assert len(space) == 14
    for number, (name, (magnitudes, _)) in enumerate(space.items()):
        y = RandAugment(number=1, magnitude=magnitude)(x, torch.tensor([[(number + 0.5) / 14, 0.75]]))
        found = magnitudes(31, side, side)
        amount = 0.0 if found is None else float(found[magnitude])
        if name in ("Posterize", "Equalize"):  # which torchvision does otherwise to numbers than to bytes
            expected = [torchvision_change((x * 255).round().byte(), name, amount) / 255]
        else:  # the sign of angle and slant is drawn anyway
            signs = (1, -1) if name in ("Rotate", "ShearX", "ShearY") else (1,)
            expected = [torchvision_change(x, name, sign * amount) for sign in signs]
        assert min((y - one).abs().max() for one in expected) < 5e-3, name


def test_randaugment_makes_as_many_changes_as_it_is_told():
    x = images()
    u = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
    one, two = RandAugment(number=1, magnitude=12), RandAugment(number=2, magnitude=12)
    close(two(x, u), one(one(x, u[:, :2]), u[:, 2:]))


def test_randaugment_draws_each_change_for_some_image():
    x = images(5)[4:].mul(0.7).add(0.1).expand(400, -1, -1, -1)
    u = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    y = RandAugment(number=1, magnitude=12)(x, u)
    # 14 changes, of which 9 have two signs; the identity is one of them
    assert len(torch.unique(y, dim=0)) == 14 + 9
    assert torch.equal(y[u[:, 0] < 1 / 14], x[u[:, 0] < 1 / 14])
