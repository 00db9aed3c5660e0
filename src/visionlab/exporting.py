"""The file formats that a network leaves the house in, each with the way back that proves what is in the file."""

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError

# The modules that a format needs beyond the core, and the ending of its file.
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "safetensors": ("safetensors",)}
ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}

Network = Callable[[Tensor], Tensor]
INPUT, OUTPUT = "images", "logits"


def require(form: str) -> None:
    """Check that what a format needs is installed.

    Raises:
        ConfigError: It is not.
    """
    missing = [name for name in NEEDS[form] if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"format={form} needs {' and '.join(missing)}, which is not installed",
            where="format",
            remedy='pip install "visionlab[export]"',
        )


def write(form: str, network: nn.Module, example: Tensor, path: Path, about: Mapping[str, Any]) -> Network:
    """Write a network to a file and return what the file holds, read again, as a function.

    Args:
        form: onnx, torch_export or safetensors.
        network: In eval mode, on the CPU.
        example: A batch of 2 that it takes; its number of images is free in the file, its other dimensions are not.
        path: The file.
        about: What the file is to say of itself, as values of JSON.

    Raises:
        ConfigError: The format cannot express the network.
    """
    writers = {"onnx": _onnx, "torch_export": _torch_export, "safetensors": _safetensors}
    return writers[form](network, example, path, about)


def _onnx(network: nn.Module, example: Tensor, path: Path, about: Mapping[str, Any]) -> Network:
    import onnxruntime

    try:
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            external_data=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise _inexpressible("onnx", error) from error
    assert program is not None
    program.model.metadata_props.update({key: _text(value) for key, value in about.items()})
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _torch_export(network: nn.Module, example: Tensor, path: Path, about: Mapping[str, Any]) -> Network:
    try:
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
        )  # fmt: skip
    except Exception as error:  # torch.export raises whatever tracing meets
        raise _inexpressible("torch_export", error) from error
    torch.export.save(program, path, extra_files={"visionlab.json": json.dumps(about)})
    read: Network = torch.export.load(path).module()
    return read


def _safetensors(network: nn.Module, example: Tensor, path: Path, about: Mapping[str, Any]) -> Network:
    import copy

    from safetensors.torch import load_model, save_model

    path.touch()
    mode = path.stat().st_mode
    save_model(network, str(path), metadata={key: _text(value) for key, value in about.items()})
    path.chmod(mode)  # safetensors lets nobody but the owner read its files
    read = copy.deepcopy(network)
    for tensor in read.state_dict(keep_vars=True).values():
        tensor.data.zero_()  # so that what is missing in the file cannot be right by accident
    load_model(read, path)
    return read


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _inexpressible(form: str, error: Exception) -> ConfigError:
    others = " or ".join(f"format={other}" for other in NEEDS if other != form)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ConfigError(f"{form} cannot express this network: {reason}", where="format", remedy=f"use {others}")
