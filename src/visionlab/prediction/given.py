"""Images as a program holds them, such as the bytes of an upload, brought to what a network takes."""

from collections.abc import Sequence
from io import IOBase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from visionlab.data.reader import reason
from visionlab.data.transform import Transform
from visionlab.errors import DataError

One = str | Path | bytes | Image.Image | NDArray[np.uint8] | Tensor
KINDS = "a path, the bytes of an image file, a PIL image, a NumPy array [H, W, 3] or a tensor [B, 3, H, W]"


def pixels(images: One | Sequence[One], transform: Transform) -> Tensor:
    """Return uint8 images [B, 3, H, W] of the size of the transform.

    Args:
        images: One or several, each of them a path; the bytes of an image file; a PIL image of any mode; a NumPy array,
            uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]; or a tensor, uint8 [3, H, W] or [B, 3, H, W] of that size.
        transform: Decodes the others and brings them to the size, as it did for the training.

    Raises:
        DataError: An image cannot be read, or an array or a tensor is none of images.
        TypeError: Something else was given.
    """
    several = images if isinstance(images, list | tuple) else [images]
    if not several:
        raise DataError("there are no images", remedy=f"give {KINDS}, or a list of them")
    return torch.cat([_tensor(one, transform) for one in several])


def _tensor(image: Any, transform: Transform) -> Tensor:
    if isinstance(image, Tensor):
        return _batch(image, transform.size)
    data: bytes | None = None
    try:
        if isinstance(image, Image.Image):
            array = transform(image)
        elif isinstance(image, np.ndarray):
            array = transform(_picture(image))
        elif isinstance(image, str | Path | bytes | bytearray | memoryview):
            data = Path(image).read_bytes() if isinstance(image, str | Path) else bytes(image)
            array = transform.load(data)[0]
        else:
            more = "; read it first: file.read()" if isinstance(image, IOBase) else ""
            raise TypeError(f"an image is {KINDS}, not of {type(image).__name__}{more}")
    except (DataError, TypeError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on what they did not expect
        where = str(image) if isinstance(image, str | Path) else None
        raise DataError(f"the image cannot be read: {reason(error, data)}", where=where) from error
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None]


def _picture(array: NDArray[Any]) -> Image.Image:
    """Return the image that an array holds, whose channels come last."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    channels = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in ((), (3,), (4,)) or not array.size:
        raise DataError(
            f"an array of {array.dtype} {list(array.shape)} is no image",
            remedy="give uint8 [H, W], [H, W, 3] or [H, W, 4] of 0 to 255, or a list of such",
        )
    return Image.fromarray(array)


def _batch(images: Tensor, size: tuple[int, int]) -> Tensor:
    batch = images[None] if images.ndim == 3 else images
    if images.dtype != torch.uint8 or batch.ndim != 4 or tuple(batch.shape[1:]) != (3, *size):
        height, width = size
        raise DataError(
            f"a tensor of {str(images.dtype).removeprefix('torch.')} {list(images.shape)} is no image of this network",
            remedy=f"give uint8 [B, 3, {height}, {width}] of 0 to 255, or files, bytes, PIL images or arrays",
        )
    return batch
