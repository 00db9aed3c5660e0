"""Switches that combine with any augmentation: random erasing, mixup and cutmix."""

import math

import torch
from torch import Tensor

from visionlab.data.step import Step, apply_where, between, probability
from visionlab.errors import ConfigError


class Erasing(Step):
    """Cover a rectangle of random size, shape and place with mid-grey, which normalisation takes near zero.

    Zhong et al., "Random erasing data augmentation", AAAI 2020: 2 to 33 % of the area, aspect ratio 0.3 to 3.3. A side
    that would leave the image is cut to it, where the paper draws again.

    Args:
        p: Probability.
    """

    draws = 5
    keeps_bytes = True

    def __init__(self, *, p: float) -> None:
        self.p = probability(p, "erasing")

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Erase in images [B, 3, H, W]."""
        height, width = images.shape[-2:]
        area = between(u[:, 1], 0.02, 0.33) * (height * width)
        ratio = between(u[:, 2], math.log(0.3), math.log(3.3)).exp()
        tall = (area * ratio).sqrt().round().clamp(1, height)
        wide = (area / ratio).sqrt().round().clamp(1, width)
        top = (u[:, 3] * (height - tall + 1)).floor()
        left = (u[:, 4] * (width - wide + 1)).floor()
        return apply_where(u[:, 0] < self.p, _cover, images, inside(top, left, tall, wide, height, width))


class Mix:
    """Mixup and cutmix, each image with its neighbour in the order of the epoch.

    Mixup (Zhang et al., ICLR 2018) averages two images; cutmix (Yun et al., ICCV 2019) pastes a rectangle of one into
    the other; with both on, each image gets one of the two. The papers mix with a permutation of the batch. As the
    order of the epoch is itself a random permutation, places 2k and 2k + 1 are as random a pair, and one that does not
    depend on how batches are cut or spread over devices, as long as each device's share is even. An image whose
    neighbour is not in the batch (a last odd one) stays alone.

    Args:
        mixup: The alpha of Beta(alpha, alpha), from which the weight is drawn for each image; 0 is off.
        cutmix: The same for cutmix.
    """

    draws = 4

    def __init__(self, *, mixup: float, cutmix: float) -> None:
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if not isinstance(alpha, int | float) or not 0 <= alpha <= 100:
                raise ConfigError(
                    f"augment.{name} is {alpha}", where="augment", remedy="give an alpha from 0 (off) to 100"
                )
        self.quantiles = {name: _beta(a) for name, a in (("mixup", mixup), ("cutmix", cutmix)) if a}

    def __call__(
        self, images: Tensor, labels: Tensor, u: Tensor, places: Tensor, classes: int
    ) -> tuple[Tensor, Tensor]:
        """Mix images float [B, 3, H, W] and labels int64 [B].

        Returns:
            The images, and labels float [B, classes] whose rows sum to 1.
        """
        height, width = images.shape[-2:]
        index = torch.arange(len(images), device=images.device)
        partner = (index + 1 - 2 * (places % 2)).clamp(0, len(images) - 1)
        partner = torch.where(places[partner] == (places ^ 1), partner, index)
        weights = {name: _look_up(table.to(u.device), u[:, 0]) for name, table in self.quantiles.items()}
        own = weights["mixup"].view(-1, 1, 1, 1) if "mixup" in weights else images.new_ones(len(images), 1, 1, 1)
        if "cutmix" in weights:
            side = (1 - weights["cutmix"]).sqrt()
            tall, wide = (height * side).round(), (width * side).round()
            top, left = ((u[:, 1] * height - tall / 2).round(), (u[:, 2] * width - wide / 2).round())
            kept = (~inside(top, left, tall, wide, height, width)).to(images.dtype)
            own = torch.where((u[:, 3] < 0.5).view(-1, 1, 1, 1), own, kept) if "mixup" in weights else kept
        images = torch.lerp(images.index_select(0, partner), images, own)
        share = own.mean((1, 2, 3))[:, None].to(torch.float32)
        soft = share.new_zeros(len(labels), classes).scatter_(1, labels[:, None], share)
        return images, soft.scatter_add_(1, labels[partner][:, None], 1 - share)


def inside(top: Tensor, left: Tensor, tall: Tensor, wide: Tensor, height: int, width: int) -> Tensor:
    """Return the pixels of a rectangle.

    Args:
        top: [B], first row; may lie outside of the image.
        left: [B], first column.
        tall: [B], rows.
        wide: [B], columns.
        height: Of the image.
        width: Of the image.

    Returns:
        bool [B, 1, H, W].
    """
    y, x = torch.arange(height, device=top.device), torch.arange(width, device=top.device)
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
    return rows[:, None, :, None] & columns[:, None, None, :]


def _cover(images: Tensor, area: Tensor) -> Tensor:
    return images.masked_fill(area, 0.5 if images.is_floating_point() else 128)


def _beta(alpha: float) -> Tensor:
    """Quantiles of Beta(alpha, alpha) at 0, 1/4096, ..., 1: sampling becomes a look-up, with no rejection loop."""
    from scipy.special import betaincinv  # takes a while to import, and few runs mix

    return torch.from_numpy(betaincinv(alpha, alpha, torch.linspace(0, 1, 4097, dtype=torch.float64).numpy())).float()


def _look_up(table: Tensor, u: Tensor) -> Tensor:
    """Interpolate the table [n + 1] at u [B] in [0, 1)."""
    at = u * (len(table) - 1)
    low = at.long()
    return torch.lerp(table[low], table[low + 1], at - low)
