"""What a user does wrong, through the real command line: a few lines, exit code 2, nothing left behind."""

import subprocess
import sys

import pytest
from PIL import Image

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError
from visionlab.runs import Run


def command(*arguments, cwd):
    """Run the door in this interpreter's twin and return (exit code, output, error)."""
    done = subprocess.run(
        [sys.executable, "-m", "visionlab.train", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def door(tmp_path, monkeypatch, capfd):
    """The command line in this process: imports are paid once, and the exit code is that of the process."""
    from visionlab import train

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["visionlab.train", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            train.main()
        return left.value.code, capfd.readouterr().err

    return call


@pytest.fixture
def photos(tmp_path):
    for name, count in (("cats", 6), ("dogs", 6)):
        for i in range(count):
            path = tmp_path / "photos" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (20 * i, len(name) * 40, ord(name[0]))).save(path)
    return tmp_path / "photos"


def nothing_left(tmp_path):
    outputs = tmp_path / "outputs"
    assert not outputs.exists() or not any(outputs.iterdir()), sorted(outputs.rglob("*"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimizer.lrr=1"], "did you mean 'optimizer.lr'"),
        (["optimizr.lr=1"], "did you mean 'optimizer'"),
        (["lr=0.5"], "did you mean 'optimizer.lr'"),
        (["+lr=0.5"], "nothing reads 'lr'\n  in: lr\n  do: did you mean 'optimizer.lr'"),
        (["epochs=3"], "did you mean 'trainer.max_epochs'"),
        (["+image_size=64"], "did you mean 'data.image_size'"),
        (["batch_size=64"], "did you mean 'data.batch_size'"),
        (["data.root=photos"], "give data=folder too"),
        (["photos/"], "did you mean: data=folder data.root=photos/\n"),
        (["alexnet"], "did you mean: model=alexnet\n"),
        (["cifar10"], "did you mean: data=cifar10\n"),
        (["data=photos/2024"], "'photos/2024'\n  in: data=photos/2024\n  do: give data=folder data.root=photos/2024\n"),
        (["data=/photos"], "do: give data=folder data.root=/photos\n"),
        (["data=/photos/Äpfel"], "do: give data=folder 'data.root=\"/photos/Äpfel\"'\n"),
        (["model=weights/net.pt"], "model=<name>, and give model.weights=weights/net.pt\n"),
        (["data.root=photos", "data.name=mine"], "data=digits reads no folder"),
        (["~model.compile"], "leave out what removes it: ~model.compile"),
        (["+max_epochs=3"], "did you mean 'trainer.max_epochs'"),
        (["+trial=3"], "nothing reads 'trial'"),
        (["+notes={author: me}"], "# @package _global_"),
        (["+callbacks.earlystopping.patience=3"], "did you mean 'callbacks.early_stopping'?"),
        (["+callbacks.foo=3"], "there is no callback 'foo'"),
        (["+callbacks.checkpoint.every_minute=3"], "did you mean 'callbacks.checkpoint.every_minutes'?"),
        (["callbacks.progress=null"], "there is no callbacks.progress"),
        (["logger=none", "+logger.foo=3"], "no logger that would read 'foo'"),
        (["data.expand=eightfold"], "data/expand=eightfold"),
        (["data.expand={copies: 2}"], "data/expand=eightfold"),
        (["+sweep.ntrials=3"], "did you mean 'sweep.n_trials'?"),
        (["modell=alexnet"], "did you mean 'model'"),
        (["model=alexnett"], "did you mean 'alexnet'"),
        (["data=cifar"], "did you mean 'cifar10'"),
        (["data=cifar100"], "give data=torchvision data.name=CIFAR100"),
        (["model=convnext_tiny"], "give model=torchvision model.name=convnext_tiny"),
        (["model=convnext_atto"], "give model=timm model.name=convnext_atto"),
        (["optimizer=adamW"], "did you mean 'adamw'"),
        (["data=zzz"], "tiny_imagenet10"),
        (["scheduler=zzz"], "plateau"),
        (["optimizer.lr=[1"], "close its brackets"),
        (["data.rot=x"], "did you mean 'data.root'?"),
        (["optimizer.learnrate=1"], "choose one of: "),
        (["optimizer.lr=1e-3,1e-2"], "to sweep over them add -m"),
        (["sweep.replicates.seed=[0,1]"], "'sweep.replicates={seed: ...}'"),
        (["optimizer.lr=abc"], "a number above 0"),
        (["logger=null"], "give one of the group's choices"),
        (["~scheduler"], "there is no scheduler"),
        (["model.network=5"], "in: model.network"),
        (["~callbacks.progress"], "there is no callbacks.progress"),
        (["trainer.strategy=dpp"], "invalid strategy name"),
        (["trainer.limit_val_batches=0.001"], "a share of at least"),
        (["trainer.max_steps=0"], "at least 1 or -1"),
        (["trainer.max_time='0:0:0:5'"], "DD:HH:MM:SS"),
        (["+trainer.check_val_every_n_epoch=11"], "give at most 2"),
        (["+trainer.val_check_interval=0.5"], "trainer.limit_train_batches makes epochs shorter"),
        (
            ["model.network._target_=nowhere_at_all.Net"],
            "or start in the folder that it lies in",
        ),
        (
            ["model.network._target_=visionlab.models.simple_cnn.SimpleCN"],
            "did you mean 'SimpleCNN'?",
        ),
        (
            ["model.network._target_=visionlab.models.simple_cn.SimpleCNN"],
            "No module named 'visionlab.models.simple_cn",
        ),
        (["optimizer._target_=torch.optim.Adm"], "did you mean 'Adam'?"),
        (["model.network._target_=torchvision.models.resnet81"], "did you mean 'resnet18'?"),
        (["model.network._target_=__main__.Nett"], "define Nett before, or put it into a module"),
        (["scheduler=onecycle", "scheduler.pct_start=1.0"], "at least 0 and below 1"),
        (["trainer.deterministic=flase"], "true, false, warn"),
        (["optimizer.decay_biases_and_norms=no"], "true, false"),
        (["model.frozen_norms=maybe"], "eval, train"),
        (["callbacks.nan_guard.every_n_steps=0"], "at least 1"),
        (["callbacks.unfreezing.epochs_per_layer=0"], "at least 1"),
        (["scheduler=plateau", "scheduler.monitor=val/accuracy"], "val/acc"),
        (["scheduler=plateau", "scheduler.patience=-1"], "at least 0"),
        (["scheduler=multistep", "scheduler.milestones=[a]"], "rising integers"),
        (["scheduler=multistep", "scheduler.milestones=[20,10]"], "rising integers"),
        (
            ["scheduler=onecycle", "callbacks.rollback.patience=2", "callbacks.rollback.lr_factor=0.5"],
            "another scheduler",
        ),
        (["optimizer.lr=-1"], "a number above 0"),
        (["+optimizer.wd=3"], "has no argument 'wd'"),
        (["data=folder", "data.root=x", "+data.patient=id"], "Folder has no argument 'patient'"),
        (["+loss.weight=[1,2]"], "give loss=weighted_cross_entropy '+loss.weights=[...]'"),
        (["augment=flip_crop", "augment.steps.crop.padding=0"], "is 0\n  in: augment\n  do: give 1 pixel"),
        (["data.batch_size=0"], "at least 1"),
        (["data.batch_size=2.5"], "an integer"),
        (["data.val_fraction=1.5"], "below 1"),
        (["seed=x"], "an integer"),
        (["trainer.max_epochs=0"], "at least 1"),
        (["trainer.accelerator=gpuu"], "one of: auto, cpu, gpu, mps"),
        (["trainer.precision=8"], "bf16-mixed"),
        (["monitor=val/loss"], "mode=min"),
        (["mode=min"], "mode=max"),
        (["monitor=val/accuracy"], "val/acc"),
        (["callbacks.early_stopping.monitor=val/loss"], "callbacks.early_stopping.mode=min"),
        (["callbacks.rollback.monitor=loss"], "val/loss"),
        (["callbacks.ema.decay=0.9", "callbacks.swa.start=0.5"], "one of"),
        (["optimizer.fused=true", "trainer.gradient_clip_val=1", "trainer.precision=bf16-mixed"], "fused=false"),
        (["trainer.strategy=fsdp"], "trainer=ddp"),
        (["trainer.precision=bf16-true"], "bf16-mixed"),
        (["data.fold=1"], "data.folds=5"),
        (["+trainer.overfit_batches=1"], "data.train_fraction"),
        (["scheduler.factor=0.5"], "give optimizer.lr"),
        (["callbacks.rollback.patience=2", "callbacks.swa.start=0.5"], "callbacks.swa"),
        (["model.freeze=false"], "model.freeze"),
        (["trainer.max_time=5min"], "DD:HH:MM:SS"),
        (["trainer.limit_train_batches=0"], "an integer from 1"),
        (["trainer.limit_val_batches=1.5"], "an integer from 1"),
        (["callbacks.early_stopping.min_delta=x"], "a number at least 0"),
        (["data=folder", "data.root=Äpfel"], "shell: 'data.root=\"Äpfel\"'\n"),
        (["data=folder"], "data.root must be given"),
        (["data=folder", "data.root=null"], "give text"),
        (["data=folder", "data.root=nowhere"], "nowhere"),
        (["data=folder", "data.root=nowhere", "data.csv=5"], "in: data.csv"),
        (["data=folder", "data.root=nowhere", "data.cache_dir=5"], "in: data.cache_dir"),
        (["data=cifar10", "data.root=nowhere"], "data.download=true"),
        (["model.weights=nowhere.pt"], "nowhere.pt"),
        (["model.freeze=nowhere"], "nowhere"),
        (["model.weights=5"], "text or null"),
        (["model.network.dropout=1.5"], "in: model.network (simple_cnn.py, line"),
        (["model.network.dense_units=many"], "in: model.network (simple_cnn.py, line"),
        (["callbacks.rollback.patience=2", "callbacks.rollback.mode=mx"], "max, min"),
        (["data.image_size=1.5"], "in: data.image_size"),
        (["data.image_size=null"], "in: data.image_size"),
        (["data.keep_sizes=300"], "give a list of WIDTHxHEIGHT"),
        (["data=synthetic", "data.images=many"], "in: data.images"),
        (["data=synthetic", "data.kinds=0"], "in: data.kinds"),
        (["data=caltech101", "data.train_per_class=few"], "in: data.train_per_class"),
        (["augment=randaugment", "augment.steps.policy.magnitude=strong"], "a magnitude from 0 to 30"),
        (["loss._target_=torch.nn.Nothing"], "does not exist"),
    ],
)
def test_a_mistake_is_said_in_a_few_lines(door, tmp_path, overrides, says):
    code, error = door(*QUICK, *overrides)
    assert code == 2
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) <= 8
    nothing_left(tmp_path)


@pytest.mark.parametrize("group", ["data", "model"])
def test_a_group_that_is_taken_out_is_missed(door, tmp_path, group):
    code, error = door("trainer.max_epochs=1", f"~{group}")
    assert code == 2 and f"there is no {group}" in error
    nothing_left(tmp_path)


def test_the_choices_of_a_group_are_listed_once(door):
    for choice in ("zzz", "adan"):
        _, error = door(f"optimizer={choice}")
        assert error.count("rmsprop") == 1


def test_a_sweep_without_its_flag_is_told_of(door, tmp_path):
    _, error = door(*QUICK, "sweep=seeds", "optimizer=sgd", "optimizer.lr=1e30")
    assert "this is one run" in error and "-m sweep=seeds" in error
    _, error = door("-m", *QUICK, "sweep=seeds", "seed=0", "optimizer=sgd", "optimizer.lr=1e30")
    assert "this is one run" not in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.name=resnet20"], "give model=resnet20"),
        (["data.name=cifar10"], "give data=cifar10"),
        (["-m", "model.name=resnet20,resnet32"], "give model=resnet20"),
        (["-m", "model.name=choice(resnet20,resnet32)"], "give model=resnet20"),
        (["model.name=convnext_tiny"], "give model=torchvision model.name=convnext_tiny"),
        (["data.name=CIFAR100"], "give data=torchvision data.name=CIFAR100"),
        (["experiment=002_alexnet", "model.name=resnet20"], "give model=resnet20"),
    ],
)
def test_the_name_of_a_choice_is_not_its_choice(door, tmp_path, words, says):
    code, error = door("trainer.max_epochs=1", *words)
    assert code == 2 and says in error
    nothing_left(tmp_path)


@pytest.mark.parametrize("other", [visionlab.explore, visionlab.tune, visionlab.probe])
def test_no_door_takes_a_name_for_a_choice(other):
    with pytest.raises(ConfigError, match="give model=alexnet"):
        other([*QUICK[:3], "model.name=alexnet"])


def test_a_key_of_ones_own_may_name_the_directory(tmp_path, monkeypatch):
    from visionlab import train

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own/experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {run: {dir: 'three/${tag}'}}\n"
    (tmp_path / "own/experiment/mine.yaml").write_text(text)
    file = ["--config-dir", "own", "experiment=mine"]
    for words in (["hydra.run.dir=one/${tag}"], ["-m", "hydra.sweep.dir=two/${tag}", "seed=0,1"], file):
        given = [*QUICK, "trainer.max_epochs=1", "+tag=mine", *words]
        monkeypatch.setattr(sys, "argv", ["visionlab.train", *given])
        train.main()
    assert Run(tmp_path / "one/mine").status == Run(tmp_path / "three/mine").status == "completed"
    assert [Run(path.parent).status for path in tmp_path.glob("two/mine/*/result.json")] == ["completed"] * 2


def test_a_place_without_a_sweep_is_told_of(door, tmp_path):
    _, error = door(*QUICK, "hydra/launcher=parallel", "optimizer=sgd", "optimizer.lr=1e30")
    assert "this is one run" in error and "-m hydra/launcher=parallel" in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["+lr=0.1,0.2"], "nothing reads 'lr'"),
        (["+name=a,b"], "nothing reads 'name'"),
        (["data.root=one,two"], "give data=folder too"),
        (["resume=outputs/digits", "seed=0,1"], "would not be heeded here"),
    ],
)
def test_a_sweep_over_what_changes_nothing_is_refused(door, tmp_path, words, says):
    code, error = door("-m", *QUICK, *words)
    assert code == 2 and says in error
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {batch_size: 8}", "# @package _global_"),
        ("defaults: [{override /model: mlp}]\nseed: 4", "# @package _global_"),
        ("data: holiday", "# @package _global_"),
        ("defaults: [override /data/expand: copies]", "# @package _global_"),
    ],
)
def test_an_experiment_that_would_change_nothing_names_its_first_line(door, tmp_path, text, says):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(text)
    code, error = door("--config-dir", "own", *QUICK, "experiment=mine")
    assert code == 2 and says in error and "Traceback" not in error


@pytest.mark.parametrize(("group", "target"), [("model", "x.Y"), ("data", "x.Y"), ("augment", "x.Y")])
def test_a_choice_without_the_base_is_told_to_begin_with_it(door, tmp_path, group, target):
    (tmp_path / "own" / group).mkdir(parents=True)
    (tmp_path / "own" / group / "mine.yaml").write_text(f"_target_: {target}\nname: mine\n")
    code, error = door("--config-dir", "own", "trainer.max_epochs=1", f"{group}=mine")
    assert code == 2 and "defaults: [_base, _self_]" in error and "Traceback" not in error


@pytest.mark.parametrize("flag", [["--config-dir", "own"], ["--config-dir=own"], ["-cd", "own"], ["--run"]])
def test_overrides_may_stand_on_both_sides_of_a_flag(door, tmp_path, flag):
    (tmp_path / "own").mkdir()
    code, error = door("seed=1", *flag, "optimizer.lr=-1")
    assert code == 2 and "a number above 0" in error


def test_info_may_stand_among_overrides(monkeypatch, capsys):
    from visionlab import train

    monkeypatch.setattr(sys, "argv", ["visionlab.train", "seed=1", "--info", "config", "seed=2"])
    train.main()
    assert "seed: 2" in capsys.readouterr().out


def test_settings_beside_resume_are_refused(door, quick_run):
    code, error = door(f"resume={quick_run.dir}", "trainer.max_epochs=9")
    assert code == 2 and "trainer.max_epochs=9 would not be heeded" in error


NETWORK = """
import torch
class Net(torch.nn.Module):
    def __init__(self, {argument}):
        super().__init__()
        self.fc = torch.nn.Linear(3072, {argument})
    def forward(self, images):
        logits = self.fc(images.flatten(1))
        return {returned}
"""


@pytest.mark.parametrize(
    ("argument", "returned", "says"),
    [
        ("n", "logits", "missing a required argument: 'n'"),
        ("num_classes", "(logits, images)", "the network returns a tuple for"),
        ("num_classes", "logits[:, 1:]", "of 10 classes\n  in: model.network"),
        ("num_classes", "logits.argmax(1)", "let its forward return one logit a class"),
    ],
)
def test_a_network_of_ones_own_that_does_not_keep_the_contract(door, tmp_path, monkeypatch, argument, returned, says):
    (tmp_path / "own" / "model").mkdir(parents=True)
    name = f"net_{abs(hash((argument, returned)))}"
    (tmp_path / f"{name}.py").write_text(NETWORK.format(argument=argument, returned=returned))
    text = f"defaults: [_base, _self_]\nname: net\nnetwork:\n  _target_: {name}.Net\n"
    (tmp_path / "own" / "model" / "net.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, error = door("--config-dir", "own", "model=net", "trainer.max_epochs=1")
    assert code == 2 and says in error and "Traceback" not in error


def test_a_search_of_nothing_says_how_to_name_something(door):
    code, error = door("-m", *QUICK, "sweep=optuna")
    assert code == 2 and "optimizer.lr=tag(log,interval(1e-4,1e-1))" in error


def test_an_accelerator_that_is_not_there(door, tmp_path):
    import torch

    missing = "mps" if not torch.backends.mps.is_available() else "gpu"
    code, error = door(*QUICK, f"trainer.accelerator={missing}")
    assert code == 2 and f"no {missing}" in error and "it has: cpu" in error
    nothing_left(tmp_path)


def test_a_folder_without_images(door, tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    code, error = door(*QUICK, "data=folder", "data.root=photos")
    assert code == 2 and "photos" in error and "Traceback" not in error
    nothing_left(tmp_path)


def test_one_class_only(door, photos, tmp_path):
    for path in (photos / "dogs").iterdir():
        path.unlink()
    code, error = door(*QUICK, "data=folder", "data.root=photos")
    assert code == 2 and "one class only: cats; dogs holds no images\n" in error
    (photos / "dogs").rmdir()
    code, error = door(*QUICK, "data=folder", "data.root=photos")
    assert code == 2 and "one class only: cats\n" in error
    nothing_left(tmp_path)


def test_outputs_that_cannot_be_written(door, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, error = door(*QUICK, "outputs=file/outputs")
    assert code == 2 and "outputs=<folder>" in error and "Traceback" not in error


def test_a_loss_that_is_no_number_ends_the_run_and_names_the_step(door, tmp_path):
    code, error = door(*QUICK, "optimizer=sgd", "optimizer.lr=1e30")
    assert code == 2
    assert "NaN or infinite in epoch 1, batch" in error and "1e+30" in error
    (run,) = (tmp_path / "outputs").iterdir()
    result = Run(run).result
    assert result["status"] == "failed" and "NaN" in result["error"]


def test_the_real_command_line(tmp_path):
    code, _, error = command("optimizer.lrr=1", cwd=tmp_path)
    assert code == 2 and "did you mean 'optimizer.lr'" in error and "Traceback" not in error
    code, _, error = command(*QUICK, "optimizer.lr=-1", cwd=tmp_path)
    assert code == 2 and "Traceback" not in error
    nothing_left(tmp_path)


def test_our_own_mistakes_keep_their_traceback(door, tmp_path, monkeypatch):
    from visionlab.training import build

    monkeypatch.setattr(build, "trainer", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        door(*QUICK)


def test_batches_of_one_image_that_cannot_be_normalised(door):
    network = ("model=resnet18", "model.network.small_images=false", "data.image_size=32", "data.batch_size=1")
    code, told = door("data=digits", *network, "logger=none", "callbacks.progress.show=false")
    assert code == 2 and "Traceback" not in told
    assert "normalises over the batch" in told and "data.batch_size=1" in told and "two images or more" in told
