"""The deterministic part of reading an image: decode it upright as RGB and bring it to the size of the data set.

Imports nothing but Pillow and NumPy: the processes that decode start quickly, and `visionlab.export` puts a copy of
this file beside a network, so that whoever has it reads images as it learnt them.
"""

import io
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Resize = Literal["stretch", "crop", "pad", "none"]
BILINEAR = Image.Resampling.BILINEAR
ORIENTATION = 0x0112  # the EXIF tag
# By its value, what turns an image upright. Software writes text, bytes and numbers above 8 as well; none of them does.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
QUARTER_TURNS = (5, 6, 7, 8)
# A JPEG may be decoded to an eighth, a quarter or half of its size. As long as three times the wanted size is left, the
# result differs by 0.2 of 255 on average, and a photograph of 12 megapixels takes less than half of the time.
OVERSIZE = 3
# Of the doors only those that train take data.white: what a trained run is given is read as it was trained.
NO_WHITE = "have no defined white; save the image with 8 or 16 bits, or train with data=folder +data.white=<value>"


@dataclass(frozen=True)
class Transform:
    """From an image of any size to uint8 [H, W, 3].

    Attributes:
        size: (H, W) in px.
        resize: stretch: to the size, whatever the aspect ratio. crop: the shorter side to size / crop_ratio, then the
            centre. pad: the longer side to the size, black around it. none: no scaling, only the centre, black around
            it where the image is smaller.
        crop_ratio: Share of the scaled image's side that `crop` keeps; 0.875 is 224 of 256 px.
        white: The value that is white in images of more than eight bits, such as 4095 of a detector of twelve; None: as
            `decode` has it.
    """

    size: tuple[int, int]
    resize: Resize = "crop"
    crop_ratio: float = 1.0
    white: float | None = None

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Bring an image of any mode to the size, upright and as RGB, as `decode` says.

        Of a file, give `load` its bytes: a large JPEG is then decoded as it was for the training.

        Raises:
            ValueError: Its mode has no defined white.
        """
        return self._scaled(_upright(image, self.white)[0])

    def _scaled(self, image: Image.Image) -> NDArray[np.uint8]:
        """Scale and cut an RGB image; bilinear with antialiasing, as torchvision's transforms do on PIL images."""
        height, width = self.size
        if self.resize == "crop":
            image = self._crop(image)
        elif self.resize == "stretch":
            image = image.resize((width, height), BILINEAR)
        else:
            if self.resize == "pad":
                scale = min(width / image.width, height / image.height)
                inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
                image = image.resize(inner, BILINEAR)
            image = _centre(image, width, height)
        return np.asarray(image)

    def load(self, data: bytes) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """Decode an image file and bring it to the size.

        Returns:
            uint8 [H, W, 3], and height and width of the upright original in px.

        Raises:
            Exception: As `decode`.
        """
        enough = None if self.resize == "none" else math.ceil(OVERSIZE * max(self.size) / self.crop_ratio)
        image, size = _decode(data, enough, self.white)
        return self._scaled(image), size

    def _crop(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        scale = max(width / image.width, height / image.height) / self.crop_ratio
        # Rounded down as torchvision's Resize does, after forgiving the last bits of the division.
        full_w, full_h = (max(1, math.floor(side * scale + 1e-6)) for side in image.size)
        left, top = round((full_w - width) / 2), round((full_h - height) / 2)
        # To scale only the part that the crop keeps gives the same pixels as to crop the scaled image.
        step_x, step_y = image.width / full_w, image.height / full_h
        right, bottom = min((left + width) * step_x, image.width), min((top + height) * step_y, image.height)
        return image.resize((width, height), BILINEAR, box=(left * step_x, top * step_y, right, bottom))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """Cut out the centre, black where the image is smaller: torchvision's CenterCrop to the pixel."""
    left, top = (
        round((have - want) / 2) if have >= want else -((want - have) // 2)
        for have, want in ((image.width, width), (image.height, height))
    )
    return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))


def decode(data: bytes) -> Image.Image:
    """Decode an image file: its first frame, upright, as RGB, on white where it is transparent.

    Colour profiles are ignored, as the peers do; 16-bit values keep their upper eight bits. So do 32-bit integers up to
    65,535; those up to 255 are taken as they are.

    Raises:
        Exception: Of many kinds, Pillow's, when the bytes are no image that can be read to its end.
    """
    return _decode(data, None, None)[0]


def _decode(data: bytes, enough: int | None, white: float | None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode as `decode` does, a large JPEG only to the fraction of its size that has sides of `enough` px or more.

    Returns:
        The image, and the height and width of the upright original.
    """
    image: Image.Image = Image.open(io.BytesIO(data))
    width, height = image.size
    if enough is not None:
        image.draft(None, (enough, enough))  # None: the mode stays; only JPEG can do it
    image, turned = _upright(image, white)
    return image, ((width, height) if turned else (height, width))


def _upright(image: Image.Image, white: float | None) -> tuple[Image.Image, bool]:
    """Return an image upright and as RGB, and whether its sides were exchanged for that."""
    image.load()
    orientation = None
    # Only these formats have other places for the orientation than `info`, and looking there costs time.
    if "exif" in image.info or image.format in ("TIFF", "PNG", "MPO"):
        orientation = _orientation(image)
        # Pillow's exif_transpose also writes the other tags anew, and fails where one of them is odd.
        if orientation in UPRIGHT:
            image = image.transpose(UPRIGHT[orientation])
            image.info.pop("exif", None)  # which would have it turned again
    if image.mode != "RGB" or "transparency" in image.info:
        image = to_rgb(image, white)
    return image, orientation in QUARTER_TURNS


def _orientation(image: Image.Image) -> Any:
    """Return the value of the orientation tag of a loaded image, None where it has none or its EXIF cannot be read."""
    # Pillow raises many kinds of errors for broken EXIF. The pixels are there by now, so none of them is about these.
    with suppress(Exception):
        return image.getexif().get(ORIENTATION)
    return None


def to_rgb(image: Image.Image, white: float | None = None) -> Image.Image:
    """Convert an image of any mode to RGB; what is transparent becomes white.

    Args:
        image: The image.
        white: See `Transform`; black is 0, and what lies beyond either is cut off.

    Raises:
        ValueError: The mode has no defined white.
    """
    if white is not None and (image.mode.startswith("I") or image.mode == "F"):
        shares = np.nan_to_num(np.asarray(image).astype(np.float64) / white, nan=0.0)
        return Image.fromarray((shares.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 0xFFFF:
            raise ValueError("32-bit integer pixels " + NO_WHITE)
        # Nobody writes 32 bits for so dark a picture: they are bytes.
        shift = 0 if image.mode == "I" and wide.max() <= 0xFF else 8
        return Image.fromarray((wide >> shift).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels " + NO_WHITE)
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def read(path: Path | str) -> Image.Image:
    """Read an image file as upright RGB; raises what `decode` raises, and OSError."""
    return decode(Path(path).read_bytes())
