"""Take a trained network elsewhere, verified: `python -m visionlab.export run=... format=onnx`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig

from visionlab import doors
from visionlab.checks import check_keys
from visionlab.config import resolved
from visionlab.errors import ConfigError, DataError, RunError
from visionlab.runs import Run, write_atomically
from visionlab.schema import Choice, Number, Text, violations

if TYPE_CHECKING:
    from torch import Tensor

    from visionlab.loading import Loaded

IMAGES = 32  # that the file is verified on
TOLERANCE = 1e-4  # of the logits, relative to the largest one where that is above 1: float32 in another order of sums
RULES: dict[str, Number | Choice | Text] = {
    "format": Choice(("onnx", "torch_export", "safetensors")),
    "preprocessing": Choice(("inside", "described")),
}


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to the checkpoint.

    Attributes:
        file: The network.
        description: The JSON file that says what goes in, what comes out and which classes there are.
        script: A Python file that reads images as the network learnt them, and runs a program, without visionlab.
        images: Number of real images that both were given.
        difference: The largest absolute difference of their logits.
        probability_difference: The largest absolute difference of their probabilities.
    """

    file: Path
    description: Path
    script: Path
    images: int
    difference: float
    probability_difference: float


def export(
    run: str | Path | Run,
    format: Literal["onnx", "torch_export", "safetensors"] = "onnx",
    *,
    preprocessing: Literal["inside", "described"] = "inside",
    source: str | Path | None = None,
    out: str | Path | None = None,
) -> Exported:
    """Write the best checkpoint of a run in a format that other software reads.

    What was written is read again and must give the same logits as the checkpoint on real images, for a batch and for
    a single image; a file that does not is not left behind.

    Args:
        run: The run or its directory.
        format: onnx, torch_export (a program that torch runs without our code) or safetensors (the weights alone).
        preprocessing: inside: the file takes uint8 images [B, 3, H, W]. described: it takes them scaled and normalised,
            float [B, 3, H, W], as the description says. Weights alone hold no preprocessing, so safetensors has it
            always described.
        source: Images to verify with: a file, a folder or a pattern; those of the run's test split unless given.
        out: The folder to write to, with the run's name; `export` in the run's directory, with the network's name,
            unless given.

    Raises:
        RunError: No run lies there, or what was written gives other logits than the checkpoint.
        ConfigError: Something is not installed, or the format cannot express the network.
        DataError: There are no images to verify with.
    """
    import torch

    from visionlab import export_script, exporting
    from visionlab.loading import load

    run = run if isinstance(run, Run) else Run.open(run)
    if str(format) == "torchscript":
        what, remedy = "torch has given up TorchScript", "give format=torch_export, its successor, or onnx"
        raise ConfigError(what, where="format", remedy=remedy)
    for error in violations({"format": format, "preprocessing": preprocessing}, RULES):
        raise error
    exporting.require(format)
    loaded = load(run)
    pixels, origin = _pixels(loaded, source)
    inside = preprocessing == "inside" and format != "safetensors"
    images = pixels if inside else loaded.preprocess(pixels)
    about = _describe(loaded, format, inside)
    folder = Path(str(out)).expanduser() if out is not None else run.dir / "export"
    folder.mkdir(parents=True, exist_ok=True)
    # A folder of several runs has perhaps two of one network. timm has names with a slash, as hf-hub:timm/resnet18.
    name = run.dir.resolve().name if out is not None else re.sub(r"[^\w.-]+", "_", run.result["model"]["name"])
    file = folder / f"{name}{exporting.ENDINGS[format]}"
    part = file.with_name(f".part-{file.name}")
    try:
        with torch.no_grad():
            example = torch.zeros_like(images[:1]).expand(2, -1, -1, -1).contiguous()
            written = exporting.write(format, loaded if inside else loaded.network, example, part, about)
            # Batches of several sizes, the same for both: the last digits of a sum depend on the batch.
            found = torch.cat([written(images[1:]), written(images[:1])])
            expected = torch.cat([loaded(pixels[1:]), loaded(pixels[:1])])
        difference = float((found - expected).abs().max())
        largest = float(expected.abs().max())
        if not difference <= TOLERANCE * max(1.0, largest):  # also where it is no number
            raise RunError(
                f"the {format} file gives other logits than the checkpoint: they differ by up to {difference:.2g}",
                where=str(run.dir),
                remedy="use another format; this one cannot be trusted with this network",
            )
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    softer = float((found.softmax(1) - expected.softmax(1)).abs().max())
    verified = {
        "images": len(pixels), "of": origin, "max_difference_logits": difference, "max_difference_probabilities": softer
    }  # fmt: skip
    description = file.with_name(f"{file.name}.json")
    script = export_script.write(loaded, format, inside, file)
    named = {"file": file.name, "script": script.name}
    write_atomically(
        description, json.dumps({**named, **about, "verified": verified}, indent=1, ensure_ascii=False) + "\n"
    )
    return Exported(file, description, script, len(pixels), difference, softer)


def _describe(loaded: "Loaded", form: str, inside: bool) -> dict[str, Any]:
    """Say all that somebody needs who has the file and not visionlab."""
    from importlib.metadata import version

    result, transform = loaded.run.result, loaded.transform
    height, width = transform.size
    normalize = "subtract mean and divide by std, channel by channel, after division by 255"
    return {
        "format": form,
        "model": result["model"]["name"],
        "run": loaded.run.dir.name,
        "visionlab": version("visionlab"),
        "classes": loaded.classes,
        "input": {
            "name": "images",
            "shape": ["batch", 3, height, width],
            "dtype": "uint8" if inside else "float32",
            "channels": "RGB",
            "values": "0 to 255" if inside else f"pixels of 0 to 255: {normalize}",
        },
        "output": {
            "name": "logits",
            "shape": ["batch", len(loaded.classes)],
            "dtype": "float32",
            "values": "softmax makes them probabilities",
        },
        "decoding": "as the script does: first frame, upright by its EXIF orientation, on white where transparent, "
        + _wide(transform.white),
        "preprocessing": "inside" if inside else "described",
        "mean": result["data"]["mean"],
        "std": result["data"]["std"],
        "resize": {
            "how": transform.resize,
            "height": height,
            "width": width,
            "crop_ratio": transform.crop_ratio,
            "interpolation": "bilinear, antialiased",
            "meaning": RESIZES[transform.resize],
        },
        "status": result["status"],
        "metrics": result.get("metrics", {}),
    }


def _wide(white: float | None) -> str:
    """Say what becomes of values of more than eight bits."""
    if white is None:
        return "upper 8 bits of 16"
    return f"values of more than 8 bits and floats divided by {white:g}, cut off at 0 and 1, times 255, rounded"


RESIZES = {
    "stretch": "scale to height x width, whatever the aspect ratio",
    "crop": "scale until the image covers height / crop_ratio x width / crop_ratio, then cut out the centre",
    "pad": "scale until the image fits into height x width, then put black around it",
    "none": "do not scale; cut out the centre, with black around it where the image is smaller",
}


def _pixels(loaded: "Loaded", source: str | Path | None) -> "tuple[Tensor, str]":
    """Return real images, uint8 [N, 3, H, W] with N at least 2, and where they come from."""
    import torch

    if source is not None:
        from visionlab.prediction import sources

        found = sources.find(source).images
        parts = list(sources.read(found[:: max(1, len(found) // IMAGES)][:IMAGES], loaded.transform, IMAGES))
        pixels, origin = torch.cat([part.pixels for part in parts]), str(source)
    else:
        from omegaconf import OmegaConf

        from visionlab.training import build

        try:
            data = build.data_module(build.for_evaluation(OmegaConf.create(loaded.run.config), loaded.run))
        except DataError as error:
            raise DataError(
                f"there are no images to verify with: {error.what}",
                where=error.where,
                remedy="name some with source=<image | folder | pattern>",
            ) from error
        origin = "test" if data.has_test else "val"
        rows = torch.as_tensor(data.splits.test if data.has_test else data.splits.val)
        pixels = data.pixels(rows[:: max(1, len(rows) // IMAGES)][:IMAGES])
    if not len(pixels):
        raise DataError("no image of the source can be read", where=f"source={source}")
    return (pixels if len(pixels) > 1 else pixels.repeat(2, 1, 1, 1)), origin


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="export")
def job(config: DictConfig) -> None:
    """Export what a command line asks for and say how near it is."""
    from rich.console import Console

    asked = resolved(config)
    check_keys(asked, "export")
    made = export(str(asked.pop("run")), **asked)
    console = Console(highlight=False)
    console.print(
        f"{made.images} images: logits differ by at most {made.difference:.1e}, "
        f"probabilities by {made.probability_difference:.1e}"
    )
    for path in (made.file, made.description, made.script):
        console.print(str(path), style=f"link {path.resolve().as_uri()}", markup=False, soft_wrap=True)


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
