"""Weights from torch hub's cache, from files and from runs, all of them made here."""

import json
import os
import socket

import pytest
import torch
import torchvision

from visionlab.errors import WeightsError
from visionlab.models.freezing import freeze
from visionlab.models.weights import Expected, expected, load

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch hub, on a machine without a network."""

    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hub" / "hub" / "checkpoints"


@pytest.fixture
def run(build, tmp_path):
    """Return `run(classes)`: the directory of a finished run of resnet20, as far as weights are concerned."""

    def make(classes):
        torch.manual_seed(len(classes))
        state = build("resnet20", num_classes=len(classes)).state_dict()
        where = tmp_path / "-".join(classes)
        (where / "checkpoints").mkdir(parents=True)
        checkpoint = {"state_dict": {f"network.{k}": v for k, v in state.items()} | {"loss.weight": torch.ones(2)}}
        torch.save(checkpoint, where / "checkpoints" / "best.ckpt")
        data = {"classes": classes, "image_size": [32, 48], "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}
        (where / "result.json").write_text(json.dumps({"status": "completed", "data": data}))
        return where, state

    return make


def equal(network, state):
    """Return the names of the tensors that are as in a state."""
    own = network.state_dict()
    return {key for key in own if own[key].shape == state[key].shape and torch.equal(own[key], state[key])}


@pytest.mark.parametrize(
    ("name", "size"), [("alexnet", 224), ("efficientnet_b3", 300), ("resnet50", 224), ("inception_v3", 299)]
)
def test_imagenet_asks_for_its_size_and_normalisation(name, size):
    assert expected("imagenet", name) == Expected((size, size), *IMAGENET)


def test_timm_weights_ask_for_what_they_were_trained_with():
    pytest.importorskip("timm")
    target = "visionlab.models.library.TimmNetwork"
    half = (0.5, 0.5, 0.5)
    assert expected("imagenet", "vit_tiny_patch16_224", target) == Expected((224, 224), half, half)


def test_no_weights_ask_for_nothing():
    assert expected(None, "alexnet") is None


@pytest.mark.parametrize("name", ["simple_cnn", "resnet20"])
def test_networks_without_imagenet_weights_say_so(build, name):
    with pytest.raises(WeightsError, match=f"no ImageNet weights for '{name}'"):
        expected("imagenet", name)
    with pytest.raises(WeightsError, match=f"no ImageNet weights for '{name}'"):
        load(build(name), "imagenet", name)


def test_offline_the_error_names_file_folder_and_address(build, hub):
    with pytest.raises(WeightsError) as error:
        load(build("squeezenet1_1"), "imagenet", "squeezenet1_1")
    assert str(hub / "squeezenet1_1-b8a52dc0.pth") in str(error.value)
    assert f"folder {hub}" in str(error.value)
    assert "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth" in str(error.value)


def test_offline_timm_names_the_cache(build, hub, monkeypatch):
    pytest.importorskip("timm")
    network = build("timm", "model.name=mobilenetv3_small_050")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no retries
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    with pytest.raises(WeightsError, match=r"timm/mobilenetv3_small_050\.lamb_in1k"):
        load(network, "imagenet", "mobilenetv3_small_050")


@pytest.mark.parametrize("name", ["squeezenet1_1", "torchvision"])
def test_imagenet_weights_come_from_the_cache_with_a_new_head(build, hub, name):
    theirs = torchvision.models.squeezenet1_1(num_classes=1000).state_dict()
    hub.mkdir(parents=True)
    torch.save(theirs, hub / "squeezenet1_1-b8a52dc0.pth")
    overrides = ["model.name=squeezenet1_1"] if name == "torchvision" else []
    network = build(name, *overrides, num_classes=10, image_size=32)
    prefix = "model." if name == "torchvision" else ""
    fresh = {key: value.clone() for key, value in network.state_dict().items()}
    before = torch.get_rng_state()
    report = load(network, "imagenet", "squeezenet1_1")
    assert torch.equal(torch.get_rng_state(), before)
    head = {f"{prefix}classifier.1.weight", f"{prefix}classifier.1.bias"}
    assert set(report.replaced) == head == equal(network, fresh) & head
    assert equal(network, {f"{prefix}{key}": value for key, value in theirs.items()}) == fresh.keys() - head
    assert f"Loaded {len(fresh) - 2} of {len(fresh)} tensors" in str(report) and "classifier.1.bias" in str(report)


def test_a_broken_file_in_the_cache_is_named(build, hub):
    hub.mkdir(parents=True)
    (hub / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"half a down")
    with pytest.raises(WeightsError, match="could not be read"):
        load(build("squeezenet1_1"), "imagenet", "squeezenet1_1")


def test_imagenet_weights_do_not_fit_the_small_stem_and_say_why(build, hub):
    hub.mkdir(parents=True)
    torch.save(torchvision.models.resnet18().state_dict(), hub / "resnet18-f37072fd.pth")
    with pytest.raises(WeightsError, match=r"conv1.weight is \[64, 3, 7, 7\], must be \[64, 3, 3, 3\](.|\n)*small_im"):
        load(build("resnet18", image_size=32), "imagenet", "resnet18")
    load(build("resnet18", image_size=224), "imagenet", "resnet18")


def test_run_with_other_classes_gives_all_but_the_head(build, run):
    where, state = run(["cat", "dog", "cow"])
    network = build("resnet20", num_classes=10)
    report = load(network, str(where), "resnet20", classes=[*"abcdefghij"])
    assert set(report.replaced) == {"fc.weight", "fc.bias"}
    assert equal(network, state) == state.keys() - set(report.replaced)


def test_run_with_as_many_other_classes_gives_no_head_either(build, run):
    where, state = run(["cat", "dog", "cow"])
    network = build("resnet20", num_classes=3)
    assert load(network, str(where), "resnet20", classes=["cat", "dog", "pig"]).replaced == ("fc.bias", "fc.weight")
    assert "fc.weight" not in equal(network, state)
    report = load(network, str(where), "resnet20", classes=["cat", "dog", "cow"])
    assert report.replaced == () and equal(network, state) == state.keys()


def test_classes_are_the_same_however_their_accents_are_stored(build, run):
    where, _ = run(["caf\u00e9", "dog"])
    assert load(build("resnet20", num_classes=2), str(where), "resnet20", classes=["cafe\u0301", "dog"]).replaced == ()
    assert load(build("resnet20", num_classes=2), str(where), "resnet20", classes=["cafe", "dog"]).replaced


def test_run_brings_its_size_and_normalisation_its_checkpoint_too(run):
    where, _ = run(["cat", "dog"])
    found = Expected((32, 48), (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    assert expected(str(where), "resnet20") == found
    assert expected(str(where / "checkpoints" / "best.ckpt"), "resnet20") == found


@pytest.mark.parametrize("wrapped", ["bare", "module.", "_orig_mod.", "state_dict", "model", "model_state_dict"])
def test_files_of_any_origin_are_understood(build, tmp_path, wrapped):
    state = build("resnet20").state_dict()
    prefix = wrapped if wrapped.endswith(".") else ""
    content = {f"{prefix}{key}": value for key, value in state.items()}
    whole = content if prefix or wrapped == "bare" else {wrapped: content, "epoch": 3}
    torch.save(whole, tmp_path / "weights.pt")
    network = build("resnet20")
    assert load(network, str(tmp_path / "weights.pt"), "resnet20").replaced == ()
    assert equal(network, state) == state.keys()
    assert expected(str(tmp_path / "weights.pt"), "resnet20") is None


def test_safetensors_are_understood(build, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = build("resnet20").state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    network = build("resnet20")
    load(network, str(tmp_path / "weights.safetensors"), "resnet20")
    assert equal(network, state) == state.keys()


def test_our_network_and_torchvisions_exchange_weights(build, tmp_path):
    ours, theirs = build("resnet18", image_size=224), build("torchvision", "model.name=resnet18", image_size=224)
    torch.save({f"network.{k}": v for k, v in theirs.state_dict().items()}, tmp_path / "theirs.pt")
    load(ours, str(tmp_path / "theirs.pt"), "resnet18")
    assert torch.equal(ours.conv1.weight, theirs.model.conv1.weight)
    other = build("resnet18", image_size=224)
    torch.save(other.state_dict(), tmp_path / "ours.pt")
    load(theirs, str(tmp_path / "ours.pt"), "resnet18")
    assert torch.equal(other.conv1.weight, theirs.model.conv1.weight)


def test_another_architecture_is_an_error_that_changes_nothing(build, tmp_path):
    torch.save(build("resnet32").state_dict(), tmp_path / "weights.pt")
    network = build("resnet20")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError, match=r"do not fit the network: .* has no place.*more(.|\n)*config\.yaml"):
        load(network, str(tmp_path / "weights.pt"), "resnet20")
    assert equal(network, before) == before.keys()


def test_code_in_a_file_is_not_run(build, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "hit"),)

    torch.save({"fc.weight": Bomb()}, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="tensors only"):
        load(build("resnet20"), str(tmp_path / "weights.pt"), "resnet20")
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_what_is_no_file_of_weights_is_an_error(build, tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        load(build("resnet20"), str(tmp_path / name), "resnet20")


def test_half_a_download_is_an_error(build, tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file(build("resnet20").state_dict(), tmp_path / "weights.safetensors")
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="cannot be read"):
        load(build("resnet20"), str(tmp_path / "weights.safetensors"), "resnet20")


def test_tensors_without_names_are_no_weights(build, tmp_path):
    torch.save({0: torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load(build("resnet20"), str(tmp_path / "weights.pt"), "resnet20")


def test_a_pickled_network_is_refused(build, tmp_path):
    torch.save(build("resnet20"), tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="state_dict"):
        load(build("resnet20"), str(tmp_path / "weights.pt"), "resnet20")


@pytest.mark.parametrize("missing", ["weights.pt", "imagnet", "."])
def test_what_is_not_there_is_an_error(build, tmp_path, missing, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="There is no"):
        load(build("resnet20"), missing, "resnet20")
    with pytest.raises(WeightsError, match="There is no"):
        expected(missing, "resnet20")


def test_a_backbone_alone_leaves_the_last_layer_new(build, tmp_path):
    state = {key: value for key, value in build("resnet20", num_classes=9).state_dict().items() if "fc" not in key}
    torch.save(state, tmp_path / "backbone.pt")
    network = build("resnet20")
    found = load(network, str(tmp_path / "backbone.pt"), "resnet20")
    assert found.replaced == ("fc.bias", "fc.weight")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())
    assert "new, for these classes: fc.bias, fc.weight" in str(found)
    state.pop(next(iter(state)))
    torch.save(state, tmp_path / "backbone.pt")
    with pytest.raises(WeightsError, match="is missing"):
        load(network, str(tmp_path / "backbone.pt"), "resnet20")


def test_all_heads_of_a_network_of_timm_are_new(build, tmp_path):
    timm = pytest.importorskip("timm")
    name = "deit_tiny_distilled_patch16_224"
    torch.save(timm.create_model(name, num_classes=5, img_size=32).state_dict(), tmp_path / "weights.pt")
    network = build("timm", f"model.name={name}", num_classes=7, image_size=32)
    found = load(network, str(tmp_path / "weights.pt"), name)
    heads = ("model.head.bias", "model.head.weight", "model.head_dist.bias", "model.head_dist.weight")
    assert found.replaced == heads
    freeze(network, "backbone")
    assert {key for key, value in network.named_parameters() if value.requires_grad} == set(heads)
