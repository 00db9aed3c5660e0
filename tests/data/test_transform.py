"""What can be read is read rightly: upright, in RGB, at the size asked for."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

from visionlab.data.transform import Transform, decode


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def rgb(noise):
    return Image.fromarray(noise(1, 40, 60))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG"])
def test_formats_keep_the_picture(kind, rgb):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    read = np.asarray(decode(encoded(rgb, kind, **options))).astype(int)
    assert np.abs(read - np.asarray(rgb)).mean() < {"JPEG": 3, "GIF": 12}.get(kind, 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "TIFF", "WEBP"])
def test_each_orientation_is_undone(kind, orientation, rgb):
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"save_all": True, "append_images": [rgb]} if kind == "MPO" else {}
    data = encoded(rgb, kind, exif=exif, **more)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(expected))
    assert expected.size == ((40, 60) if orientation > 4 else (60, 40))
    _, size = Transform(size=(8, 8)).load(data)
    assert size == expected.size[::-1]


def exif_with(tag: int, kind: int, count: int, content: bytes) -> bytes:
    """EXIF of an orientation of 6, the camera turned so that rows are columns, and another tag."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHI", tag, kind, count) + content
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_beside_the_orientation_does_no_harm(kind, rgb):
    exif = exif_with(0x011A, 2, 4, b"72\0\0")  # a resolution in letters
    data = encoded(rgb, kind, exif=exif)
    upright = np.asarray(rgb.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(np.asarray(decode(data)) - upright).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_whose_exif_is_broken_is_read_as_it_lies(kind, rgb):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    broken = b"Exif\0\0" + b"neither II nor MM"
    assert np.abs(np.asarray(decode(encoded(rgb, kind, exif=broken, **options))).astype(int) - rgb).mean() < 3


@pytest.mark.parametrize("exif", [b"neither II nor MM", exif_with(0x011A, 2, 4, b"72\0\0")], ids=["broken", "odd"])
def test_a_cut_image_is_an_error_whatever_its_exif(exif, rgb):
    data = encoded(rgb, "PNG", exif=exif)
    with pytest.raises(OSError, match="truncated"):
        decode(data[: data.index(b"IDAT", data.index(b"eXIf")) + 40])


@pytest.mark.parametrize(
    ("kind", "value", "turned"),
    [("H", 6, True), ("I", 6, True), ("H", 0, False), ("H", 9, False), ("s", b"6", False), ("B", 6, False),
     ("7", b"6", False)],
)  # fmt: skip
def test_orientations_that_are_none_leave_the_image(rgb, kind, value, turned):
    types = {"B": 1, "s": 2, "H": 3, "I": 4, "7": 7}
    content = value.ljust(4, b"\0") if isinstance(value, bytes) else struct.pack(f"<{kind}", value).ljust(4, b"\0")
    entry = struct.pack("<HHI", 0x0112, types[kind], 2 if kind == "s" else 1) + content
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    pixels, size = Transform(size=(8, 8), resize="stretch").load(encoded(rgb, "JPEG", exif=exif))
    assert size == ((60, 40) if turned else (40, 60))
    upright = rgb.transpose(Image.Transpose.ROTATE_270) if turned else rgb
    assert np.abs(pixels.astype(int) - np.asarray(upright.resize((8, 8), Image.Resampling.BILINEAR))).mean() < 8


def test_cmyk_and_grey(rgb):
    assert np.abs(np.asarray(decode(encoded(rgb.convert("CMYK"), "TIFF"))).astype(int) - np.asarray(rgb)).mean() < 3
    grey = decode(encoded(rgb.convert("L"), "PNG"))
    assert grey.mode == "RGB"
    assert (np.ptp(np.asarray(grey).astype(int), axis=2) == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind):
    ramp = np.linspace(0, 0xFFFF, 400).astype(np.uint16).reshape(20, 20)
    read = np.asarray(decode(encoded(Image.fromarray(ramp), kind)))[..., 0].astype(int)
    assert np.abs(read - ramp / 257).max() <= 1


def test_sixteen_bits_of_the_other_order_are_scaled_too():
    ramp = np.linspace(0, 0xFFFF, 400).astype(np.uint16).reshape(20, 20)
    image = Image.frombytes("I;16B", (20, 20), ramp.astype(">u2").tobytes())
    read = np.asarray(decode(encoded(image, "TIFF")))[..., 0].astype(int)
    assert np.abs(read - ramp / 257).max() <= 1


@pytest.mark.parametrize(("most", "shown"), [(200, 200), (0xFFFF, 255)])
def test_integers_of_32_bits_are_bytes_or_16_bits(most, shown):
    ramp = np.linspace(0, most, 400).astype(np.int32).reshape(20, 20)
    read = np.asarray(decode(encoded(Image.fromarray(ramp), "TIFF")))[..., 0].astype(int)
    assert np.abs(read - ramp * (shown / most)).max() <= 1


@pytest.mark.parametrize(("kind", "white"), [(np.uint16, 4095), (np.int32, 200_000), (np.float32, 1.5)])
def test_the_value_that_is_white_is_255(kind, white):
    ramp = np.linspace(0, white, 400).astype(kind).reshape(20, 20)
    data = encoded(Image.fromarray(ramp), "TIFF")
    read = Transform((20, 20), white=white).load(data)[0][..., 0].astype(int)
    assert np.abs(read - ramp * (255 / white)).max() <= 1
    beyond = Transform((20, 20), white=white / 2).load(data)[0]
    assert beyond.max() == 255 and (beyond[-1] == 255).all()


def test_bytes_have_their_own_white():
    data = encoded(Image.new("L", (4, 4), 100), "PNG")
    assert (Transform((4, 4), white=4095).load(data)[0] == 100).all()


def test_transparent_becomes_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    for image in (clear, Image.new("LA", (4, 4), (0, 0))):
        assert (np.asarray(decode(encoded(image, "PNG"))) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255] * 256)
    assert (np.asarray(decode(encoded(palette, "PNG", transparency=0))) == 255).all()
    assert (np.asarray(decode(encoded(palette, "PNG")))[..., 2] == 255).all()
    assert (np.asarray(decode(encoded(palette, "PNG")))[..., 0] == 0).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert abs(int(np.asarray(decode(encoded(half, "PNG")))[0, 0, 0]) - 127) <= 1


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(np.asarray(decode(data)).astype(int) - np.asarray(frames[0])).max() < 4, kind


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (500, 333), (64, 64), (31, 500), (257, 256), (123, 457)])
def test_crop_equals_the_peers_resize_and_centre_crop(size, noise):
    image = Image.fromarray(noise(2, size[1], size[0]))
    ours = Transform(size=(224, 224), resize="crop", crop_ratio=0.875)(image)
    theirs = np.asarray(Compose([Resize(256), CenterCrop(224)])(image))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_crop_of_a_size_that_is_not_square(noise):
    ours = Transform(size=(20, 40), resize="crop")(Image.fromarray(noise(3, 60, 60)))
    assert ours.shape == (20, 40, 3)
    theirs = np.asarray(Image.fromarray(noise(3, 60, 60)).resize((40, 40), Image.Resampling.BILINEAR))[10:30]
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (63, 65), (200, 100), (150, 150), (151, 149)])
def test_none_equals_the_peers_centre_crop(size, noise):
    image = Image.fromarray(noise(4, size[1], size[0]))
    theirs = CenterCrop(150)(torch.from_numpy(np.array(image)).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(Transform(size=(150, 150), resize="none")(image), theirs)


def test_pad_keeps_the_whole_image_and_its_aspect():
    image = Image.new("RGB", (200, 100), "white")
    padded = Transform(size=(50, 50), resize="pad")(image)
    assert (padded[13:37] == 255).all()
    assert (padded[:12] == 0).all()
    assert (padded[38:] == 0).all()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "none"])
@pytest.mark.parametrize("size", [(1, 1), (1, 999), (7, 3)])
def test_tiny_and_thin_images_come_out_at_the_size(resize, size):
    image = Image.new("RGB", size, "white")
    assert Transform(size=(9, 5), resize=resize, crop_ratio=0.875)(image).shape == (9, 5, 3)


def test_the_size_itself_is_not_resampled(noise):
    image = Image.fromarray(noise(5, 32, 32))
    for resize in ("stretch", "crop", "pad", "none"):
        np.testing.assert_array_equal(Transform(size=(32, 32), resize=resize)(image), np.asarray(image))


def test_a_large_jpeg_is_decoded_in_part_and_looks_the_same(noise):
    detail = np.random.default_rng(0).integers(-20, 21, (900, 1200, 3))  # as fine as pixels can be
    image = Image.fromarray((noise(6, 900, 1200).astype(int) + detail).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encoded(image, "JPEG", quality=90, exif=exif)
    for resize in ("stretch", "crop", "pad", "none"):
        transform = Transform(size=(48, 64), resize=resize, crop_ratio=0.875)
        pixels, size = transform.load(data)
        assert size == (1200, 900)  # of the upright original
        assert np.abs(pixels.astype(int) - transform(decode(data))).mean() < 0.7


@pytest.mark.parametrize("mode", ["F", "I"])
def test_what_has_no_white_says_what_helps_wherever_it_is_read(mode):
    """Of the doors only those that train have data.white, so the message may not tell one of predict to give it."""
    image = Image.new(mode, (4, 4), 70000)
    with pytest.raises(ValueError, match=r"save the image with 8 or 16 bits, or train with data=folder \+data\.white="):
        decode(encoded(image, "TIFF"))
