"""Any classification network of torchvision or timm, with a head for our classes."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from types import ModuleType
from typing import cast

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError
from visionlab.models.layers import layers
from visionlab.models.sizes import check_size, height_width


class LibraryNetwork(nn.Module):
    """A network of a library, as one of ours: it names its head and its smallest image.

    Args:
        model: The library's network, already with `num_classes` logits.
        min_size: Smallest height and width that it takes, px.
        exact: The only height and width that it takes, px, if there is one.
        logits: Names of the model's layers that give logits, where there are several; its last layer unless given.
    """

    ignored: tuple[str, ...] = ()  # prefixes of pretrained tensors that have no place in this network

    def __init__(
        self, model: nn.Module, *, min_size: int, exact: tuple[int, int] | None, logits: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.model = model
        self.min_size = min_size
        self.exact = exact
        self.logits = tuple(f"model.{name}" for name in logits) or (layers(self)[-1].name,)
        # The parts of the model that hold these layers, whatever they are called: fc, classifier, head, heads, ...
        parts = tuple(dict.fromkeys(".".join(name.split(".")[:2]) for name in self.logits))
        self.head = parts[0] if len(parts) == 1 else parts

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size, exact=self.exact)
        logits: Tensor = self.model(images)
        return logits


class TorchvisionNetwork(LibraryNetwork):
    """A network of torchvision.

    Args:
        name: As in `torchvision.models.list_models()`.
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the size of ViT and MaxViT.

    Raises:
        ConfigError: torchvision has no such network, or it cannot have this image size.
    """

    # The auxiliary classifiers of GoogLeNet and Inception, which only the training of their papers had
    ignored = ("model.aux", "model.AuxLogits")

    def __init__(self, *, name: str, num_classes: int, image_size: int | Sequence[int] = 224) -> None:
        from torchvision import models

        names = models.list_models(module=models)
        if name not in names:
            raise unknown(name, names, "torchvision")
        smallest = models.get_model_weights(name).DEFAULT.meta.get("min_size", (1, 1))
        options: dict[str, object] = {}
        exact = None
        if name.startswith("vit_"):
            exact = height_width(image_size)
            options = {"image_size": exact[0]}
            smallest = (14,) if name.endswith("14") else (int(name.split("_")[-1]),)  # one patch
        elif name.startswith("maxvit"):
            exact = height_width(image_size)
            options = {"input_size": exact}
        elif name.startswith("swin"):
            smallest = (32,)  # windows are padded; the 224 px of its weights are what they were trained on
        elif name in ("googlenet", "inception_v3"):
            # transform_input: ImageNet's normalisation is turned into the one that their weights were trained with.
            options = {"aux_logits": False, "init_weights": False, "transform_input": True}
        if exact is not None and exact[0] != exact[1]:
            raise ConfigError(
                f"{name} takes square images, not {exact[0]}x{exact[1]} px.",
                where="data.image_size",
                remedy="Give one number.",
            )
        try:
            model = models.get_model(name, weights=None, num_classes=num_classes, **options)
        except (AssertionError, ValueError, RuntimeError) as error:
            of_patches = "a multiple of " if name.startswith("vit_") else ""
            raise ConfigError(
                f"{name} cannot be built for images of {image_size} px: {error}",
                where="data.image_size",
                remedy=f"Use {of_patches}{max(smallest)} px.",
            ) from error
        super().__init__(model, min_size=max(smallest), exact=exact)


class TimmNetwork(LibraryNetwork):
    """A network of timm (the extra `timm`).

    Args:
        name: As in `timm.list_models()`; with a tag after a point, those pretrained weights are meant.
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the size of networks that have one.

    Raises:
        ConfigError: timm is not installed, has no such network, or it cannot have this image size.
    """

    def __init__(self, *, name: str, num_classes: int, image_size: int | Sequence[int] = 224) -> None:
        timm = import_timm()
        if not timm.is_model(name):
            raise unknown(name, timm.list_models(), "timm")
        size = height_width(image_size)
        config = timm.models.get_pretrained_cfg(name, allow_unregistered=True)
        fixed = bool(config.fixed_input_size)
        self.options = {"img_size": size} if fixed else {}
        self.name = name
        try:
            model = timm.create_model(name, pretrained=False, num_classes=num_classes, **self.options)
            with torch.no_grad():
                model.eval()(torch.zeros(1, 3, *size))  # timm does not say what the smallest image is
        except (AssertionError, ValueError, RuntimeError, TypeError) as error:
            raise ConfigError(
                f"{name} cannot be built for images of {size[0]}x{size[1]} px: {error}",
                where="data.image_size",
                remedy=f"Use {config.input_size[1]} px, which it was made for, or try other sizes.",
            ) from error
        # Distilled transformers and some others have two heads, whose logits are averaged.
        named = config.classifier if isinstance(config.classifier, tuple | list) else ()
        several = named if {*named} <= {layer for layer, _ in model.named_modules()} else ()
        exact = size if fixed else None
        super().__init__(model.train(), min_size=min(size) if fixed else 1, exact=exact, logits=several)


def import_timm() -> ModuleType:
    """Return the module timm, whose import takes seconds, so only where it is used.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            "timm is not installed.", where="model", remedy="pip install 'visionlab[timm]', or use model=torchvision."
        ) from error
    return cast(ModuleType, timm)


def unknown(name: str, names: Iterable[str], library: str) -> ConfigError:
    """Make the error for a network that a library does not have, with the nearest names."""
    close = get_close_matches(name, list(names), n=3, cutoff=0.6)
    did = f"Did you mean {' or '.join(close)}?" if close else f"{library}'s list_models() has the names."
    return ConfigError(f"{library} has no network '{name}'.", where="model.name", remedy=did)
