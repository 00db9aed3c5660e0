"""reproduce runs what is missing, remembers what is complete, and says what it lacks."""

import numpy as np
import pytest
from PIL import Image

import visionlab
from fabricate import make_run
from visionlab import reference
from visionlab.config import choices, compose, resolved
from visionlab.errors import ConfigError
from visionlab.reports.reproduction import Row, markdown
from visionlab.runs import Run

TINY = ["data.image_size=63", "logger=none", "callbacks.progress.show=false", "trainer.accelerator=cpu"]
SMALLER = "at 63 instead of 150 px"


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for i in range(2):
            folder = tmp_path / "data/tiny_imagenet10" / split / f"n{i:08}" / "images"
            folder.mkdir(parents=True)
            for j in range(3):
                Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{j}.png")
    words = "".join(f"n{i:08}\tthing {i}\n" for i in range(2))
    (tmp_path / "data/tiny_imagenet10/words.txt").write_text(words)
    return tmp_path / "data"


def test_a_system_is_run_once_and_stands_beside_what_was_printed(data, tmp_path, capsys):
    again = {"data": data, "epochs": 1, "outputs": tmp_path / "outputs", "extra": TINY}
    (row,) = visionlab.reproduce("002_alexnet_adam", **again)
    assert row.printed == {"val/acc": 0.10} and len(row.runs) == 1
    assert row.cuts == ["shortened to 1 of 35 epochs", SMALLER]
    trained = row.runs[0].checkpoint("best").stat().st_mtime_ns
    (same,) = visionlab.reproduce("002_alexnet_adam", **again)
    assert same.runs[0].checkpoint("best").stat().st_mtime_ns == trained
    text = markdown([same], today="1 May", remark="The images were small.")
    line = next(line for line in text.splitlines() if "002_alexnet_adam" in line)
    assert f"{same.values[0]:.3f}" in line and "0.100" in line and "shortened to 1 of 35 epochs" in line
    assert (
        f"data.root={data / 'tiny_imagenet10'}" in line
        and "on 1 May." in text
        and "torch" in line
        and "The images were small." in text
    )


def test_a_table_gathers_the_longest_runs_of_every_seed(data, tmp_path):
    again = {"data": data, "outputs": tmp_path / "outputs", "extra": TINY}
    visionlab.reproduce("002_alexnet_adam", epochs=1, seeds=2, **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, **again)
    assert {run.config["seed"] for run in row.runs} == {0, 1} and row.cuts == ["shortened to 1 of 35 epochs", SMALLER]
    visionlab.reproduce("002_alexnet_adam", epochs=2, **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, **again)
    assert len(row.runs) == 1 and row.cuts == ["shortened to 2 of 35 epochs", SMALLER]
    (other,) = visionlab.reproduce("002_alexnet", "002_alexnet_batch32", only_table=True, **again)[:1]
    assert not other.runs, "a run of another system was taken for this one"


def test_other_weights_stand_in_for_imagenets_and_the_table_says_so(data, tmp_path):
    tiny = data / "tiny_imagenet10"
    own = visionlab.train(
        ["model=alexnet", f"data.root={tiny}", "data=tiny_imagenet10", "trainer.max_epochs=1", *TINY],
        directory=tmp_path / "own",
    )
    again = {"data": data, "epochs": 1, "outputs": tmp_path / "outputs", "extra": TINY, "weights": {"alexnet": own.dir}}
    (row,) = visionlab.reproduce("002_alexnet_adam", **again)
    assert not row.stand_ins, "this system begins from scratch"
    rows = visionlab.reproduce("003_alexnet_frozen_fc", **again)
    assert rows[0].stand_ins == ["weights of own for ImageNet's"]
    assert f"model.weights={own.dir}" in rows[0].command


def test_what_is_missing_is_said_and_nothing_is_made_up(tmp_path):
    rows = visionlab.reproduce("000", "004_mlp", "002_alexnet", data=tmp_path, only_table=True, outputs=tmp_path)
    assert all(not row.runs and row.missing for row in rows)
    assert {row.experiment for row in rows} - set(choices("experiment")[:6]) == {"002_alexnet", "004_mlp"}
    assert "not public" in rows[0].missing
    for line in markdown(rows, today="1 May").splitlines():
        if line.startswith("| `"):
            assert line.split("|")[4].strip() == "", "a figure for a run that does not exist"


def test_every_experiment_belongs_to_a_report_and_wrong_names_are_said():
    assert all(name[:3] in {"000", "001", "002", "003", "004"} for name in choices("experiment"))
    with pytest.raises(ConfigError, match="no experiment begins with '999'"):
        visionlab.reproduce("999")


def test_a_report_brings_the_trials_of_its_search_and_a_system_in_full_comes_alone(tmp_path):
    again = {"data": tmp_path, "only_table": True, "outputs": tmp_path}
    trials = [row for row in visionlab.reproduce("002", **again) if row.experiment == "002_alexnet"]
    assert len(trials) == 12
    low = next(row for row in trials if row.settings == {"optimizer.lr": 0.0001})
    assert low.printed["test/acc"] == 0.166 and "optimizer.lr=0.0001" in low.command
    assert "| `002_alexnet` with lr 0.0001 |" in markdown(trials, today="1 May")
    assert [row.settings for row in visionlab.reproduce("002_alexnet", **again)] == [{}]


def test_a_run_stands_beside_what_was_printed_for_its_own_settings():
    def printed(*overrides):
        return reference.of(resolved(compose(["experiment=002_alexnet", "data.root=unknown", *overrides])))

    assert printed()["test/acc"] == 0.546
    assert printed("optimizer.lr=1e-4", "optimizer.momentum=0.5", "scheduler.gamma=0.01")["test/acc"] == 0.098
    assert "trials" not in printed() and printed("optimizer.lr=1e-4")["source"] == printed()["source"]
    assert reference.of({"reference": None}) is None
    # settings that trials name and this config has not
    assert printed("optimizer=adam", "~optimizer.momentum")["test/acc"] == 0.546
    assert printed("~scheduler.gamma", "optimizer.lr=1e-4")["test/acc"] == 0.166
    assert reference.of({"reference": {"a/b": 1, "trials": [{"c.d": 2, "a/b": 3}]}, "c": None}) == {"a/b": 1}


def test_the_validation_losses_that_report_003_printed_stand_beside_ours():
    printed = {
        "003_alexnet_scratch": 4.55, "003_alexnet_scratch_gamma05": 2.95, "003_alexnet_scratch_lr01": 2.85,
        "003_alexnet_pretrained": 0.7162, "003_alexnet_finetuned": 0.74, "003_alexnet_frozen_convolutions": 0.6,
        "003_alexnet_frozen_fc": 2.03, "003_alexnet_augmented1": 1.21, "003_alexnet_augmented2": 1.27,
        "003_alexnet_augmented3": 0.76, "003_resnet50": 0.34, "003_vgg16": 0.66,
    }  # fmt: skip
    assert {name: compose([f"experiment={name}"]).reference.get("val/loss") for name in printed} == printed


def test_a_note_stands_with_its_own_row_alone():
    block = {"a/b": 1, "source": "s", "note": "of the first", "trials": [{"c": 1, "a/b": 2}, {"c": 2, "note": "own"}]}
    assert [reference.of({"reference": block, "c": value}).get("note") for value in (0, 1, 2)] == [
        "of the first", None, "own",
    ]  # fmt: skip
    assert reference.of({"reference": block, "c": 2})["source"] == "s"
    assert [reference.settings(trial) for trial in block["trials"]] == [{"c": 1}, {"c": 2}]


def test_a_share_of_the_images_is_marked_and_gives_way_to_a_longer_training(data, tmp_path):
    again = {"data": data, "outputs": tmp_path / "outputs"}
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=[*TINY, "data.train_fraction=0.5"], **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert row.cuts == ["shortened to 1 of 35 epochs", "on 0.5 of the training images", SMALLER]
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=TINY, **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert row.cuts == ["shortened to 1 of 35 epochs", SMALLER]


def test_a_table_gathers_runs_of_another_precision_and_says_so(data, tmp_path):
    again = {"data": data, "outputs": tmp_path / "outputs"}
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=[*TINY, "trainer.precision=bf16-mixed"], **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert row.cuts == ["shortened to 1 of 35 epochs", SMALLER]
    assert "computed in bf16-mixed" in markdown([row], today="1 May")
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=TINY, **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert len(row.runs) == 1, "one seed was counted twice"
    assert "computed in" not in markdown([row], today="1 May")


def test_what_a_whole_training_would_take_is_estimated(data, tmp_path):
    again = {"data": data, "outputs": tmp_path / "outputs"}
    visionlab.reproduce("002_alexnet", epochs=2, extra=[*TINY, "data.train_fraction=0.5"], **again)
    rows = visionlab.reproduce("002", only_table=True, extra=TINY, **again)
    row, trial = rows[:2]
    (run,) = row.runs
    assert trial.settings and not trial.runs
    # 35 epochs for 2, all images for a half of those that are trained, 150 px for 63
    train, val, seconds = run.result["data"]["train"], run.result["data"]["val"], run.result["seconds"]
    whole = seconds["fit"] / 60 * 35 / 2 * (3 * 2 * train + val) / (3 * train + val) * 150**2 / 63**2
    lines = [line for line in markdown(rows, today="1 May").splitlines() if line.startswith("| `002_alexnet` ")]
    assert f"| {seconds['total'] / 60:,.1f} ({whole:,.0f}) |" in lines[0] and f"|  | ({whole:,.0f}) |" in lines[1]


def test_seeds_on_the_same_images_leave_the_error_by_their_number_as_it_is(tmp_path):
    same = {"metrics": {"test/acc": 0.8}}
    runs = [Run(make_run(tmp_path / str(seed), test=200, seed=seed, result=same)) for seed in range(3)]
    for n in (1, 3):
        row = Row("001_best", printed={"test/acc": 0.75}, runs=runs[:n])
        assert row.error == pytest.approx((2 * 0.8 * 0.2 / 200) ** 0.5)


def test_the_error_is_that_of_the_split_and_of_the_images_that_were_evaluated(tmp_path):
    result = {"metrics": {"test/acc": 0.8, "val/acc": 0.5}, "evaluated_images": {"val": 40, "test": 50}}
    runs = [Run(make_run(tmp_path / "run", test=200, val=100, result=result))]
    assert Row("001_best", printed={"test/acc": 0.75}, runs=runs).error == pytest.approx((2 * 0.8 * 0.2 / 50) ** 0.5)
    assert Row("001_best", printed={"val/acc": 0.75}, runs=runs).error == pytest.approx((2 * 0.5 * 0.5 / 40) ** 0.5)


def test_a_training_longer_than_the_reports_is_not_the_reports(data, tmp_path):
    own = [*TINY, f"data.root={data / 'tiny_imagenet10'}", f"outputs={tmp_path / 'outputs'}"]
    visionlab.train(["experiment=002_alexnet_adam", "trainer.max_epochs=2", *own])
    again = {"data": data, "outputs": tmp_path / "outputs", "only_table": True}
    (row,) = visionlab.reproduce("002_alexnet_adam", extra=[*TINY, "trainer.max_epochs=1"], **again)
    assert not row.runs


def test_the_record_of_a_trial_holds_what_was_printed_for_it(data, tmp_path):
    own = [f"data.root={data / 'tiny_imagenet10'}", "trainer.max_epochs=1", *TINY]
    run = visionlab.train(["experiment=002_alexnet", "optimizer.lr=1e-4", *own], directory=tmp_path / "run")
    assert run.result["reference"]["test/acc"] == 0.166 and "trials" not in run.result["reference"]


def test_the_command_line_takes_names_options_and_overrides_in_any_order(data, tmp_path, capsys):
    from visionlab import reproduce

    table = tmp_path / "table.md"
    given = ["--data", str(data), "--outputs", str(tmp_path / "outputs"), "--table", str(table), "--epochs", "1"]
    reproduce.main(["002_alexnet_adam", *given, *TINY])
    line = next(line for line in table.read_text().splitlines() if "002_alexnet_adam" in line)
    assert SMALLER in line and "data.image_size=63" in line


AS_PRINTED = {
    "data.train_fraction": 1.0, "data.image_size": 32, "model.compile": False,
    "trainer.max_epochs": 8, "trainer.precision": "32-true",
}  # fmt: skip


@pytest.fixture
def row(tmp_path):
    """Return a function that makes a row of two seeds that got this share of the images right."""

    where = {"device": "cuda", "cores": 16, "versions": {"torch": "2.15.0"}}
    given = AS_PRINTED

    def make(experiment, share, epochs=8):
        result = {
            "metrics": {"test/acc": share}, "epochs": 8, "seconds": {"fit": 60, "total": 90}, "environment": where,
        }  # fmt: skip
        folders = [tmp_path / f"{experiment}-{share}-{seed}" for seed in (0, 1)]
        made = [Run(make_run(folder, seed=i, result=result, config=given)) for i, folder in enumerate(folders)]
        return Row(experiment, printed={"test/acc": 0.5}, runs=made, epochs=epochs, image_size=32)

    return make


def lines(page):
    return {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}


def test_a_table_keeps_what_another_machine_measured(row):
    first = markdown([row("002_best", 0.7), row("001_best", 0.8)], today="1 May", remark="The photographs were small.")
    here = [row("002_best", 0.6), Row("001_best", missing="not run"), Row("001_resnet20", missing="not run")]
    second = markdown(here, today="2 May", standing=first)
    assert "on 2 May.\n\nThe photographs were small.\n" in second and "1 May" not in second
    assert list(lines(second)) == ["001_best", "001_resnet20", "002_best"]
    assert lines(second)["001_best"] == lines(first)["001_best"] and "0.800" in lines(first)["001_best"]
    assert "0.600" in lines(second)["002_best"] and "not run" in lines(second)["001_resnet20"]
    assert second.count("## Report 001") == 1
    assert markdown(here, today="2 May", standing=second) == second, "a page grew as it was written again"
    assert "other words" in markdown(here, today="2 May", remark="In other words.", standing=second)
    assert "small" not in markdown(here, today="2 May", remark="In other words.", standing=second)


def test_ours_is_the_mean_over_seeds_and_the_difference_is_ours_less_the_printed(tmp_path):
    """By hand: 0.62 and 0.58 of 200 images; the error of the difference from one other run is sqrt(2 * 0.24 / 200)."""
    where = {"device": "cuda", "cores": 16, "versions": {"torch": "2.15.0"}}
    given = AS_PRINTED
    runs = []
    for seed, share, day in ((0, 0.62, 3), (1, 0.58, 2)):
        result = {"metrics": {"test/acc": share}, "environment": where, "started": f"2026-11-0{day}T23:00:00+00:00"}
        runs.append(Run(make_run(tmp_path / str(seed), test=200, seed=seed, result=result, config=given)))

    def cells(**changes):
        row = Row("001_best", printed={"test/acc": 0.7}, runs=runs, epochs=8, image_size=32)
        vars(row).update(changes)
        (line,) = lines(markdown([row], today="1 May")).values()
        return [cell.strip() for cell in line.split("|")[3:]]

    whole = cells()
    assert whole[:4] == ["0.700", "0.600 ± 0.028", "2", "-0.100 (2.0)"]
    assert whole[5].startswith("3 November 2026; "), "not when its last run began"
    for other in ({"epochs": 9}, {"stand_ins": ["other photographs"]}, {"image_size": 64}):
        assert cells(**other)[:4] == ["0.700", "0.600 ± 0.028", "2", ""], "it is not the report's"
    assert cells(printed={})[:4] == ["", "0.600 ± 0.028", "2", ""]


@pytest.mark.parametrize(
    ("asked", "remark"),
    [
        ({}, None),
        ({"precision": "bf16-mixed"}, "computed in 32-true"),
        ({"compiled": True}, "computed without torch.compile"),
        ({"compiled": True, "precision": "bf16-mixed"}, "computed in 32-true and without torch.compile"),
    ],
)
def test_a_row_says_in_what_other_way_it_was_computed(row, asked, remark):
    one = row("001_best", 0.8)
    vars(one).update(asked)
    (line,) = lines(markdown([one], today="1 May")).values()
    assert ("computed" in line) == (remark is not None)
    assert remark is None or f" {remark} |" in line


def test_a_table_gathers_compiled_runs_and_prefers_those_that_are_computed_as_asked(data, tmp_path, monkeypatch):
    """torch.compile changes how fast a network computes, and no more than the last digits of what."""
    from visionlab import reproduce

    again = {"data": data, "outputs": tmp_path / "outputs"}
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=[*TINY, "model.compile=true"], **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert "computed with torch.compile" in markdown([row], today="1 May")
    visionlab.reproduce("002_alexnet_adam", epochs=1, extra=TINY, **again)
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert len(row.runs) == 1 and not row.computed
    file = reproduce.compose  # of a system that is compiled
    monkeypatch.setattr(reproduce, "compose", lambda given: file([*given, "model.compile=true"]))
    (row,) = visionlab.reproduce("002_alexnet_adam", only_table=True, extra=TINY, **again)
    assert row.runs[0].config["model"]["compile"] and not row.computed


def test_a_shortened_training_does_not_take_the_place_of_a_whole_one(row):
    whole, short, longer = row("001_best", 0.8), row("001_best", 0.3, epochs=30), row("001_best", 0.4, epochs=20)
    assert short.cuts and longer.cuts and not whole.cuts
    page = markdown([whole], today="1 May")
    assert lines(markdown([short], today="2 May", standing=page)) == lines(page)
    page = markdown([short], today="1 May")
    assert "0.400" in lines(markdown([longer], today="2 May", standing=page))["001_best"]
    assert "0.800" in lines(markdown([whole], today="2 May", standing=page))["001_best"]
    nothing = markdown([Row("001_best", printed={"test/acc": 0.5})], today="1 May")
    assert "0.300" in lines(markdown([short], today="2 May", standing=nothing))["001_best"], "it was not run before"


def test_a_line_says_when_and_on_what_it_was_measured(row):
    first = row("001_best", 0.8)
    assert [run.result["started"] for run in first.runs] == ["2026-11-20T14:03:00+00:00"] * 2
    line = lines(markdown([first], today="1 May"))["001_best"]
    assert "| 20 November 2026; cuda (16 cores), torch 2.15.0 |" in line


def test_the_command_line_adds_to_the_table_that_stands(data, tmp_path, capsys):
    from visionlab import reproduce

    table = tmp_path / "table.md"
    given = ["--data", str(data), "--table", str(table), *TINY]
    one, two = (["--outputs", str(tmp_path / name)] for name in ("one", "two"))
    reproduce.main(["002_alexnet_adam", *given, *one, "--epochs", "1", "--remark", "On grey noise."])
    before = lines(table.read_text())
    reproduce.main(["002_alexnet_batch32", *given, *two, "--only-table"])
    after = lines(table.read_text())
    assert list(after) == ["002_alexnet_adam", "002_alexnet_batch32"] and after | before == after
    assert "On grey noise." in table.read_text()
    assert "002_alexnet_adam" not in capsys.readouterr().out.split("What the reports printed")[-1]


@pytest.mark.parametrize("name", ["my photographs", "Bücher (neu), 2", "plain"])
def test_any_path_will_do_and_its_command_survives_the_shell(tmp_path, name):
    import shlex

    outputs = tmp_path / name
    (row,) = visionlab.reproduce("004_mlp", photos={"004": outputs / "in"}, only_table=True, outputs=outputs)
    assert compose(shlex.split(row.command)[3:]).data.root == str(outputs / "in")
    assert ("'" in row.command) == (name != "plain")
