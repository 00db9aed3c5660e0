"""Pretrained weights: ImageNet's, a file's or those of a run of ours, and what they ask of the images."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from visionlab.errors import WeightsError
from visionlab.models.layers import layers
from visionlab.models.library import LibraryNetwork, TimmNetwork, import_timm, unknown

KEY = "model.weights"


@dataclass(frozen=True)
class Expected:
    """What images must be like for pretrained weights.

    Attributes:
        image_size: (height, width), px.
        mean: Of each channel, for values from 0 to 1.
        std: Standard deviation of each channel.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Loaded:
    """What was loaded and what was not.

    Attributes:
        source: Where the weights came from.
        loaded: Names of the tensors that were taken.
        replaced: Names of those of the last layer that keep their fresh values, because the classes are others, or
            because the weights are a backbone's.
    """

    source: str
    loaded: tuple[str, ...]
    replaced: tuple[str, ...]

    def __str__(self) -> str:
        kept = f"; new, for these classes: {', '.join(self.replaced)}" if self.replaced else ""
        return f"Loaded {len(self.loaded)} of {len(self.loaded) + len(self.replaced)} tensors from {self.source}{kept}."


def expected(weights: str | None, name: str, target: str = "") -> Expected | None:
    """Return what weights ask of the images, without building a network.

    Args:
        weights: As in the config: null, imagenet, a file or a run directory.
        name: Name of the network, as torchvision or timm calls it.
        target: Dotted path of the network's class, which tells timm's networks from torchvision's.

    Returns:
        None where nothing is known: no weights, or a file of another origin.

    Raises:
        WeightsError: There are no such weights.
    """
    if weights is None:
        return None
    if weights == "imagenet" and target.endswith(TimmNetwork.__name__):
        config = import_timm().models.get_pretrained_cfg(name, allow_unregistered=True)
        if config is None or not config.has_weights:
            raise _none_for(name, "timm")
        return Expected(tuple(config.input_size[1:]), tuple(config.mean), tuple(config.std))
    if weights == "imagenet":
        transforms = _torchvision(name).transforms()
        size = transforms.crop_size[0]
        return Expected((size, size), tuple(transforms.mean), tuple(transforms.std))
    run = run_of(weights)
    if run is None:
        return None
    data = _result(run).get("data", {})
    try:
        return Expected(tuple(data["image_size"]), tuple(data["mean"]), tuple(data["std"]))
    except KeyError as missing:
        raise WeightsError(
            f"The run does not say with which {missing} it was trained.",
            where=str(run / "result.json"),
            remedy="Train it again with this version, or give its checkpoints/best.ckpt away from the run directory.",
        ) from None


def load(network: nn.Module, weights: str, name: str, *, classes: Sequence[str] | None = None) -> Loaded:
    """Load weights into a network; its last layer stays new where the classes are others.

    Args:
        network: Built for our classes.
        weights: imagenet, a file (.pt, .pth, .safetensors, or Lightning's .ckpt) or a run directory.
        name: Name of the network, as torchvision or timm calls it.
        classes: Names of our classes. The last layer of a run is only taken where its classes are the same; of a
            source that does not name its classes, where their number is the same.

    Returns:
        What was loaded and what was replaced.

    Raises:
        WeightsError: The weights are missing, unreadable or those of another architecture.
    """
    renew = False
    if weights == "imagenet":
        state, source = _imagenet(network, name)
    else:
        path, run = _existing(weights), run_of(weights)
        if run is not None:
            theirs: Any = _result(run).get("data", {}).get("classes")
            renew = classes is not None and isinstance(theirs, list) and _spelled(theirs) != _spelled(classes)
        file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
        state, source = _read(file), str(path)
    own = network.state_dict()
    state = _aligned(state, own, network)
    several = network.logits if isinstance(network, LibraryNetwork) else ()
    head = {*layers(network)[-1].parameters, *(k for k in own if k.startswith(tuple(f"{name}." for name in several)))}
    # Another number of classes changes the first dimension of the last layer, and nothing else; a backbone has none.
    replaced = {
        key
        for key in head & state.keys()
        if state[key].shape[1:] == own[key].shape[1:] and (renew or state[key].shape != own[key].shape)
    } | (head if not head & state.keys() else set())
    wrong = [
        *(
            f"{k} is missing"
            for k in own
            if k not in state and k not in replaced and not k.endswith("num_batches_tracked")
        ),
        *(f"{k} has no place" for k in state if k not in own),
        *(
            f"{k} is {list(state[k].shape)}, must be {list(own[k].shape)}"
            for k in own
            if k in state and k not in replaced and state[k].shape != own[k].shape
        ),
    ]
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise WeightsError(
            f"The weights do not fit the network: {'; '.join(wrong[:4])}{more}.",
            where=f"{KEY}={weights}",
            remedy="Give model and model.network.* as the weights were trained with (a run's are in its config.yaml); "
            "ImageNet's were trained with model.network.small_images=false and the sizes of the paper.",
        )
    taken = {key: value for key, value in state.items() if key not in replaced}
    network.load_state_dict(taken, strict=False)
    return Loaded(source, tuple(taken), tuple(sorted(replaced)))


def _imagenet(network: nn.Module, name: str) -> tuple[Mapping[str, Tensor], str]:
    """Return the state that a library's network has with its pretrained weights, and their name."""
    if isinstance(network, TimmNetwork):
        timm = import_timm()
        config = timm.models.get_pretrained_cfg(network.name, allow_unregistered=True)
        if config is None or not config.has_weights:
            raise _none_for(network.name, "timm")
        try:
            with torch.random.fork_rng():
                model = timm.create_model(network.name, pretrained=True, **network.options)
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsError(
                f"timm cannot get the weights of {network.name}: {str(error).splitlines()[0]}",
                where=f"{KEY}=imagenet",
                remedy=f"Get {config.hf_hub_id or config.url} on a machine with a network and copy its cache folder "
                "(which HF_HOME or TORCH_HOME names) to this one.",
            ) from error
        return model.state_dict(), f"timm {network.name}"
    from torchvision.models import get_model

    chosen = _torchvision(name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    try:
        with torch.random.fork_rng():  # building a network draws numbers, which must not depend on the weights
            model = get_model(name, weights=chosen)
    except (URLError, OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise WeightsError(
            f"The ImageNet weights of {name} could not be {'read' if file.exists() else 'downloaded'}: {error}",
            where=str(file),
            remedy=f"Download {chosen.url} and put it into the folder {file.parent} as {file.name}.",
        ) from error
    return model.state_dict(), f"torchvision {chosen}"


def _torchvision(name: str) -> Any:
    """Return torchvision's default weights of a network."""
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise _none_for(name, "torchvision") from unknown(name, names, "torchvision")
    return models.get_model_weights(name).DEFAULT


def _none_for(name: str, library: str) -> WeightsError:
    return WeightsError(
        f"{library} has no ImageNet weights for '{name}'.",
        where=f"{KEY}=imagenet",
        remedy="Leave model.weights out, give a file or a run directory, or use model=torchvision model.name=<name>.",
    )


def _spelled(classes: Sequence[str]) -> list[str]:
    """Return names as they are compared: a Mac stores accents otherwise."""
    return [unicodedata.normalize("NFC", name) for name in classes]


def _existing(weights: str) -> Path:
    path = Path(weights).expanduser()
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not file.exists():
        raise WeightsError(
            f"There is no {file}.",
            where=f"{KEY}={weights}",
            remedy="Give imagenet, a file with weights, or the directory of a finished run.",
        )
    return path


def run_of(weights: str) -> Path | None:
    """Return the directory of the run that weights are of, None for a file of another origin.

    Raises:
        WeightsError: There is no such file or run.
    """
    path = _existing(weights)
    run = path if path.is_dir() else path.parent.parent
    return run if (run / "result.json").exists() else None


def _result(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


def _read(file: Path) -> dict[str, Tensor]:
    """Read a state dict; never anything that could run code."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise WeightsError(
            "safetensors is not installed.", where=str(file), remedy="pip install 'visionlab[export]'."
        ) from error
    except Exception as error:  # torch and safetensors raise a dozen kinds on half a download
        raise WeightsError(
            f"The file cannot be read as weights: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=str(file),
            remedy="Give a whole file that holds tensors only, as torch.save(network.state_dict(), file) writes.",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise WeightsError(
            "The file holds no state dict.", where=str(file), remedy="Save network.state_dict(), not the network."
        )
    return dict(content)


def _aligned(state: Mapping[str, Tensor], own: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Name the tensors as the network does, whatever they were wrapped in."""
    ours = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    renamed = {_bare(key): value for key, value in (ours or state).items()}
    candidates = [
        renamed,
        {f"model.{key}": value for key, value in renamed.items()},
        {key.removeprefix("model."): value for key, value in renamed.items()},
    ]
    best = max(candidates, key=lambda candidate: len(candidate.keys() & own.keys()))
    ignored = network.ignored if isinstance(network, LibraryNetwork) else ()
    return {key: value for key, value in best.items() if key in own or not key.startswith(tuple(ignored))}


def _bare(key: str) -> str:
    """Take off what torch.compile and DistributedDataParallel put before a name."""
    return key.replace("_orig_mod.", "").removeprefix("module.")
