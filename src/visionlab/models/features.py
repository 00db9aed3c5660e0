"""Features of images: what a network knows before its last layer, and two classifiers on top of them."""

from threading import get_ident

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionlab.models.layers import layers


@torch.no_grad()
def features(network: nn.Module, images: Tensor) -> Tensor:
    """Return the inputs of the network's last layer.

    Where that layer is a convolution, as in SqueezeNet, they are averaged over the image.

    Args:
        network: In eval mode, or its dropout and BatchNorm will show.
        images: `[B, 3, H, W]`, float, normalised.

    Returns:
        `[B, D]`, float.
    """
    last = network.get_submodule(layers(network)[-1].name)
    caught: list[Tensor] = []
    own = get_ident()  # another thread may be using the network too

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if get_ident() == own:
            caught.append(inputs[0])

    handle = last.register_forward_pre_hook(catch)
    try:
        network(images)
    finally:
        handle.remove()
    found = caught[-1]
    return (found.mean((2, 3)) if isinstance(last, nn.Conv2d) else found).float()


@torch.no_grad()
def nearest_neighbours(
    train: Tensor, labels: Tensor, test: Tensor, *, k: int = 20, temperature: float = 0.07, chunk: int = 1024
) -> Tensor:
    """Classify by the k most similar training images: a baseline without any training.

    Neighbours vote with exp(similarity / temperature), the similarity being the cosine, as in
    https://arxiv.org/abs/1805.01978, section 3.4.

    Args:
        train: `[N, D]`, features of the training images.
        labels: int64 `[N]`, their classes.
        test: `[M, D]`, features of the images to classify.
        k: Neighbours; all of them where there are fewer.
        temperature: Above 0; the lower, the more the nearest decide.
        chunk: Images that are compared at a time, which bounds the memory to chunk x N similarities.

    Returns:
        Scores `[M, K]` that sum to 1 for each image; the largest is the class.
    """
    classes = int(labels.max()) + 1
    known = functional.normalize(train, dim=1)
    votes = []
    for part in functional.normalize(test, dim=1).split(chunk):
        similarity, nearest = (part @ known.T).topk(min(k, len(known)), dim=1)  # [chunk, k]
        weight = ((similarity - similarity[:, :1]) / temperature).exp()  # less the largest, so that none overflows
        votes.append(part.new_zeros(len(part), classes).scatter_add_(1, labels[nearest], weight))
    scores = torch.cat(votes)
    return scores / scores.sum(1, keepdim=True)


def linear_probe(
    train: Tensor, labels: Tensor, test: Tensor, *, weight_decay: float = 1e-3, iterations: int = 200
) -> Tensor:
    """Classify by a linear layer trained on frozen features: multinomial logistic regression, solved with L-BFGS.

    The features are standardised with the training images' mean and deviation, so that one weight decay serves all
    networks. There is no randomness in it.

    Args:
        train: `[N, D]`, features of the training images.
        labels: int64 `[N]`, their classes.
        test: `[M, D]`, features of the images to classify.
        weight_decay: Factor of half the squared weights beside the mean cross-entropy.
        iterations: At most this many of L-BFGS.

    Returns:
        Logits `[M, K]`.
    """
    mean, deviation = train.mean(0), train.std(0).clamp(min=1e-6)
    inputs = (train - mean) / deviation
    weight = train.new_zeros(int(labels.max()) + 1, train.shape[1], requires_grad=True)
    bias = train.new_zeros(len(weight), requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(inputs @ weight.T + bias, labels) + weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return ((test - mean) / deviation @ weight.T + bias).detach()
