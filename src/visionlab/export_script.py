"""The Python file beside an exported network that reads images as the network learnt them, without visionlab."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from visionlab.data import transform

if TYPE_CHECKING:
    from visionlab.loading import Loaded

HEAD = '''"""Reads images for {file} as it learnt them{classifies}.

Needs {needs}; it was written by visionlab together with the network, and the code that
decodes and scales is the one that the network was trained and tested with.
"""

import sys
from functools import cache
'''

PREPARE = '''

CLASSES = {classes!r}
TRANSFORM = {transform!r}


def prepare(*files: str | Path | bytes) -> NDArray[np.{dtype}]:
    """Return what the network takes of image files, or of the bytes of such: {dtype} [B, 3, {height}, {width}]."""
    data = [file if isinstance(file, bytes) else Path(file).read_bytes() for file in files]
    images = np.stack([TRANSFORM.load(each)[0] for each in data]).transpose(0, 3, 1, 2)
    {returned}
'''

INSIDE = "return np.ascontiguousarray(images)"
DESCRIBED = """mean, std = (np.array(each, np.float32)[:, None, None] for each in ({mean}, {std}))
    return np.ascontiguousarray((images / np.float32(255) - mean) / std)"""

CLASSIFY = '''

@cache
def network() -> Any:
    """Return the network, which is read once."""
    {network}


def classify(*files: str | Path | bytes) -> list[dict[str, float]]:
    """Return the probability of each class, for each image."""
    {logits}
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return [dict(zip(CLASSES, row.tolist(), strict=True)) for row in shares / shares.sum(1, keepdims=True)]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python {script} photo.jpg ...")
    for file, found in zip(sys.argv[1:], classify(*sys.argv[1:]), strict=True):
        best = max(found, key=lambda name: found[name])
        print(f"{{file}}: {{best}} ({{100 * found[best]:.1f}} %)")
'''

NETWORK = {
    "onnx": """import onnxruntime

    return onnxruntime.InferenceSession(Path(__file__).with_name({file!r}), providers=["CPUExecutionProvider"])""",
    "torch_export": """import torch

    return torch.export.load(Path(__file__).with_name({file!r})).module()""",
}
LOGITS = {
    "onnx": 'logits = network().run(None, {"images": prepare(*files)})[0]',
    "torch_export": """import torch

    logits = network()(torch.from_numpy(prepare(*files))).detach().numpy()""",
}
NEEDS = {"onnx": "Pillow, NumPy and onnxruntime", "torch_export": "Pillow, NumPy and torch"}


def write(loaded: "Loaded", form: str, inside: bool, file: Path) -> Path:
    """Write the script of an exported network and return its path.

    Weights alone are no program: beside safetensors it prepares images and classifies none.

    Args:
        loaded: The run that was exported.
        form: onnx, torch_export or safetensors.
        inside: Whether the file takes uint8 images and normalises them itself.
        file: The network's file.
    """
    height, width = loaded.transform.size
    about = loaded.run.result["data"]
    place = file.with_name(re.sub(r"\W+", "_", f"{file.stem}_{form}") + ".py")
    code = Path(transform.__file__).read_text(encoding="utf-8").split('"""', 2)[2]
    runs = form in LOGITS
    text = HEAD.format(
        file=file.name,
        classifies=f", and classifies them: python {place.name} photo.jpg" if runs else "",
        needs=NEEDS.get(form, "Pillow and NumPy"),
    )
    text += code.lstrip("\n").rstrip() + "\n"
    text += PREPARE.format(
        classes=loaded.classes,
        transform=loaded.transform,
        dtype="uint8" if inside else "float32",
        height=height,
        width=width,
        returned=INSIDE if inside else DESCRIBED.format(mean=about["mean"], std=about["std"]),
    )
    if runs:
        text += CLASSIFY.format(network=NETWORK[form].format(file=file.name), logits=LOGITS[form], script=place.name)
    else:
        text = text.replace("import sys\nfrom functools import cache\n", "", 1)
    place.write_text(text, encoding="utf-8")
    return place
