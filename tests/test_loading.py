"""A run that a program has loaded, or exported, answers of whatever it holds what the command line says of the file."""

import importlib.util
import io
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import visionlab
from quick import QUICK
from visionlab.data.transform import decode
from visionlab.errors import DataError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on two classes of photographs of several shapes, which have structure enough to tell them apart."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, hue in (("day", 200), ("night", 40)):
        (root / name).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 255, (6, 5, 3), dtype=np.uint8) // 2 + hue // 2
            Image.fromarray(pixels).resize((30 + number, 24), Image.Resampling.BICUBIC).save(
                root / name / f"{number}.png"
            )
    given = [each for each in QUICK if not each.startswith("data=")]
    more = ["data=folder", f"data.root={root}", "data.image_size=16", "data.crop_ratio=0.9", "trainer.max_epochs=3"]
    return visionlab.train([*given, *more], directory=root.parent / "run")


@pytest.fixture(scope="module")
def loaded(run):
    return visionlab.load(run)


def picture():
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 255, (5, 7, 3), dtype=np.uint8))
    return small.resize((50, 40), Image.Resampling.BICUBIC)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"format": "JPEG", "exif": exif, "quality": 95}


MODES = {
    "turned.jpg": (picture, turned),
    "cmyk.jpg": (lambda: picture().convert("CMYK"), lambda: {"format": "JPEG"}),
    "grey.png": (lambda: picture().convert("L"), lambda: {"format": "PNG"}),
    "bilevel.png": (lambda: picture().convert("1"), lambda: {"format": "PNG"}),
    "palette.png": (lambda: picture().quantize(32), lambda: {"format": "PNG", "transparency": 3}),
    "rgba.png": (lambda: Image.merge("RGBA", (*picture().split(), picture().convert("L"))), lambda: {"format": "PNG"}),
    "lab.tif": (lambda: Image.merge("LAB", picture().split()), lambda: {"format": "TIFF"}),
    "wide.png": (
        lambda: Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257),
        lambda: {"format": "PNG"},
    ),
}


@pytest.mark.parametrize("name", MODES)
def test_any_picture_is_answered_as_its_file_is(run, loaded, tmp_path, name):
    """Opened in a program, upright and of any mode, as the store reads it: a model learnt from nothing else."""
    make, how = MODES[name]
    make().save(tmp_path / name, **how())
    (record,) = visionlab.predict(run, tmp_path / name, probabilities=True)
    expected = torch.tensor([[record["probabilities"][kind] for kind in loaded.classes]])
    data = (tmp_path / name).read_bytes()
    for given in (tmp_path / name, str(tmp_path / name), data, bytearray(data), Image.open(tmp_path / name)):
        assert torch.allclose(loaded.probabilities(given), expected, atol=1e-6), type(given)
    upright = decode(data)
    assert torch.allclose(loaded.probabilities(upright), expected, atol=1e-6), "turned twice"
    assert loaded.predict([Image.open(io.BytesIO(data)), data]) == [record["predicted"]] * 2


def test_arrays_and_tensors_and_a_mixture_of_all(loaded, tmp_path):
    picture().save(tmp_path / "a.png")
    array = np.asarray(picture())
    alone = loaded.probabilities(tmp_path / "a.png")
    assert torch.allclose(loaded.probabilities(array), alone, atol=1e-6)
    tensor = torch.from_numpy(loaded.transform(picture()).copy()).permute(2, 0, 1)
    mixed = loaded.probabilities([array, tensor, tensor[None].expand(2, -1, -1, -1), str(tmp_path / "a.png")])
    assert mixed.shape == (5, 2) and torch.allclose(mixed, alone.expand(5, -1), atol=1e-6)
    assert torch.allclose(mixed.sum(1), torch.ones(5)) and not mixed.requires_grad
    assert torch.allclose(loaded(tensor[None]).softmax(1), alone, atol=1e-6)
    grey = array[:, :, 0]
    assert torch.allclose(loaded.probabilities(grey), loaded.probabilities(np.stack([grey] * 3, 2)), atol=1e-6)
    assert torch.equal(loaded.probabilities(grey[:, :, None]), loaded.probabilities(grey))
    assert np.array_equal(array, np.asarray(picture())), "what was given is left as it is"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], DataError, "no images"),
        (b"text", DataError, "not an image"),
        (b"", DataError, "empty file"),
        ("nowhere.jpg", DataError, "nowhere.jpg"),
        (np.zeros((2, 9, 9, 3), np.uint8), DataError, r"uint8 \[2, 9, 9, 3\]"),
        (np.zeros((9, 9, 3)), DataError, "float64"),
        (np.zeros((0, 9, 3), np.uint8), DataError, r"uint8 \[0, 9, 3\] is no image"),
        (np.zeros((9, 9, 2), np.uint8), DataError, r"uint8 \[9, 9, 2\] is no image"),
        (torch.zeros(1, 3, 9, 9, dtype=torch.uint8), DataError, r"uint8 \[B, 3, 16, 16\]"),
        (torch.zeros(1, 16, 16, 3, dtype=torch.uint8), DataError, r"uint8 \[B, 3, 16, 16\]"),
        (torch.zeros(1, 3, 16, 16), DataError, "float32"),
        (7, TypeError, "not of int"),
        (io.BytesIO(b""), TypeError, r"file\.read"),
        (Image.new("F", (9, 9)), DataError, "no defined white"),
    ],
)
def test_what_is_no_image_is_said_to_be_none(loaded, given, error, said):
    with pytest.raises(error, match=said):
        loaded.predict(given)


def test_floats_of_0_to_255_are_refused_and_those_of_0_to_1_are_not(loaded):
    images = torch.from_numpy(loaded.transform(picture()).copy()).permute(2, 0, 1)[None]
    with pytest.raises(DataError, match="go up to 2"):
        loaded(images.float())
    assert torch.allclose(loaded(images.float() / 255), loaded(images), atol=1e-5)


def test_features_are_what_the_last_layer_makes_its_logits_of(loaded):
    images = [picture(), picture().rotate(90, expand=True)]
    found = loaded.features(images)
    (*_, last) = (module for module in loaded.network.modules() if isinstance(module, torch.nn.Linear))
    assert found.shape == (2, last.in_features) and not found.requires_grad
    assert torch.allclose(last(found).softmax(1), loaded.probabilities(images), atol=1e-6)


def test_gradcam_is_of_the_class_that_is_asked_for(loaded):
    images = [picture(), picture().rotate(180)]
    found = loaded.gradcam(images)
    assert found.shape == (2, 16, 16) and not found.requires_grad and 0 <= found.min() <= found.max() <= 1
    assert torch.equal(found, loaded.gradcam(images, loaded.predict(images)))
    others = [next(name for name in loaded.classes if name != said) for said in loaded.predict(images)]
    assert not torch.equal(found, loaded.gradcam(images, others))
    with pytest.raises(DataError, match="no class 'dai'"):
        loaded.gradcam(images, ["dai", "day"])
    with pytest.raises(DataError, match="1 classes are asked for in 2 images"):
        loaded.gradcam(images, ["day"])
    with torch.inference_mode():
        assert torch.equal(loaded.gradcam(images[0], "day"), loaded.gradcam([images[0]], ["day"]))


def test_threads_that_share_a_run_get_their_own_features_and_heat(loaded):
    """As in a server: another thread asks the same network while this one's hooks listen to it."""
    image, other = picture(), picture().rotate(90, expand=True)
    expected = loaded.features(image), loaded.gradcam(image)
    assert not torch.allclose(expected[0], loaded.features(other))

    def meanwhile(*_):
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=loaded.probabilities, args=(other,))
            thread.start()
            thread.join()

    meeting = loaded.network.register_forward_hook(meanwhile)
    try:
        found = loaded.features(image), loaded.gradcam(image)
    finally:
        meeting.remove()
    assert all(map(torch.equal, found, expected))


def large():
    """So large that its JPEG is decoded at a fraction of its size."""
    return picture().resize((900, 700), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos of all kinds")
    for name, (make, how) in (MODES | {"large.jpg": (large, lambda: {"format": "JPEG", "quality": 95})}).items():
        make().save(folder / name, **how())
    return sorted(folder.iterdir())


@pytest.mark.parametrize("preprocessing", ["inside", "described"])
@pytest.mark.parametrize("form", ["onnx", "torch_export", "safetensors"])
def test_the_script_beside_an_export_reads_as_the_run_does(run, loaded, photos, tmp_path, form, preprocessing):
    """Without visionlab; the JSON file alone cannot say how each library rounds."""
    made = visionlab.export(run, form, preprocessing=preprocessing, out=tmp_path)
    assert json.loads(made.description.read_text())["script"] == made.script.name
    alone = importlib.util.spec_from_file_location("alone", made.script)
    script = importlib.util.module_from_spec(alone)
    alone.loader.exec_module(script)
    found = script.prepare(*photos)
    pixels = torch.from_numpy(np.stack([loaded.transform.load(file.read_bytes())[0] for file in photos]))
    pixels = pixels.permute(0, 3, 1, 2)
    if preprocessing == "inside" and form != "safetensors":
        assert found.dtype == np.uint8 and np.array_equal(found, pixels.numpy())
    else:
        assert found.dtype == np.float32 and np.allclose(found, loaded.preprocess(pixels).numpy(), atol=1e-5)
    assert np.array_equal(script.prepare(photos[0].read_bytes()), found[:1])
    assert loaded.classes == script.CLASSES and hasattr(script, "classify") == (form != "safetensors")
    if form != "safetensors":
        answers = {record["image"]: record for record in visionlab.predict(run, photos[0].parent, probabilities=True)}
        for file, shares in zip(photos, script.classify(*photos), strict=True):
            assert shares == pytest.approx(answers[str(file)]["probabilities"], abs=1e-4)


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_the_script_runs_where_visionlab_is_not(run, photos, tmp_path, form):
    made = visionlab.export(run, form, out=tmp_path)
    lacking = "import sys, runpy; sys.modules['visionlab'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    command = [sys.executable, "-c", lacking, str(made.script), str(photos[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    (record,) = visionlab.predict(run, photos[0])
    alone = subprocess.run([sys.executable, made.script], capture_output=True, text=True, timeout=120, check=False)
    assert alone.returncode == 1 and f"usage: python {made.script.name} photo.jpg" in alone.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{photos[0]}: {record['predicted']} ({100 * record['confidence']:.1f} %)"
