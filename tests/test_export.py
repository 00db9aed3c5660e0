"""What export writes gives the checkpoint's logits to somebody who has the file and not visionlab."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import visionlab
from quick import QUICK
from visionlab import exporting
from visionlab.errors import ConfigError, DataError, RunError
from visionlab.runs import Run


@pytest.fixture(scope="module")
def pixels():
    """Digits as they are read for the run, uint8 [7, 3, 8, 8]."""
    from sklearn.datasets import load_digits

    grey = torch.from_numpy(load_digits().images[:7] * 15.9).to(torch.uint8)
    return grey[:, None].expand(-1, 3, -1, -1).contiguous()


def test_onnx_takes_raw_pixels_in_any_number_and_knows_its_classes(quick_run, pixels, tmp_path):
    import onnxruntime

    made = visionlab.export(quick_run, "onnx", out=tmp_path)
    assert made.images == 32 and 0 <= made.difference < 1e-4
    session = onnxruntime.InferenceSession(made.file, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.shape, entry.type) == ("images", ["batch", 3, 8, 8], "tensor(uint8)")
    with torch.inference_mode():
        expected = visionlab.load(quick_run)(pixels).numpy()
    for count in (1, 2, 7):
        (logits,) = session.run(["logits"], {"images": pixels[:count].numpy()})
        np.testing.assert_allclose(logits, expected[:count], atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == quick_run.result["data"]["classes"]


def test_the_description_suffices_to_prepare_an_image(quick_run, pixels, tmp_path):
    made = visionlab.export(quick_run.dir, "torch_export", preprocessing="described", out=tmp_path)
    about = json.loads(made.description.read_text())
    assert about["file"] == made.file.name and about["preprocessing"] == "described"
    assert about["input"]["shape"] == ["batch", 3, 8, 8] and about["input"]["dtype"] == "float32"
    assert "upright" in about["decoding"]
    assert about["resize"]["how"] == "crop" and about["verified"]["max_difference_logits"] == made.difference
    mean, std = (np.array(about[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    images = torch.from_numpy(((pixels.numpy() / 255 - mean) / std).astype(np.float32))
    inside: dict[str, str] = {"visionlab.json": ""}
    program = torch.export.load(made.file, extra_files=inside).module()
    assert json.loads(inside["visionlab.json"])["classes"] == about["classes"] == [str(i) for i in range(10)]
    with torch.inference_mode():
        for count in (1, 7):
            expected = visionlab.load(quick_run)(pixels[:count])
            torch.testing.assert_close(program(images[:count]), expected, atol=1e-4, rtol=0)


def test_safetensors_holds_the_weights_to_the_last_bit(quick_run, tmp_path):
    from safetensors import safe_open

    made = visionlab.export(quick_run, "safetensors", out=tmp_path)
    assert made.difference == 0
    state = visionlab.load(quick_run).network.state_dict()
    with safe_open(made.file, "pt") as file:
        assert json.loads(file.metadata()["classes"]) == quick_run.result["data"]["classes"]
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in state.items())
    assert json.loads(made.description.read_text())["preprocessing"] == "described"
    assert made.file.stat().st_mode & 0o777 == made.description.stat().st_mode & 0o777  # others may read it too


def test_a_network_whose_name_is_no_file_name(quick_run, tmp_path):
    copy = Run(shutil.copytree(quick_run.dir, tmp_path / "run"))
    copy.update(model=copy.result["model"] | {"name": "hf-hub:timm/resnet18.a1_in1k"})
    assert (
        visionlab.export(copy, "safetensors").file == copy.dir / "export" / "hf-hub_timm_resnet18.a1_in1k.safetensors"
    )


def test_two_runs_of_one_network_may_be_exported_to_one_folder(quick_run, tmp_path):
    copies = [Run(shutil.copytree(quick_run.dir, tmp_path / name)) for name in ("one", "two")]
    made = [visionlab.export(copy, "safetensors", out=tmp_path / "out") for copy in copies]
    assert [each.file.name for each in made] == ["one.safetensors", "two.safetensors"]
    assert json.loads(made[0].description.read_text())["run"] == "one"


def test_a_run_without_test_images_is_verified_with_those_of_validation(tmp_path):
    given = ["data.test_fraction=null", "data.image_size=[8,12]", "trainer.max_epochs=1"]
    made = visionlab.export(visionlab.train([*QUICK, *given], directory=tmp_path / "run"), "safetensors")
    about = json.loads(made.description.read_text())
    assert about["verified"]["of"] == "val" and about["verified"]["images"] == 32
    assert about["input"]["shape"] == ["batch", 3, 8, 12]
    assert (about["resize"]["height"], about["resize"]["width"]) == (8, 12)


def test_a_file_that_says_something_else_is_an_error_and_is_not_left(quick_run, tmp_path, monkeypatch):
    honest = exporting.write

    def off(form, network, example, path, about):
        read = honest(form, network, example, path, about)
        return lambda images: read(images) + (0.01 if len(images) == 1 else 0)  # wrong for a single image only

    monkeypatch.setattr(exporting, "write", off)
    with pytest.raises(RunError, match=r"differ by up to 0\.01"):
        visionlab.export(quick_run, "safetensors", out=tmp_path)
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(exporting, "write", lambda *_: lambda images: torch.full((len(images), 10), torch.nan))
    with pytest.raises(RunError, match="nan"):
        visionlab.export(quick_run, "safetensors", out=tmp_path)


def test_an_extra_that_is_missing_is_named_before_anything_is_loaded(quick_run, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(ConfigError, match=r"onnxruntime.*\n.*\n.*pip install \"visionlab\[export\]\""):
        visionlab.export(quick_run, "onnx")


def test_what_cannot_be_traced_is_said(quick_run, tmp_path, monkeypatch):
    from visionlab.models.simple_cnn import SimpleCNN

    forward = SimpleCNN.forward
    monkeypatch.setattr(SimpleCNN, "forward", lambda self, x: forward(self, x) if float(x.sum()) > 0 else x)
    with pytest.raises(ConfigError, match="torch_export cannot express"):
        visionlab.export(quick_run, "torch_export", out=tmp_path)


def test_other_images_verify_where_the_data_are_gone(quick_run, tmp_path):
    shutil.copytree(quick_run.dir, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["data"] |= {"_target_": "visionlab.data.folder.Folder", "root": str(tmp_path / "gone")}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(DataError, match="source="):
        visionlab.export(tmp_path / "run", "safetensors")
    Image.new("RGB", (20, 10), (200, 30, 9)).save(tmp_path / "one.png")
    made = visionlab.export(tmp_path / "run", "safetensors", source=tmp_path / "one.png")
    assert made.file.parent == tmp_path / "run" / "export" and made.file.is_file()
    (tmp_path / "one.png").write_text("no image")
    with pytest.raises(DataError, match="can be read"):
        visionlab.export(tmp_path / "run", "safetensors", source=tmp_path / "one.png")


def test_the_command_line_reports_the_difference(quick_run, tmp_path, monkeypatch, capsys):
    from visionlab import export

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["export", f"run={quick_run.dir}", "format=safetensors", "out=here"])
    export.main()
    printed = capsys.readouterr().out
    assert (
        "32 images: logits differ by at most 0.0e+00" in printed and f"here/{quick_run.dir.name}.safetensors" in printed
    )
    monkeypatch.setattr(sys, "argv", ["export", f"run={quick_run.dir}", "format=onx"])
    with pytest.raises(SystemExit) as left:
        export.main()
    assert left.value.code == 2 and "onnx, torch_export, safetensors" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["export", f"run={quick_run.dir}", "format=torchscript"])
    with pytest.raises(SystemExit) as left:
        export.main()
    assert left.value.code == 2 and "format=torch_export, its successor, or onnx" in capsys.readouterr().err
    Path("file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["export", f"run={quick_run.dir}", "format=safetensors", "out=file"])
    with pytest.raises(SystemExit) as left:
        export.main()
    assert left.value.code == 2 and "out=<folder>" in capsys.readouterr().err


def test_what_a_network_computes_for_itself_need_not_be_in_the_file(tmp_path):
    """As the positions of a Swin transformer: they are no part of its weights, and its constructor makes them."""

    class Shifted(torch.nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.register_buffer("shift", torch.ones(2), persistent=False)

        def forward(self, images):
            return super().forward(images) + self.shift

    network, example = Shifted().eval(), torch.randn(4, 3)
    read = exporting._safetensors(network, example, tmp_path / "x.safetensors", {})
    assert torch.equal(read(example), network(example))
