"""Every file of conf/ composes, says what its keys mean, and describes objects that can be made."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.utils import get_object, instantiate

from visionlab.checks import check, check_composed
from visionlab.config import choices, compose, conf_root, resolved
from visionlab.errors import ConfigError

CONF = conf_root()
GROUPS = ("data", "augment", "model", "loss", "optimizer", "scheduler", "trainer", "callbacks", "logger")
CHOICES = [(group, choice) for group in GROUPS for choice in choices(group)]


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=[f"{group}={choice}" for group, choice in CHOICES])
def test_every_choice_composes_and_passes_the_checks(group, choice):
    needs = {"folder": ["data.root=x"]}.get(choice, [])
    config = resolved(compose([f"{group}={choice}", *needs]))
    check(config)
    if group in ("data", "model") and choice not in ("folder", "torchvision", "timm"):
        assert config[group]["name"] == choice


def test_norms_that_scale_their_biases_are_not_replaced():
    given = ["trainer=ddp", "+trainer.sync_batchnorm=true"]
    check(resolved(compose([*given, "model=resnet20"])))
    with pytest.raises(ConfigError, match="sync_batchnorm would replace the norms of airbench"):
        check(resolved(compose([*given, "model=airbench"])))


@pytest.mark.parametrize("choice", choices("experiment"))
def test_every_experiment_composes(choice):
    check(resolved(compose([f"experiment={choice}", "data.root=x"])))


def test_what_goes_together_passes():
    check(resolved(compose(["monitor=val/loss", "mode=min", "callbacks.ema.decay=0.9", "trainer.gradient_clip_val=1"])))


@pytest.mark.parametrize("group", ["augment", "loss", "optimizer", "scheduler", "logger"])
def test_what_a_choice_describes_can_be_made(group):
    for choice in choices(group):
        config = compose([f"{group}={choice}"])[group]
        if config.get("_target_"):
            made = instantiate(config, _partial_=True, _convert_="all")
            assert callable(made.func) and inspect.signature(made.func)


def test_an_optimizer_of_timm_without_timm_names_the_extra(monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "timm"] or ["timm"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"timm\.optim\.Muon does not exist") as caught:
        check(resolved(compose(["optimizer=muon"])))
    assert caught.value.remedy == "pip install 'visionlab[timm]'"


def test_every_target_exists():
    for path in CONF.rglob("*.yaml"):
        for target in re.findall(r"_target_: ([\w.]+)", path.read_text()):
            if target != "null" and not target.startswith("timm."):
                assert get_object(target), f"{path}: {target}"


def _explained(path):
    """Return the keys of a file that a comment stands beside or above, and those that none does."""
    explained, bare, commented = set(), set(), False
    for line in path.read_text().splitlines():
        if line.startswith("hydra:"):
            break  # what follows is Hydra's own
        key = re.match(r"\s*([\w@/]+):(\s|$)", line)
        if not key:
            commented = line.lstrip().startswith("#") or (commented and bool(line.strip()))
            continue
        # One comment above serves keys that follow one another, as limit_train_batches and its like.
        commented = commented or "#" in line
        (explained if commented or "#" in line else bare).add(key[1])
    return explained, bare


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_is_explained(path):
    """A comment stands beside the key, above it, or in the base that it comes from."""
    assert path.read_text().startswith("#"), "the file does not begin with a comment that says what it is"
    if path.parent.name in ("help", "job_logging"):
        return
    known = {"_target_", "_partial_", "_convert_", "name", "defaults", "network", "override"}
    for base in (path.parent / "_base.yaml", path.parent / "default.yaml", CONF / "train.yaml"):
        if base.exists():
            known |= _explained(base)[0]
    assert not _explained(path)[1] - known


@pytest.mark.parametrize(
    "words",
    [
        ["+width=64", "model.network.dense_units=${width}"],
        ["+width=64", "model.network.dense_units=${oc.select:width,32}"],
        ["model=torchvision", "model.name=alexnet"],
        ["data=folder", "data.root=photos", "data.name=cifar10"],
        ["experiment=000_alexnet_light_224_setup1", "data.root=photos", "data.name=cifar10"],
        ["data.root=data/"],
        ["+callbacks.mine._target_=lightning.Callback"],
    ],
)
def test_what_is_meant_as_it_is_said_passes(words):
    config = compose(words)
    check_composed(resolved(config), config, words)


def test_a_name_at_the_top_is_not_the_name_below_it_that_others_read():
    config = compose(["model=torchvision", "+name=resnet50"])
    with pytest.raises(ConfigError, match="nothing reads 'name'"):
        check_composed(resolved(config), config)


def test_overriding_order_does_not_matter():
    one = resolved(compose(["model=alexnet", "optimizer=sgd", "optimizer.lr=0.1"]))
    assert one == resolved(compose(["optimizer.lr=0.1", "optimizer=sgd", "model=alexnet"]))


def test_a_config_dir_of_ones_own_adds_to_ours(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.Adagrad\n_partial_: true\nlr: 0.5\n")
    config = resolved(compose(["optimizer=mine", f"hydra.searchpath=[file://{tmp_path}]"]))
    assert config["optimizer"]["lr"] == 0.5


def test_composing_leaves_hydra_as_it_was():
    from hydra.core.global_hydra import GlobalHydra

    compose()
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["--cfg", "job", "model=alexnet", "data=cifar10"]])
def test_help_and_config_import_nothing_heavy(arguments, tmp_path):
    code = (
        "import sys, runpy; sys.argv = ['visionlab.train', *sys.argv[1:]]\n"
        "try: runpy.run_module('visionlab.train', run_name='__main__')\n"
        "finally: print('HEAVY', sorted({'torch', 'lightning', 'optuna', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("HEAVY []"), done.stdout[-500:] + done.stderr[-500:]
    assert not any(tmp_path.iterdir()), "nothing is trained, so nothing is written"


def test_help_lists_groups_choices_and_examples(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "visionlab.train", "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    for group in ("data", "model", "optimizer", "scheduler", "augment"):
        assert re.search(rf"^  {group}\s+\w", done.stdout, re.M), group
    assert done.stdout.count("python -m visionlab.train") >= 5
    assert "_base" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_the_package_names_no_path_of_a_machine():
    for path in (*CONF.rglob("*.yaml"), *Path(CONF.parent / "src").rglob("*.py")):
        assert not re.search(r"/(root|home|Users)/", path.read_text()), path
