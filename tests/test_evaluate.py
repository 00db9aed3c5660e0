"""evaluate and load reproduce what a run recorded, figure for figure."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import visionlab
from quick import QUICK
from visionlab.config import compose
from visionlab.errors import CheckpointError, ConfigError, DataError, RunError
from visionlab.runs import Run
from visionlab.training import build, evaluation, learnt


@pytest.fixture
def photos(tmp_path):
    """Two classes of twelve images in folders."""
    for name, shade in (("cat", 0), ("target", 120)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (shade, 9 * number, 60)).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_a_class_may_have_the_name_of_a_column(photos, tmp_path):
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    table = [line.split(",") for line in (run.dir / "confusion.csv").read_text().splitlines()]
    assert table[0] == ["target", "cat", "target"] and [row[0] for row in table[1:]] == ["cat", "target"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluate_gives_the_figures_of_the_result_exactly(quick_run, split):
    found = visionlab.evaluate(quick_run.dir, split)
    recorded = quick_run.result["metrics"]
    assert {f"{split}/{name}": value for name, value in found.metrics.items()} == {
        name: value for name, value in recorded.items() if name.startswith(split)
    }


def test_a_run_that_did_not_come_to_its_end_is_used_with_a_warning(quick_run, tmp_path, caplog):
    copy = tmp_path / "run"
    shutil.copytree(quick_run.dir, copy)
    uses = [
        lambda: visionlab.evaluate(copy),
        lambda: visionlab.load(copy),
        lambda: visionlab.export(copy, "safetensors", out=tmp_path / "out"),
    ]
    for use in uses:
        use()
    assert "not completed" not in caplog.text
    Run(copy).update(status="interrupted")
    for use in uses:
        caplog.clear()
        use()
        assert caplog.text.count("is not completed (interrupted): its best epoch so far is used") == 1
    (about,) = (tmp_path / "out").glob("*.json")
    assert json.loads(about.read_text())["status"] == "interrupted"


def test_every_test_image_counts_once_whatever_the_batch(quick_run, tmp_path):
    for size in (7, 360, 1000):
        found = visionlab.evaluate(quick_run, batch_size=size, out=tmp_path)
        assert len(found.rows.unique()) == len(found.rows) == 360
        assert found.metrics["acc"] == pytest.approx(quick_run.result["metrics"]["test/acc"])
        assert int(found.confusion.sum()) == 360
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["test/acc"] == found.metrics["acc"]
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 361


def test_mirror_images_count_as_in_predict(quick_run):
    loaded = visionlab.load(quick_run)
    module = build.data_module(OmegaConf.create(quick_run.config))
    right, losses = [], []
    with torch.inference_mode():
        for batch in module.val_dataloader():
            images = loaded.preprocess(batch.images)
            mean = (loaded.network(images).softmax(1) + loaded.network(images.flip(3)).softmax(1)) / 2
            right.append((mean.argmax(1) == batch.labels).float())
            losses.append(-mean.gather(1, batch.labels[:, None])[:, 0].log())
    found = visionlab.evaluate(quick_run, "val", tta=True)
    assert found.metrics["acc"] == pytest.approx(torch.cat(right).mean().item())
    assert found.metrics["loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-4)
    assert found.metrics["loss"] != pytest.approx(quick_run.result["metrics"]["val/loss"], rel=1e-3)


def test_the_best_epoch_is_what_is_evaluated(quick_run):
    rows = quick_run.metrics
    best = max(range(len(rows)), key=lambda i: rows[i]["val/acc"])
    assert quick_run.result["best_epoch"] == best
    assert quick_run.result["metrics"]["val/acc"] == pytest.approx(rows[best]["val/acc"], abs=1e-7)


def test_a_later_epoch_that_is_worse_leaves_the_figures_of_the_best(tmp_path):
    """The third epoch's steps, twelve times too long, ruin the network."""
    given = ["model=simple_cnn_bn", "model.network.filters=[4,8]", "optimizer=sgd", "optimizer.lr=0.05"]
    ruin = ["scheduler=multistep", "scheduler.milestones=[2]", "scheduler.gamma=12", "trainer.max_epochs=3"]
    run = visionlab.train([*QUICK, *given, *ruin], directory=tmp_path / "run")
    *first, last = run.metrics
    best = max(first, key=lambda row: row["val/acc"])
    assert last["val/acc"] < best["val/acc"] - 0.01
    for name in ("val/acc", "val/loss", "train/acc", "train/loss"):
        assert run.result["metrics"][name] == pytest.approx(best[name], rel=1e-5)
    assert run.result["best_epoch"] == best["epoch"]


def test_load_predicts_what_the_run_predicted(quick_run):
    from visionlab.data.digits import Digits

    data = Digits(name="digits", root="data", image_size=8, val_fraction=0.15, test_fraction=0.2)
    data.setup()
    model = visionlab.load(quick_run)
    assert not model.network.training
    rows = torch.as_tensor(data.splits.test)
    recorded = [row["predicted"] for row in quick_run.predictions if row["split"] == "test"]
    assert model.predict(data.pixels(rows)) == recorded


def test_a_fine_tuned_run_needs_its_first_weights_no_more(quick_run, tmp_path):
    source = shutil.copytree(quick_run.dir, tmp_path / "source")
    asked = [*QUICK, f"model.weights={source}", "test=false", "seed=1", f"outputs={tmp_path}"]
    run = visionlab.train(asked)
    shutil.rmtree(source)
    found = visionlab.evaluate(run, "val")
    assert found.metrics["acc"] == pytest.approx(run.result["metrics"]["val/acc"])
    assert "test/acc" in visionlab.train([*asked, "test=true"]).result["metrics"]


@pytest.mark.parametrize("content", [{"state_dict": {"network.fc.weight": torch.ones(2)}}, {"epoch": 3}, [3]])
def test_a_checkpoint_of_another_network_is_an_error(quick_run, tmp_path, content):
    """As after a change of the network's code."""
    run = shutil.copytree(quick_run.dir, tmp_path / "run")
    torch.save(content, run / "checkpoints" / "best.ckpt")
    for use in (visionlab.load, visionlab.evaluate):
        with pytest.raises(CheckpointError, match="does not fit the run's network") as error:
            use(run)
        assert len(str(error.value)) < 700


def test_what_cannot_be_evaluated_is_said(quick_run, tmp_path):
    with pytest.raises(RunError, match="no run lies here"):
        visionlab.evaluate(tmp_path)
    with pytest.raises(ConfigError, match=r"no key 'rot'\n  in: data.rot\n  do: did you mean 'data.root'"):
        visionlab.evaluate(quick_run, data={"rot": "x"})
    for wrong in ({"split": "tset"}, {"batch_size": -1}):
        with pytest.raises(ConfigError, match="is not possible"):
            visionlab.evaluate(quick_run, **wrong)
    from PIL import Image

    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 8), (i * 50, len(name) * 9, len(split) * 7 + ord(name[0]) % 3)).save(
                    folder / f"{i}.png"
                )
    folder_data = {"_target_": "visionlab.data.folder.Folder", "root": str(tmp_path / "photos")}
    with pytest.raises((DataError, ConfigError)):
        visionlab.evaluate(quick_run, data=folder_data)


def test_other_classes_are_told_of_before_what_was_learnt_from(photos, tmp_path, caplog):
    """A renamed class: the images are those of the training, which is no news where they cannot be evaluated on."""
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    shutil.copytree(photos, tmp_path / "renamed")
    for folder in sorted((tmp_path / "renamed").rglob("*")):
        if folder.name == run.result["data"]["classes"][0]:
            folder.rename(folder.with_name("aardvark"))
    caplog.clear()
    with pytest.raises(DataError) as caught:
        visionlab.evaluate(run, "all", data={"root": str(tmp_path / "renamed")})
    assert "the run was trained on others" in str(caught.value) and "the run was trained on" not in caplog.text
    names = run.result["data"]["classes"]
    assert len(names) <= 5 and "..." not in str(caught.value)
    assert str(caught.value).endswith(f"do: give data with the classes {', '.join(names)}")


def test_data_that_are_a_path_are_given_as_their_root(quick_run):
    with pytest.raises(ConfigError) as caught:
        visionlab.evaluate(quick_run, data="my photos/Äpfel")
    assert caught.value.remedy == "give 'data={root: \"my photos/Äpfel\"}'"


def test_digits_are_not_looked_for_in_a_folder(quick_run, tmp_path):
    with pytest.raises(ConfigError, match=r"data=digits reads no folder(.|\n)*visionlab\.predict"):
        visionlab.evaluate(quick_run, data={"root": str(tmp_path)})


def test_all_images_of_other_data_can_be_evaluated(photos, tmp_path, caplog):
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    for split in ("train", "val"):
        assert len(visionlab.evaluate(run, split).rows) == run.result["data"][split]
    shutil.copytree(photos, tmp_path / "other")
    with pytest.raises(DataError, match="use split=all"):
        visionlab.evaluate(run, data={"root": str(tmp_path / "other")})
    found = visionlab.evaluate(run, "all", data={"root": str(tmp_path / "other")}, out=tmp_path / "out")
    assert len(found.rows) == int(found.confusion.sum()) == 24
    images = [line.split(",")[1] for line in (tmp_path / "out" / "predictions.csv").read_text().splitlines()[1:]]
    assert len(set(images)) == 24
    assert "have changed" not in caplog.text
    shutil.move(photos, tmp_path / "moved")
    with pytest.raises(DataError, match=r"data=\{root: <folder>\}"):
        visionlab.evaluate(run, "val")


@pytest.mark.parametrize("data", [{"test_fraction": 0.5}, {"split_seed": 1}, {"folds": 5}])
def test_images_that_were_learnt_from_are_not_divided_anew(quick_run, data):
    """Of a new test split the network knows most."""
    if "folds" in data:  # they leave the test split as it is
        assert (
            visionlab.evaluate(quick_run, "test", data=data).metrics["acc"] == quick_run.result["metrics"]["test/acc"]
        )
    else:
        with pytest.raises(ConfigError, match="would divide anew the images that the run was trained on"):
            visionlab.evaluate(quick_run, "test", data=data)
    with pytest.raises(ConfigError, match=r"of \d+ in val it has seen [1-9]"):
        visionlab.evaluate(quick_run, "val", data=data)
    same = {"test_fraction": quick_run.config["data"]["test_fraction"]}
    assert visionlab.evaluate(quick_run, "val", data=same).metrics["acc"] == quick_run.result["metrics"]["val/acc"]


def test_a_filter_that_draws_learnt_images_into_a_split_is_refused_and_one_that_does_not_is_no_division(tmp_path):
    """Quotas are of what is left: with fewer images the order of a class is carved at other places."""
    random = np.random.default_rng(0)
    for number in range(120):
        side, name = 8 + 8 * (number % 3), "cat" if number % 2 else "dog"
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    given = ["data=folder", f"data.root={tmp_path / 'photos'}", "data.val_fraction=0.3"]
    run = visionlab.train([*QUICK, *given], directory=tmp_path / "run")
    with pytest.raises(ConfigError, match="anew") as error:
        visionlab.evaluate(run, "val", data={"min_side": 16})
    assert error.value.where == "data.min_side"
    whole = visionlab.evaluate(run, "val")
    assert visionlab.evaluate(run, "val", data={"min_side": 4}).metrics == whole.metrics
    assert len(visionlab.evaluate(run, "all", data={"min_side": 16}).rows) == 80


def test_all_of_the_runs_own_images_are_no_test_of_it_and_that_is_said(photos, tmp_path, caplog):
    """By hand: of 24 images a fifth is validated on, 5."""
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    assert (run.result["data"]["train"], run.result["data"]["val"]) == (19, 5)
    assert len(visionlab.evaluate(run, "all").rows) == 24
    assert "of these 24 images the run was trained on 19, and its best epoch was chosen by 5" in caplog.text
    caplog.clear()
    visionlab.evaluate(run, "val")
    assert "was trained on" not in caplog.text
    shutil.copytree(photos, tmp_path / "other")  # the same images under other paths
    visionlab.evaluate(run, "all", data={"root": str(tmp_path / "other")})
    assert "of these 24 images the run was trained on 19" in caplog.text
    visionlab.evaluate(run, "val", data={"root": str(tmp_path / "other")})
    with pytest.raises(ConfigError, match=r"data\.root would divide anew the images"):
        visionlab.evaluate(run, "test", data={"root": str(tmp_path / "other"), "test_fraction": 0.4})


def test_code_of_ones_own_is_found_or_asked_for_and_its_changes_are_said(tmp_path, monkeypatch, caplog):
    code = tmp_path / "code" / "mine_elsewhere.py"
    code.parent.mkdir()
    code.write_text("from visionlab.models.simple_cnn import SimpleCNN\nclass Net(SimpleCNN):\n    pass\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    uses = (
        lambda: visionlab.evaluate(run, "val"),
        lambda: visionlab.predict(run, tmp_path / "one.png"),
        lambda: visionlab.load(run.dir),
    )
    with monkeypatch.context() as here:
        here.syspath_prepend(code.parent)
        given = [*QUICK, "model.network._target_=mine_elsewhere.Net", "trainer.max_epochs=1"]
        run = visionlab.train(given, directory=tmp_path / "run")
        for use in uses:
            use()
        assert "code" not in caplog.text
        code.write_text(code.read_text() + "# of another kind\n")
        for use in uses:
            caplog.clear()
            use()
            assert f"since the run was trained, your code has changed: {code}" in caplog.text
        code.write_text("from visionlab.models import nothing\n")
        here.delitem(sys.modules, "mine_elsewhere")
        with pytest.raises(ConfigError, match="which the run was trained with") as error:
            visionlab.load(run)
        assert "PYTHONPATH" not in error.value.remedy and "nothing" in error.value.remedy, "it is there, and is wrong"
    sys.modules.pop("mine_elsewhere", None)
    for use in uses:
        with pytest.raises(ConfigError, match=r"mine_elsewhere\.Net, which the run was trained with") as error:
            use()
        assert f"start from {code.parent}, or put that into PYTHONPATH" in error.value.remedy


def test_all_means_each_image_however_the_run_divided_its_own(photos, tmp_path):
    """A run on a tenth of its images, enlarged, and other photographs of which a class has one."""
    given = ["data=folder", f"data.root={photos}", "data.train_fraction=0.5", "data/expand=eightfold"]
    run = visionlab.train([*QUICK, *given], directory=tmp_path / "run")
    assert run.result["data"]["train"] < 24 * 8
    assert len(visionlab.evaluate(run, "all").rows) == 24
    shutil.copytree(photos, tmp_path / "other")
    for extra in sorted((tmp_path / "other" / run.result["data"]["classes"][0]).iterdir())[1:]:
        extra.unlink()
    left = sum(path.is_file() for path in (tmp_path / "other").rglob("*"))
    assert len(visionlab.evaluate(run, "all", data={"root": str(tmp_path / "other")}).rows) == left < 24


def test_images_that_another_division_put_into_a_split_are_counted(photos, tmp_path, caplog):
    """As another version of visionlab may, or a table that was edited: by the record of what was validated on."""
    listed = "path,label,split\n" + "".join(
        f"{name}/{number}.png,{name},{'val' if number < 3 else 'train'}\n"
        for name in ("cat", "target")
        for number in range(12)
    )
    (photos / "table.csv").write_text(listed)
    run = visionlab.train(
        [*QUICK, "data=folder", f"data.root={photos}", "data.csv=table.csv"], directory=tmp_path / "a"
    )
    visionlab.evaluate(run, "val")
    assert "were not there" not in caplog.text
    (photos / "table.csv").write_text(listed.replace("cat/5.png,cat,train", "cat/5.png,cat,val"))
    visionlab.evaluate(run, "val")
    assert "of the 7 images in val 1 were not there: the run may have learnt from them" in caplog.text


def test_images_are_normalised_on_their_device(quick_run):
    """A GPU is none that a test can count on: `meta` is another device too, but forgives what CUDA does not."""

    class Halved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("factor", torch.full((1,), 0.5))

        def forward(self, images):
            assert images.device == self.factor.device
            return images * self.factor

    loader = build.data_module(OmegaConf.create(quick_run.config)).val_dataloader()
    batch = next(iter(loader))
    moved = batch._replace(images=batch.images.to("meta"))
    assert evaluation._Split(loader, Halved()).on_after_batch_transfer(moved, 0).images.device.type == "meta"


def test_other_images_may_be_divided(photos, tmp_path):
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    shutil.copytree(photos, tmp_path / "others")
    for path in (tmp_path / "others").rglob("*.png"):
        Image.open(path).point(lambda value: value + 1).save(path)
    found = visionlab.evaluate(run, "test", data={"root": str(tmp_path / "others"), "test_fraction": 0.5})
    assert len(found.rows) > 0
    with pytest.raises(ConfigError, match="anew"):
        visionlab.evaluate(run, "test", data={"root": f"{photos}/../{photos.name}", "test_fraction": 0.5})


def test_validation_stands_in_where_there_is_no_test_split(tmp_path, capsys):
    run = visionlab.train([*QUICK, "data.test_fraction=null", f"outputs={tmp_path}"])
    assert run.result["evaluated"] == ["val"] and "test/acc" not in run.result["metrics"]
    printed = capsys.readouterr().out
    assert "no test split" in printed and "data.test_fraction=0.2" in printed, "and how to get one"


def test_at_another_size_it_is_the_network_that_was_trained(tmp_path, caplog):
    """At more than 64 px it would be built with other strides, which its weights fit as well."""
    small = ["model=mobilenet_v2", "model.network.width=0.1", "data=digits", "data.image_size=16"]
    rest = [word for word in QUICK if not word.startswith(("model", "data=", "data.image_size"))]
    limits = ["trainer.max_epochs=1", "data.train_fraction=0.2"]
    run = visionlab.train([*rest, *small, *limits], directory=tmp_path / "run")
    config = build.for_evaluation(OmegaConf.create(run.config), run)
    config.data.image_size = 72
    network, module = visionlab.load(run).network, build.data_module(config)
    with torch.inference_mode():
        found = torch.cat([network(module.preprocess(batch.images)) for batch in module.val_dataloader()])
    evaluated = visionlab.evaluate(run, "val", data={"image_size": 72})
    torch.testing.assert_close(evaluated.confidence, found.softmax(1).amax(1), atol=1e-4, rtol=0)
    for size, told in ((72, True), (20, False)):  # to train it on is possible, and said
        caplog.clear()
        given = compose([*rest, *small[:3], f"data.image_size={size}", f"model.weights={run.dir}"])
        build.classifier(given, build.data_module(given))
        assert ("model.network.small_images=true strides as theirs" in caplog.text) == told


@pytest.mark.parametrize(("size", "told"), [(72, False), (16, True)])
def test_weights_stride_as_their_run_did_not_as_its_images_suggest(tmp_path, caplog, size, told):
    small = ["model=mobilenet_v2", "model.network.width=0.1", "data=digits"]
    rest = [word for word in QUICK if not word.startswith(("model", "data=", "data.image_size"))]
    limits = ["trainer.max_epochs=1", "data.train_fraction=0.2", "data.image_size=16"]
    run = visionlab.train([*rest, *small, *limits, "model.network.small_images=false"], directory=tmp_path / "run")
    given = compose([*rest, *small, f"data.image_size={size}", f"model.weights={run.dir}"])
    build.classifier(given, build.data_module(given))
    assert ("strides otherwise; model.network.small_images=false strides as theirs" in caplog.text) == told


def test_a_network_of_one_size_says_so(quick_run):
    with pytest.raises(DataError, match="16x16 px; this network was built for 8x8 px"):
        visionlab.evaluate(quick_run, data={"image_size": 16})


def test_a_weighted_loss_has_the_weights_of_the_training(photos, tmp_path):
    given = [*QUICK, "data=folder", f"data.root={photos}", "loss=weighted_cross_entropy"]
    run = visionlab.train(given, directory=tmp_path / "run")
    shutil.copytree(photos, tmp_path / "others")
    for extra in range(8):
        (tmp_path / "others" / "cat" / f"{extra}.png").unlink()
    found = visionlab.evaluate(run, "all", data={"root": str(tmp_path / "others")})
    weights = 1 / torch.tensor(run.result["data"]["class_counts"])[found.labels]
    expected = -(weights * found.label_probability.log()).sum() / weights.sum()
    assert found.metrics["loss"] == pytest.approx(float(expected), abs=1e-4)


def test_a_list_cannot_turn_learnt_images_into_test_images(photos, tmp_path):
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    splits = {name: ("train", "val", "test", "train")[place % 4] for place, name in enumerate(names)}
    other = {name: "test" if split == "train" else "train" for name, split in splits.items()}
    more = {name: "train" if split == "test" else split for name, split in splits.items()} | {names[2]: "test"}
    for file, division in (("one.csv", splits), ("two.csv", other), ("three.csv", more)):
        lines = [f"{name},{name.partition('/')[0]},{split}" for name, split in division.items()]
        (photos / file).write_text("\n".join(["path,label,split", *lines]))
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}", "data.csv=one.csv"], directory=tmp_path / "r")
    with pytest.raises(ConfigError, match="of 12 in test it has seen 12"):
        visionlab.evaluate(run, "test", data={"csv": "two.csv"})
    assert len(visionlab.evaluate(run, "test", data={"csv": "three.csv"}).rows) == 1, "no image was learnt from"
    assert visionlab.evaluate(run, "val", data={"name": "mine"}).metrics == visionlab.evaluate(run, "val").metrics


def test_images_of_one_name_but_other_contents_were_not_learnt():
    def holding(*rows, digests):
        splits = SimpleNamespace(train=np.array([0]), val=np.array([1]), test=np.array(rows))
        index, store = SimpleNamespace(names=["a", "b", "c"]), SimpleNamespace(digests=np.array(digests, np.uint8))
        return SimpleNamespace(splits=splits, index=index, store=store)

    then, now = holding(2, digests=[[1], [2], [3]]), holding(0, 2, digests=[[4], [2], [3]])
    learnt.refuse("test", "options", now, then)
    with pytest.raises(ConfigError, match="of 2 in test it has seen 1"):
        learnt.refuse("test", "options", holding(0, 2, digests=[[1], [2], [3]]), then)


@pytest.mark.parametrize("spelled", ["./{}", "{}"])
def test_a_learnt_image_is_known_by_its_content_whatever_a_list_calls_it(photos, tmp_path, spelled, caplog):
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    parts = {name: ("train", "val", "test", "train")[place % 4] for place, name in enumerate(names)}

    def write(file, rows):
        (photos / file).write_text("\n".join(["path,label,split", *(",".join(row) for row in rows)]))

    write("one.csv", [(name, name.partition("/")[0], part) for name, part in parts.items()])
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}", "data.csv=one.csv"], directory=tmp_path / "r")
    if "/" not in spelled:  # a copy by another name
        for name in names:
            shutil.copy(photos / name, photos / name.replace(".png", "-copy.png"))
    called = {name: spelled.format(name) if "/" in spelled else name.replace(".png", "-copy.png") for name in names}
    unlike = {"train": "test", "test": "train", "val": "val"}
    write("two.csv", [(called[name], name.partition("/")[0], unlike[part]) for name, part in parts.items()])
    with pytest.raises(ConfigError, match="of 12 in test it has seen 12"):
        visionlab.evaluate(run, "test", data={"csv": "two.csv"})
    assert "cannot be seen" not in caplog.text
    (photos / "one.csv").unlink()
    assert len(visionlab.evaluate(run, "test", data={"csv": "two.csv"}).rows) == 12
    assert "whether the run was trained on some of these cannot be seen any more" in caplog.text


def test_a_run_is_evaluated_though_todays_rules_would_refuse_to_train_it(quick_run, tmp_path):
    old = Run(shutil.copytree(quick_run.dir, tmp_path / "run"))
    written = (old.dir / "config.yaml").read_text()
    assert "\ntrainer:\n" in written
    (old.dir / "config.yaml").write_text(written.replace("\ntrainer:\n", "\ntrainer:\n  val_check_interval: 0.5\n"))
    assert Run(old.dir).config["trainer"]["val_check_interval"] == 0.5
    assert visionlab.evaluate(Run(old.dir), "val").metrics == visionlab.evaluate(quick_run, "val").metrics
    for wrong, where in (({"fold": 2}, "data.fold"), ({"val_fraction": 2}, "data.val_fraction")):
        with pytest.raises(ConfigError) as error:
            visionlab.evaluate(Run(old.dir), "val", data=wrong)
        assert error.value.where == where


def test_an_accent_may_be_spelled_as_a_mac_does(photos, tmp_path):
    (photos / "cat").rename(photos / "k\u00e4fer")
    run = visionlab.train([*QUICK, "data=folder", f"data.root={photos}"], directory=tmp_path / "run")
    shutil.copytree(photos, tmp_path / "mac")
    (tmp_path / "mac" / "k\u00e4fer").rename(tmp_path / "mac" / "ka\u0308fer")
    for split in ("all", "val"):
        theirs = visionlab.evaluate(run, split, data={"root": str(tmp_path / "mac")})
        assert theirs.metrics == visionlab.evaluate(run, split).metrics


def test_the_record_of_a_run_is_not_replaced(quick_run, tmp_path):
    copy = Run(shutil.copytree(quick_run.dir, tmp_path / "run"))
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    before = sorted(path.relative_to(copy.dir) for path in copy.dir.rglob("*"))
    for use in (
        lambda: visionlab.evaluate(copy, out=copy.dir),
        lambda: visionlab.predict(copy, tmp_path / "one.png", out=copy.dir),
        lambda: visionlab.explore(["data=digits"], out=copy.dir),
        lambda: visionlab.compare(copy, quick_run, out=copy.dir),
    ):
        with pytest.raises(ConfigError, match="a run lies there"):
            use()
    assert (copy.dir / "predictions.csv").read_bytes() == (quick_run.dir / "predictions.csv").read_bytes()
    assert sorted(path.relative_to(copy.dir) for path in copy.dir.rglob("*")) == before


def test_a_place_may_begin_with_a_tilde_or_be_a_number(quick_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    visionlab.evaluate(quick_run, out="~/figures")
    visionlab.evaluate(quick_run, out=7)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("metrics.json")) == [
        "7/metrics.json", "home/figures/metrics.json"
    ]  # fmt: skip
