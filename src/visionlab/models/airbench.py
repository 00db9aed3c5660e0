"""The network of airbench: a small VGG whose first layer whitens patches, made to learn CIFAR-10 in few epochs."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionlab.models.sizes import check_size

MOMENTUM = 0.4  # weight of a batch in BatchNorm's running statistics


class Whitening(nn.Module):
    """A convolution that decorrelates the pixels of small patches; only its bias is trained.

    Its kernels are the principal components of the training images' patches, each divided by its deviation, and their
    negatives. They come from `fit`; until then they are random orthogonal directions.
    """

    kernels: Tensor

    def __init__(self, *, patch: int, stride: int) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride
        size = 3 * patch**2
        directions = torch.linalg.qr(torch.randn(size, size))[0].reshape(size, 3, patch, patch)
        self.register_buffer("kernels", torch.cat([directions, -directions]))
        self.bias = nn.Parameter(torch.zeros(2 * size))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the kernels from the patches of images, float `[N, 3, H, W]` a batch."""
        products, count = torch.zeros(2 * [3 * self.patch**2], dtype=torch.float64), 0
        for images in batches:
            patches = functional.unfold(images.double(), self.patch, stride=self.patch)  # [N, 3 * patch^2, patches]
            patches = patches.transpose(1, 2).flatten(0, 1)
            products, count = products + patches.T @ patches, count + len(patches)
        values, vectors = torch.linalg.eigh(products / count)
        directions = (vectors / (values + 5e-4).sqrt()).T.reshape(-1, 3, self.patch, self.patch)
        self.kernels.copy_(torch.cat([directions, -directions]))

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to features `[B, 6 * patch^2, (H - patch) / stride + 1, ...]`."""
        return functional.conv2d(images, self.kernels, self.bias, self.stride)


class BiasNorm(nn.BatchNorm2d):
    """BatchNorm without scales, whose biases learn faster than the other weights.

    The paper gives the biases 64 times the learning rate. Here they are multiplied by 8, which is the same for SGD: the
    gradient grows by 8 and the step by 8 again, while weight decay stays as it is.
    """

    speed = 8.0

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12)
        self.register_parameter("weight", None)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features `[B, C, H, W]` over the batch, or by the running statistics."""
        bias = self.bias * self.speed
        return functional.batch_norm(
            features, self.running_mean, self.running_var, None, bias, self.training, MOMENTUM, self.eps
        )


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a 3x3 convolution that begins by passing its inputs on."""
    made = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(made.weight[:inputs])
    return made


class Group(nn.Module):
    """Convolution and 2x2 max-pooling, then further convolutions, each with BatchNorm and GELU.

    With three convolutions the last two are a residual, as in the larger networks of the paper.
    """

    def __init__(self, inputs: int, outputs: int, convolutions: int) -> None:
        super().__init__()
        sizes = [inputs, *[outputs] * (convolutions - 1)]
        self.convolutions = nn.ModuleList(convolution(size, outputs) for size in sizes)
        self.norms = nn.ModuleList(BiasNorm(outputs) for _ in sizes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, outputs, H / 2, W / 2]`."""
        features = functional.max_pool2d(self.convolutions[0](features), 2)
        start = features = functional.gelu(self.norms[0](features))
        last = len(self.norms) - 1
        for number in range(1, last + 1):
            features = self.norms[number](self.convolutions[number](features))
            if number == last and last > 1:
                features = features + start
            features = functional.gelu(features)
        return features


class Airbench(nn.Module):
    """A whitening convolution, groups of 3x3 convolutions with pooling, the maximum over places, a linear head.

    Paper: "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (https://arxiv.org/abs/2404.00498). With its sizes at 32 px
    it has 1,971,352 parameters that are trained and 10 classes; its whitening kernels are 288 more numbers, a buffer.
    Deviations: the bias of the whitening is trained to the end, not for three epochs; the pooling before the head is
    over all places, so that any size of image is taken.

    Args:
        num_classes: K, the number of logits.
        widths: Output channels of each group; each group halves the side.
        convolutions: 3x3 convolutions in a group, 1 or more (2 in the paper's smallest network, 3 in its largest).
        patch: Side of the whitened patches, px; they give 6 * patch^2 features.
        stride: Step between two patches, px; 2 or more for images larger than 32 px.
    """

    head = "classifier"

    def __init__(
        self,
        *,
        num_classes: int,
        widths: Sequence[int] = (64, 256, 256),
        convolutions: int = 2,
        patch: int = 2,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.min_size = patch + stride * (2 ** len(widths) - 1)
        self.whitening = Whitening(patch=patch, stride=stride)
        sizes = [6 * patch**2, *widths]
        self.groups = nn.Sequential(
            *(Group(inputs, outputs, convolutions) for inputs, outputs in zip(sizes, widths, strict=False))
        )
        self.classifier = nn.Linear(widths[-1], num_classes, bias=False)

    def fit_stem(self, batches: Iterable[Tensor]) -> None:
        """Whiten by the statistics of training images, float `[N, 3, H, W]` a batch, normalised as in training."""
        self.whitening.fit(batches)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.groups(functional.gelu(self.whitening(images)))  # [B, widths[-1], H / 8, W / 8]
        logits: Tensor = self.classifier(features.amax((2, 3))) / 9  # [B, K]; the paper's scale
        return logits
