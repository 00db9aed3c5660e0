"""Grad-CAM: where in an image a convolutional network sees the class that it names."""

from threading import get_ident

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import pooling

from visionlab.errors import ConfigError

POOLS = (pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveMaxPoolNd, pooling._AdaptiveAvgPoolNd)


class _LastMaps:
    """Listens to a forward pass and keeps what the last convolution, with what follows it up to a pooling, gives.

    So norm, activation and the sum with a residual are in it. Outputs of 1x1 px, as in squeeze-and-excitation, have no
    place and do not count.
    """

    def __init__(self) -> None:
        self.maps: Tensor | None = None  # [B, C, h, w]
        self.convolutions: list[nn.Conv2d] = []
        self._follows = False
        self._thread = get_ident()  # another may be using the network too

    def __call__(self, module: nn.Module, _: object, output: object) -> None:
        if get_ident() != self._thread:
            return
        if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[2] * output.shape[3] == 1:
            return
        if isinstance(module, nn.Conv2d):
            self.convolutions.append(module)
            self.maps, self._follows = output, True
        elif isinstance(module, POOLS):
            self._follows = False
        elif self._follows and self.maps is not None and output.shape[2:] == self.maps.shape[2:]:
            self.maps = output


def gradcam(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return how much each place of the images speaks for a class.

    The maps of the last convolution are summed, each weighted with the mean gradient of the class's logit by it; what
    speaks against the class is cut off. Paper: https://arxiv.org/abs/1610.02391. Deviation: norm and activation behind
    the convolution are included, which makes it the output of the last residual block where there are such.

    Args:
        network: In eval mode; its parameters need gradients.
        images: Float `[B, 3, H, W]`, normalised.
        classes: Int64 `[B]`, the class that is asked for.

    Returns:
        Float `[B, H, W]` from 0 to 1, the largest value of each image being 1, or all 0 where nothing speaks for it.

    Raises:
        ConfigError: The network has no convolution behind which there are still places.
    """
    listener = _LastMaps()
    handles = [module.register_forward_hook(listener) for module in network.modules()]
    try:
        with torch.enable_grad():
            logits: Tensor = network(images)  # [B, K]
    finally:
        for handle in handles:
            handle.remove()
    maps, found = listener.maps, listener.convolutions
    patches = len(found) == 1 and found[0].kernel_size == found[0].stride and max(found[0].stride) > 1
    if maps is None or patches:
        why = "its only convolution cuts the image into patches" if patches else "it has no convolution"
        raise ConfigError(
            f"Grad-CAM cannot look into {type(network).__name__}: {why}",
            where="gradcam",
            remedy="leave out gradcam=true for this run, or use a run of a convolutional network",
        )
    score = logits.gather(1, classes[:, None]).sum()  # images do not touch one another in eval mode
    (gradient,) = torch.autograd.grad(score, maps)
    weights = gradient.float().mean((2, 3), keepdim=True)  # [B, C, 1, 1]
    heat = (weights * maps.detach().float()).sum(1, keepdim=True).relu()  # [B, 1, h, w]
    heat = functional.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=torch.finfo(heat.dtype).tiny)
