"""The deterministic part of reading an image: decode it upright as RGB and bring it to the size of the data set.

Imports neither torch nor Lightning, so that the processes that decode start quickly.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Resize = Literal["stretch", "crop", "pad", "none"]


@dataclass(frozen=True)
class Transform:
    """From an image of any size to uint8 [3, H, W].

    Attributes:
        size: (H, W) in px.
        resize: stretch: to the size, whatever the aspect ratio. crop: the shorter side to size / crop_ratio, then the
            centre. pad: the longer side to the size, black around it. none: no scaling, only the centre, black around
            it where the image is smaller.
        crop_ratio: Share of the scaled image's side that `crop` keeps; 0.875 is 224 of 256 px.
    """

    size: tuple[int, int]
    resize: Resize = "crop"
    crop_ratio: float = 1.0

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Scale and cut an RGB image; bilinear with antialiasing, as torchvision's transforms on PIL images."""
        height, width = self.size
        if image.size == (width, height) and (self.resize != "crop" or self.crop_ratio == 1.0):
            return _planes(image)
        if self.resize == "stretch":
            return _planes(image.resize((width, height), Image.Resampling.BILINEAR))
        if self.resize == "crop":
            return _planes(self._crop(image))
        if self.resize == "pad":
            scale = min(width / image.width, height / image.height)
            inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(inner, Image.Resampling.BILINEAR)
        return _planes(_centre(image, width, height))

    def _crop(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        scale = max(width / self.crop_ratio / image.width, height / self.crop_ratio / image.height)
        # Rounded down as torchvision's Resize does, after forgiving the last bits of the multiplication.
        full_w, full_h = (max(1, math.floor(side * scale + 1e-6)) for side in image.size)
        left, top = round((full_w - width) / 2), round((full_h - height) / 2)
        # Scaling only the part that the crop keeps gives the same pixels as cropping the scaled image.
        step_x, step_y = image.width / full_w, image.height / full_h
        box = (left * step_x, top * step_y, (left + width) * step_x, (top + height) * step_y)
        box = (max(0.0, box[0]), max(0.0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
        return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def decode(data: bytes) -> Image.Image:
    """Decode an image file to upright RGB.

    Raises:
        OSError, ValueError, SyntaxError: The bytes are not an image that can be read.
    """
    image = Image.open(io.BytesIO(data))
    image.load()
    return to_rgb(ImageOps.exif_transpose(image))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; what is transparent becomes white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    return image.convert("RGB")


def read(path: Path | str) -> Image.Image:
    """Read an image file as upright RGB."""
    return decode(Path(path).read_bytes())


def _planes(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """Cut out the centre, black where the image is smaller (torchvision's CenterCrop, to the pixel)."""
    left = (image.width - width) // 2 if image.width < width else round((image.width - width) / 2)
    top = (image.height - height) // 2 if image.height < height else round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
