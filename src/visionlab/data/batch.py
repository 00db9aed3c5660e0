"""What a loader yields and a training step receives."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """A batch of images; uint8 from the loader, float once it is on the device.

    Attributes:
        images: uint8 [B, 3, H, W] from the loader; float32 [B, 3, H, W], augmented and normalised, on the device.
        labels: int64 [B], -1 for a padding row (evaluation on several devices); float [B, K] after mixup or cutmix.
        rows: int64 [B], the row of each image in the data module's index.
        places: int64 [B], the place of each image in the epoch's global order, which augmentation is drawn by.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    places: Tensor
