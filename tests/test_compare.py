import csv
import json
import re
import shutil
import subprocess
import sys
from statistics import fmean, stdev
from xml.etree import ElementTree

import pytest

import visionlab
from fabricate import make_run, make_sweep
from reading_html import read
from visionlab.compare import compare, main
from visionlab.errors import RunError
from visionlab.reports import closing, latex, svg, verdicts
from visionlab.reports.latex import escaped
from visionlab.reports.numbers import MISSING
from visionlab.reports.page import Html
from visionlab.reports.statistics import wilson
from visionlab.runs import Run


@pytest.fixture
def three(tmp_path):
    """Two networks, the better of them with two seeds, tested on the same images."""
    runs = []
    for model, seed, skill, lr in (("net_a", 0, 0.85, 0.1), ("net_a", 1, 0.86, 0.1), ("net_b", 0, 0.6, 0.01)):
        runs.append(
            make_run(
                tmp_path / f"set-{model}-{seed}",
                test=600,
                seed=len(runs),
                skill=skill,
                config={"model.name": model, "seed": seed, "optimizer.lr": lr},
                result={
                    "seed": seed,
                    "model": {"name": model, "parameters": 1000 + len(runs), "flops": 5, "trainable_parameters": 10},
                    "reference": {"test/acc": 0.5, "source": "a report"} if model == "net_b" else None,
                },
            )
        )
    return runs


def result(directory):
    return json.loads((directory / "result.json").read_text())


def test_rows_and_csv_agree_with_the_results(three, tmp_path):
    found = compare(*three, out=tmp_path / "out")
    assert found.metric == "test/acc"
    assert [row["run"] for row in found.rows] == ["net_a seed 0", "net_a seed 1", "net_b"]
    for row, directory in zip(found.rows, three, strict=True):
        theirs = result(directory)
        assert row["directory"] == str(directory)
        assert row["parameters"] == theirs["model"]["parameters"]
        assert row["fit_seconds"] == theirs["seconds"]["fit"]
        assert row["reported test/acc"] == (theirs["reference"] or {}).get("test/acc")
        for name, value in theirs["metrics"].items():
            assert row[name] == value
    assert [row["optimizer.lr"] for row in found.rows] == [0.1, 0.1, 0.01]
    assert "data.batch_size" not in found.rows[0], "only settings that differ are columns"
    with found.csv.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["test/acc"]) for row in table] == [row["test/acc"] for row in found.rows]


def test_experiments_are_called_by_their_files(tmp_path):
    runs = []
    for name, lr, seed in (("001_big", 0.1, 0), ("001_big", 0.1, 1), ("001_small", 0.2, 0)):
        runs.append(
            make_run(
                tmp_path / f"{name}-{seed}",
                seed=seed,
                config={"optimizer.lr": lr, "seed": seed},
                result={"seed": seed, "overrides": [f"experiment={name}", f"seed={seed}"]},
            )
        )
    found = compare(*runs, out=tmp_path / "out")
    assert [row["run"] for row in found.rows] == ["001_big seed 0", "001_big seed 1", "001_small"]
    trial = make_run(
        tmp_path / "trial",
        seed=0,
        config={"optimizer.lr": 0.3, "seed": 0},
        result={"seed": 0, "overrides": ["experiment=001_big", "optimizer.lr=0.3"]},
    )
    found = compare(*runs[1:], trial, out=tmp_path / "trials")
    assert {row["run"] for row in found.rows} == {"001_big lr=0.1", "001_big lr=0.3", "001_small"}
    alone = compare(*runs[:2], out=tmp_path / "alone")  # seeds of one experiment: what differs tells them apart
    assert "001_big" not in alone.rows[0]["run"]


def test_the_page_says_who_is_really_better_and_who_is_not(three, tmp_path):
    level = make_run(tmp_path / "level", test=600, seed=3, skill=0.85, config={"model.name": "net_c"})
    page = compare(*three, level, out=tmp_path / "out").page.read_text()
    assert "is really better than net_b" in page
    assert "the difference can be chance" in page


def test_repetitions_are_tested_together_against_another_experiment(three, tmp_path, capsys):
    found = compare(*three, out=tmp_path / "out")
    (test,) = found.tests
    assert (test.a, test.b, test.runs, found.untested) == ("net_a", "net_b", (2, 1), 0)
    mean = fmean(result(directory)["metrics"]["test/acc"] for directory in three[:2])
    assert test.difference == pytest.approx(mean - result(three[2])["metrics"]["test/acc"])
    text = read(found.page).text
    assert "t test of the difference of the means" in text and "McNemar's test" not in text
    assert "given the deviation of the other" in text
    main([*map(str, three), "--out", str(tmp_path / "out")])
    assert "means of 2 and 1 run on 600 images" in " ".join(capsys.readouterr().out.split())
    assert compare(*three[:2], out=tmp_path / "alone").tests == []


def test_a_repeated_experiment_is_as_good_as_its_mean_and_not_as_its_luckiest_run(tmp_path):
    skills = {("lucky", 0): 0.95, ("lucky", 1): 0.6, ("lucky", 2): 0.6, ("even", 0): 0.85, ("even", 1): 0.85}
    runs = [
        make_run(
            tmp_path / f"{name}{seed}", test=600, seed=place, skill=skill,
            config={"model.name": name, "seed": seed}, result={"seed": seed, "model": {"name": name}},
        )
        for place, ((name, seed), skill) in enumerate(skills.items())
    ]  # fmt: skip
    found = compare(*runs, out=tmp_path / "out")
    (test,) = found.tests
    assert (test.a, test.runs, test.better) == ("even", (2, 3), None)
    text, (first, second) = read(found.page).text, [f"{100 * row['test/acc']:.2f}" for row in found.experiments]
    best = text.partition("Best test accuracy")[2].partition("Second test accuracy")
    assert first in best[0] and "even · ± " in best[0] and "mean of 2 runs" in best[0]
    assert second in best[2] and "mean of 3 runs" in best[2]


def test_runs_of_classes_of_one_name_are_two_experiments(tmp_path):
    """Neither is a copy of the other, which the tests would leave out."""
    for place in ("ours", "theirs"):
        make_run(tmp_path / place, config={"loss": {"_target_": f"{place}.Brier"}}, skill=0.6 + 0.3 * (place == "ours"))
    found = compare(tmp_path, out=tmp_path / "out")
    (test,) = found.tests
    assert (test.a, test.b, test.better) == ("loss=ours.Brier", "loss=theirs.Brier", "loss=ours.Brier")
    assert [row["runs"] for row in found.experiments] == [1, 1]
    assert {row["loss"] for row in found.rows} == {"Brier"} and "ours.Brier" not in found.csv.read_text().split(",")


def test_experiments_of_one_name_are_told_apart(tmp_path):
    """Here what they differ in is no column: their files name the model wrongly."""
    runs = [
        make_run(tmp_path / f"{name}{seed}", config={"model.name": name, "seed": seed}, seed=place)
        for place, (name, seed) in enumerate([("x", 0), ("x", 1), ("y", 0), ("y", 1)])
    ]
    found = compare(*runs, out=tmp_path / "out")
    assert [(test.a == test.b, test.runs) for test in found.tests] == [(False, (2, 2))]
    assert len({row["experiment"] for row in found.experiments}) == 2


def test_a_run_that_lies_in_two_folders_is_no_second_seed(three, tmp_path):
    copy = tmp_path / "elsewhere" / three[2].name
    shutil.copytree(three[2], copy)
    (test,) = compare(*three, copy, out=tmp_path / "out").tests
    assert test.runs == (2, 1)


def test_files_of_the_same_names_are_not_taken_for_the_same_images(three, tmp_path):
    """Two cameras number their photographs alike."""
    other = make_run(tmp_path / "other", test=600, seed=3, skill=0.5, config={"model.name": "net_c"})
    for run, digest in ((three[0], "aa"), (three[2], "aa"), (other, "bb")):
        Run(run).update(data=result(run)["data"] | {"contents": {"val": "cc", "test": digest}})
    found = compare(three[0], three[2], other, out=tmp_path / "out")
    assert [{test.a, test.b} for test in found.tests] == [{"net_a", "net_b"}] and found.untested == 1
    Run(other).update(data={"name": "another"})  # as runs of old, which do not say what their images are
    found = compare(three[0], three[2], other, out=tmp_path / "out")
    assert [{test.a, test.b} for test in found.tests] == [{"made_up net_a", "made_up net_b"}] and found.untested == 1


def remarks(*runs, out):
    """What the page says of the data of its runs."""
    text = read(compare(*runs, out=out).page).text
    said = ("different data sets", "divided the images differently", "files of the data set changed")
    return [words for words in said if words in text]


def test_the_page_says_what_differs_between_the_data(three, tmp_path):
    a, _, b = three
    out = tmp_path / "out"
    data = result(a)["data"]
    assert remarks(a, b, out=out) == []
    Run(b).update(data=data | {"fingerprint": "other"})
    assert remarks(a, b, out=out) == ["files of the data set changed"]
    Run(b).update(data=data | {"fingerprint": "other", "split_hash": "other"})
    assert remarks(a, b, out=out) == ["divided the images differently"]
    for run, own in ((a, {}), (b, {"fingerprint": "other", "split_hash": "other"})):  # it trains on fewer images
        Run(run).update(data=data | {"contents": {"val": "aa", "test": "bb"}} | own)
    assert remarks(a, b, out=out) == []
    Run(b).update(data=data | {"name": "elsewhere"})
    assert remarks(a, b, out=out) == ["different data sets"]


def test_one_run_in_two_folders_is_no_repetition_and_has_two_names(tmp_path):
    runs = [make_run(tmp_path / place / "set-net-1234", test=300) for place in ("old", "new")]
    found = compare(*(run.parent for run in runs), out=tmp_path / "out")
    assert len({row["run"] for row in found.rows}) == 2
    assert "repetitions" not in read(found.page).tables


def test_the_folds_of_a_cross_validation_are_tested_as_one(tmp_path, capsys):
    """Each image is validated once: by hand from the answers of all folds, whichever fold is the luckiest."""
    skills = {"wide": (0.9, 0.5, 0.9), "narrow": (0.6, 0.8, 0.6)}
    runs, right = {}, {}
    for name, each in skills.items():
        for fold, skill in enumerate(each):
            config = {"data.folds": 3, "data.fold": fold, "optimizer.momentum": len(name) / 10, "seed": 0}
            run = make_run(tmp_path / f"{name}{fold}", test=0, val=50, skill=skill, seed=fold, config=config)
            text = (run / "predictions.csv").read_text().replace("val/", f"val/of-{fold}-")
            (run / "predictions.csv").write_text(text)
            runs[name, fold] = run
            for row in Run(run).predictions:
                right.setdefault(name, {})[row["image"]] = row["correct"] == "1"
    found = compare(*runs.values(), out=tmp_path / "out")
    (test,) = found.tests
    only = [sum(right[a][image] and not right[b][image] for image in right[a]) for a, b in
            (("wide", "narrow"), ("narrow", "wide"))]  # fmt: skip
    assert (test.images, [test.only_a, test.only_b], found.untested) == (150, only, 0)
    assert (test.a, test.b) == ("momentum=0.4 over 3 folds", "momentum=0.6 over 3 folds")
    assert "answered by the fold that had not learnt from it" in read(found.page).text
    main(["--out", str(tmp_path / "out"), *map(str, runs.values())])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("momentum=0.4  "))
    accuracies = [Run(runs["wide", fold]).result["metrics"]["val/acc"] for fold in range(3)]
    assert line.split()[1:] == [
        "3",
        MISSING,
        f"{100 * fmean(accuracies):.2f}",
        "±",
        f"{100 * stdev(accuracies):.2f}",
        "%",
    ]
    # One that is not complete is on fewer images than the whole ones, and does not keep them from being tested.
    found = compare(*(run for key, run in runs.items() if key != ("narrow", 1)), out=tmp_path / "less")
    assert (found.tests, found.untested) == ([], 2)
    begun = []
    for fold in range(4):  # more folds than three, but not all of its ten
        config = {"data.folds": 10, "data.fold": fold, "optimizer.momentum": 0.1}
        begun.append(make_run(tmp_path / f"begun{fold}", test=0, val=50, skill=1, seed=9, config=config))
        text = (begun[-1] / "predictions.csv").read_text().replace("val/", f"val/of-{fold}-")
        (begun[-1] / "predictions.csv").write_text(text)
    found = compare(*runs.values(), *begun, out=tmp_path / "more")
    assert (found.tests[0].images, len(found.tests), found.untested) == (150, 1, 4)


def test_of_two_copies_of_a_cross_validation_one_is_tested_and_not_the_better_folds(tmp_path):
    def folds(place, momentum, skills):
        for fold, skill in enumerate(skills):
            config = {"data.folds": 2, "data.fold": fold, "optimizer.momentum": momentum, "seed": 0}
            run = make_run(
                tmp_path / place / f"run{fold}-{momentum}", test=0, val=200, skill=skill, seed=fold, config=config
            )
            text = (run / "predictions.csv").read_text().replace("val/", f"val/of-{fold}-")
            (run / "predictions.csv").write_text(text)
            yield run

    runs = [*folds("one", 0.5, (0.9, 0.5)), *folds("other", 0.5, (0.5, 0.9)), *folds("one", 0.9, (0.7, 0.7))]
    found = compare(*runs, out=tmp_path / "out")
    (test,) = found.tests
    assert abs(test.difference) < 0.1 and found.untested == 0
    names = {row["experiment"]: row["val/acc"] for row in found.experiments}
    assert test.difference == pytest.approx(max(names.values()) - min(names.values()))


def test_the_best_of_several_is_said_to_be_lucky(three, tmp_path):
    said = "The best of 2 on the same test images is the best in part by luck"
    assert said in read(compare(*three, out=tmp_path / "out").page).text
    assert "by luck" not in read(compare(three[0], out=tmp_path / "alone").page).text


def test_the_columns_of_data_and_model_have_names_where_the_classes_differ(tmp_path):
    runs = []
    for name in ("digits", "cifar10"):
        runs.append(make_run(tmp_path / name, config={"data._target_": f"package.{name.title()}"}))
        Run(runs[-1]).update(data=result(runs[-1])["data"] | {"name": name})
    assert [row["data"] for row in compare(*runs, out=tmp_path / "out").rows] == ["digits", "cifar10"]


def test_a_folder_of_sweeps_is_opened(tmp_path):
    sweep = make_sweep(tmp_path, trials=3, failed=0)
    found = compare(sweep.parent, out=tmp_path / "out")
    assert len(found.rows) == 3 and "Sweep lr" in found.page.read_text()


def test_a_run_that_is_gone_is_no_answer(three, tmp_path):
    sweep = make_sweep(tmp_path / "trials", trials=3, failed=0)
    content = json.loads((sweep / "sweep.json").read_text())
    shutil.rmtree(sweep / content["runs"][0]["dir"])
    found = compare(sweep, *three, out=tmp_path / "out")
    assert sorted(row["status"] for row in found.rows) == [*["completed"] * 5, "missing"]
    page = read(found.page)
    assert "different data sets" not in page.text
    assert page.tables["failures"][1][2:] == ["missing", "its directory is gone"]


def test_a_sweep_is_tested_by_what_it_sought(tmp_path):
    sweep = make_sweep(tmp_path, trials=3, failed=0)
    for run in tmp_path.glob("*/result.json"):
        Run(run.parent).update(metrics=json.loads(run.read_text())["metrics"] | {"test/acc": 0.5})
    found = compare(sweep)
    assert found.metric == "val/acc" and len(found.tests) == 3
    content = json.loads((sweep / "sweep.json").read_text())
    (sweep / "sweep.json").write_text(json.dumps(content | {"objectives": {"val/loss": "min"}}))
    assert compare(sweep).tests == []


def test_runs_of_which_some_were_not_tested_are_ranked_by_validation(three, tmp_path):
    untested = make_run(tmp_path / "untested", test=0, skill=0.7, config={"model.name": "net_c"})
    assert compare(*three, untested, out=tmp_path / "out").metric == "val/acc"
    failed = make_run(tmp_path / "failed", status="failed", result={"metrics": {}}, config={"model.name": "net_c"})
    assert compare(*three, failed, out=tmp_path / "out").metric == "test/acc", "one that is no answer has no say"


def test_the_table_of_runs_agrees_with_the_results(three, tmp_path):
    head, *body = read(compare(*three, out=tmp_path / "out").page).tables["runs"]
    accuracies = sorted((result(directory)["metrics"]["test/acc"] for directory in three), reverse=True)
    assert [cells[head.index("test/acc")] for cells in body] == [f"{100 * v:.2f} %" for v in accuracies]
    assert body[-1][head.index("reported test/acc")] == "50.00 %"
    for cells, accuracy in zip(body, accuracies, strict=True):
        low, high = map(float, cells[head.index("95 % CI")].split(" to "))
        assert low < 100 * accuracy < high
        assert [low, high] == pytest.approx([100 * end for end in wilson(round(600 * accuracy), 600)], abs=0.05)


def test_the_table_of_tests_agrees_with_the_accuracies(three, tmp_path):
    level = make_run(tmp_path / "level", test=600, seed=3, skill=0.85, config={"model.name": "net_c"})
    found = compare(*three[1:], level, out=tmp_path / "out")
    accuracies = {row["run"]: row["test/acc"] for row in found.rows}
    head, *body = read(found.page).tables["tests"]
    assert head[:7] == ["A", "B", "verdict", "difference", "95 % CI", "only A right", "only B right"]
    assert len(body) == 3 and [cells[2] for cells in body if cells[1] == "net_b"] == ["A is better"] * 2
    for a, b, _, difference, interval, only_a, only_b, *_ in body:
        gap = 100 * (accuracies[a] - accuracies[b])
        low, high = map(float, interval.split(" to "))
        assert difference == f"{gap:+.2f}" and low < gap < high
        assert int(only_a) - int(only_b) == pytest.approx(6 * gap)  # of 600 images


def test_of_more_runs_than_fit_the_others_are_set_against_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "MOST_PAIRS", 2)
    runs = [
        make_run(tmp_path / name, test=600, seed=place, skill=skill, config={"model.name": name})
        for place, (name, skill) in enumerate((("poor", 0.5), ("best", 0.9), ("fair", 0.7)))
    ]
    page = compare(*runs, out=tmp_path / "out").page
    head, *body = read(page).tables["tests"]
    assert head[0] == "A is compared with" and "only the other" in head
    assert [cells[0] for cells in body] == ["tiny_cnn fair", "tiny_cnn poor"]
    assert "A is tiny_cnn best." in page.read_text()


def test_runs_on_other_images_are_not_tested_against_each_other(tmp_path):
    a = make_run(tmp_path / "a", test=300, data_seed=1, config={"model.name": "x"}, skill=0.9)
    b = make_run(tmp_path / "b", test=300, data_seed=2, config={"model.name": "y"}, skill=0.5)
    found = compare(a, b, out=tmp_path / "out")
    assert found.tests == []
    assert "divided the images differently" in found.page.read_text()


def test_runs_that_the_verdict_leaves_out_are_counted(three, tmp_path, capsys):
    main([*map(str, three), "--out", str(tmp_path / "all")])
    assert "not tested" not in capsys.readouterr().out + (tmp_path / "all" / "comparison.html").read_text()
    other = make_run(tmp_path / "other", test=600, data_seed=1, config={"model.name": "c"}, skill=0.7, seed=7)
    unseen = make_run(tmp_path / "unseen", test=600, config={"model.name": "d"}, skill=0.7, seed=8)
    (unseen / "predictions.csv").unlink()
    failed = make_run(tmp_path / "failed", test=600, config={"model.name": "e"}, seed=9, status="failed")
    found = compare(three[0], three[2], other, unseen, failed, out=tmp_path / "out")
    said = "2 runs on other images, or not evaluated on this split, are not tested."
    assert found.untested == 2
    assert said in found.page.read_text()
    main([*map(str, (*three, other)), "--out", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 run on other images, or not evaluated on this split, is not tested." in printed


def test_the_best_is_better_only_than_those_on_the_same_images(tmp_path):
    runs = [
        make_run(tmp_path / name, test=600, seed=i, skill=skill, config={"model.name": name}, data_seed=place)
        for i, (name, skill, place) in enumerate((("a", 0.95, 1), ("b", 0.6, 1), ("c", 0.5, 1), ("d", 0.9, 2)))
    ]
    page = compare(*runs, out=tmp_path / "out").page.read_text()
    assert "a is really better than all others on the same images." in page


def test_repeated_experiments_have_mean_and_deviation(three, tmp_path):
    head, repeated, alone = read(compare(*three, out=tmp_path / "out").page).tables["repetitions"]
    for kind in ("test/acc", "val/acc"):
        first, second = sorted(result(directory)["metrics"][kind] for directory in three[:2])
        at = head.index(f"{kind} mean")
        assert head[at + 1 : at + 4] == ["± deviation", "least", "most"] and first < second
        assert repeated[at : at + 4] == [
            f"{50 * (first + second):.2f} %", f"± {100 * (second - first) / 2**0.5:.2f}",
            f"{100 * first:.2f} %", f"{100 * second:.2f} %",
        ]  # fmt: skip
    assert [repeated[1], alone[1]] == ["2", "1"]


def with_metrics(directory, **metrics):
    """A run with these metrics alone."""
    written = result(directory) | {"metrics": {name.replace("_", "/"): value for name, value in metrics.items()}}
    (directory / "result.json").write_text(json.dumps(written))


def test_an_untested_experiment_is_not_set_against_the_test_of_another(three, tmp_path):
    with_metrics(three[0], test_acc=0.90, val_acc=0.93)
    with_metrics(three[1], test_acc=0.90, val_acc=0.93)
    with_metrics(three[2], val_acc=0.92)
    rows = read(compare(*reversed(three), out=tmp_path / "out").page).tables["repetitions"][1:]
    assert [row[0] for row in rows] == ["net_a", "net_b"]


def test_a_mean_of_some_of_the_runs_says_of_how_many(three, tmp_path):
    with_metrics(three[1], val_acc=0.93)
    head, repeated, alone = read(compare(*three, out=tmp_path / "out").page).tables["repetitions"]
    at = head.index("test/acc mean")
    assert head[at + 1] == "of runs" and [repeated[at + 1], alone[at + 1]] == ["1", "1"]
    assert repeated[1] == "2" and head.count("of runs") == 1, "all have a val/acc"
    assert repeated[at] == f"{100 * result(three[0])['metrics']['test/acc']:.2f} %"


def test_every_chart_is_a_file_of_its_own_with_its_legend(three, tmp_path):
    sweep = make_sweep(tmp_path / "trials")
    compare(sweep, *three, out=tmp_path / "out")
    files = {path.stem: path.read_text() for path in (tmp_path / "out" / "figures").iterdir()}
    curves = {f"{split}_{what}" for split in ("training", "validation") for what in ("accuracy", "loss")}
    costs = {"accuracy_by_parameters", "accuracy_by_flops", "accuracy_by_time"}
    assert set(files) == curves | costs | {"lr_importance", "lr_parallel_coordinates"}
    for name, text in files.items():
        drawing = ElementTree.fromstring(text)
        assert "var(" not in text, "a colour of the style sheet is left"
        words = [element for element in drawing.iter() if element.tag.endswith("text")]
        if name in curves | costs:
            names = [word.text for word in words]
            assert {"net_a", "net_b", "tiny_cnn"} <= set(names)
            *_, width, height = map(float, drawing.get("viewBox").split())
            assert all(0 <= float(word.get("x")) < width and 0 <= float(word.get("y")) < height for word in words)


def test_a_folder_of_runs_and_a_sweep_are_opened_and_nothing_is_counted_twice(tmp_path):
    sweep = make_sweep(tmp_path, trials=6)
    found = compare(tmp_path, sweep, tmp_path / "made_up-tiny_cnn-0000000000", out=tmp_path / "out")
    assert len(found.rows) == 6
    assert "Sweep lr" in found.page.read_text()
    assert [row["status"] for row in found.rows].count("failed") == 1
    assert found.rows[-1]["error"] == "The loss became NaN at step 12"


def test_a_sweep_alone_gets_its_page_in_its_own_directory(tmp_path):
    sweep = make_sweep(tmp_path, trials=6)
    found = compare(sweep)
    assert found.page == sweep / "report.html"
    assert len(found.csv.read_text().splitlines()) == 7
    charts = {path.stem for path in (sweep / "figures").iterdir()}
    assert {"importance", "parallel_coordinates", "validation_accuracy", "accuracy_by_time"} <= charts


def test_the_same_runs_are_written_to_the_same_place(three, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare(*three).page == compare(*reversed(three)).page
    assert compare(*three).page.parts[:2] == ("outputs", "comparisons")


def test_comparisons_of_folders_of_one_name_lie_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = []
    for place in ("here/outputs", "there/outputs", "outputs"):
        make_run(tmp_path / place / "run")
        pages.append(compare(place).page.parent.name)
    monkeypatch.chdir(tmp_path / "here")
    pages.append(compare("../there/outputs").page.parent.name)
    assert pages[:3] == ["here-outputs", "there-outputs", "outputs"] and pages[3].startswith("outputs-")


def test_a_sweep_that_is_named_twice_is_shown_once(tmp_path, monkeypatch):
    sweep, other = make_sweep(tmp_path / "one", trials=3), make_run(tmp_path / "other")
    assert compare(sweep, sweep.parent / "." / sweep.name).page == sweep / "report.html"
    page = compare(sweep.parent, sweep, other, out=tmp_path / "out").page.read_text()
    assert page.count(">Sweep lr</h2>") == 1


def test_repetitions_on_one_folder_may_spell_it_in_two_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [
        make_run(tmp_path / f"run{seed}", seed=seed, config={"seed": seed, "data.root": root}, result={"seed": seed})
        for seed, root in enumerate(("photos", str(tmp_path / "photos")))
    ]
    found = compare(*runs, out="out")
    assert not found.tests and "data.root" not in found.rows[0]
    assert [row["run"].rpartition(" ")[2] for row in found.rows] == ["0", "1"]


def test_the_module_is_the_function(three, tmp_path):
    assert visionlab.compare(*three, out=tmp_path / "out").page.is_file()


def test_what_is_missing_is_named_with_the_nearest_name(three, tmp_path):
    with pytest.raises(RunError, match="did you mean 'set-net_b-0'"):
        compare(tmp_path / "set-net_b-9")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no run lies here"):
        compare(tmp_path / "empty")
    with pytest.raises(RunError, match="nothing to compare"):
        compare()


def test_a_sweep_without_runs_is_an_error_with_a_remedy(tmp_path):
    sweep = make_sweep(tmp_path, trials=1, failed=0, head={"runs": []})
    with pytest.raises(RunError, match="no runs yet") as error:
        compare(sweep)
    assert error.value.where == str(sweep)


def test_the_command_prints_80_columns_and_where_the_page_lies(three, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main([*map(str, three), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    told, places = printed.split(str(tmp_path / "out"), 1)
    assert max(map(len, told.splitlines())) <= 80
    assert "net_b" in told
    assert f"{100 * result(three[2])['metrics']['test/acc']:.2f}" in told
    assert "comparison.csv" in places and "comparison.tex" in places


def test_the_end_of_a_long_name_is_printed_too(tmp_path, capsys):
    runs = [Run(make_run(tmp_path / (letter * 10))) for letter in "ab"]
    for run in runs:
        run.update(model=run.result["model"] | {"name": "a_network_whose_name_is_quite_long_too"})
    main([*(str(run.dir) for run in runs), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out.partition(str(tmp_path))[0]
    folded = " ".join(line[:36].strip() for line in printed.splitlines())
    assert "aaaa" in folded and "bbbb" in folded


def test_an_error_ends_with_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "visionlab.compare", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no such directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_columns_of_numbers_sort_as_numbers_and_the_best_has_a_colour_of_its_own(tmp_path):
    runs = []
    for number in range(14):
        momentum = {} if number == 3 else {"optimizer.momentum": 0.05 * number}
        runs.append(make_run(tmp_path / str(number), seed=number, skill=0.5 + 0.03 * number, config=momentum))
    page = visionlab.compare(*runs, out=tmp_path / "out").page.read_text()
    for value in ("0.05", "0.65"):
        assert f'data-value="{value}"' in page
    assert re.search(r'<i style="border-color:var\(--text\)"></i>best: ', page)


def test_a_table_for_latex_has_a_row_an_experiment(three, tmp_path):
    """Two seeds of one network and one of another; by hand, the deviation of two is their distance by the root of 2."""
    for run in three:
        Run(run).update(seconds={"fit": 90.0, "total": 100.0})
        Run(run).update(model=result(run)["model"] | {"parameters": 1234567})
    found = compare(*three, out=tmp_path / "out")
    accuracy = {split: [result(run)["metrics"][f"{split}/acc"] for run in three] for split in ("test", "val")}

    def cell(split):
        one, other, _ = accuracy[split]
        return f"${50 * (one + other):.2f} \\pm {100 * abs(one - other) / 2**0.5:.2f}$"

    assert found.tex == tmp_path / "out" / "comparison.tex"
    assert found.tex.read_text().splitlines()[2:] == [
        r"\begin{tabular}{lrrrrr}",
        r"\toprule",
        r" & runs & test accuracy (\%) & validation accuracy (\%) & parameters & time (min) \\",
        r"\midrule",
        rf"net\_a & 2 & {cell('test')} & {cell('val')} & 1,234,567 & 1.5 \\",
        rf"net\_b & 1 & ${100 * accuracy['test'][2]:.2f}$ & ${100 * accuracy['val'][2]:.2f}$ & 1,234,567 & 1.5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert escaped("50 %_{a}&~^\\$#") == (r"50 \%\_\{a\}\&\textasciitilde{}\textasciicircum{}\textbackslash{}\$\#")


def test_a_table_for_latex_leaves_out_what_no_run_has(tmp_path):
    run = make_run(tmp_path / "run", test=0)
    Run(run).update(seconds={}, model={"name": "net"})
    text = compare(run, out=tmp_path / "out").tex.read_text()
    assert "runs" not in text and "test" not in text and "pm" not in text
    assert text.splitlines()[5].endswith(r"& -- & -- \\")


def test_a_name_leaves_out_what_is_null(tmp_path):
    runs = []
    for number, fraction in enumerate((None, 0.2, 0.5)):
        config = {"data.test_fraction": fraction, "optimizer.momentum": 0.9 if fraction else None}
        runs.append(make_run(tmp_path / str(number), seed=number, config=config))
    names = [row["run"] for row in compare(*runs, out=tmp_path / "out").rows]
    assert len(set(names)) == 3 and not any("null" in name for name in names)
    assert names[1] == "test_fraction=0.2 momentum=0.9"


def test_the_closing_table_says_how_sure_the_accuracy_is(tmp_path, capsys):
    """Wilson's interval of 7 of 10, as in statistics books: 0.397 to 0.892."""
    run = Run(make_run(tmp_path / "run"))
    (run.dir / "predictions.csv").unlink()  # as of a run that was not evaluated image by image
    few = {"val": 10, "test": 1000}
    run.update(metrics={"val/acc": 0.7, "test/acc": 0.7}, data=run.result["data"] | few, evaluated_images=few)
    closing.finished(run)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "95 %" in line)
    assert line.split("interval")[1].split() == ["39.7", "to", "89.2", "%", "67.1", "to", "72.8", "%"]


def test_brackets_in_names_are_printed_as_they_are(tmp_path, capsys):
    run = Run(make_run(tmp_path / "run"))
    for name in ("fruit [raw]", "a [/b]"):
        run.update(data=run.result["data"] | {"name": name})
        closing.remembered(run, ["the images were those in /data/[new]"])
        printed = capsys.readouterr().out
        assert name in printed and "/data/[new]" in printed and "force=true" in printed


def test_nine_trials_of_one_network_have_more_hues_than_there_are_colours_so_the_best_stands_out(tmp_path):
    runs = []
    for number in range(9):
        config = {"optimizer.momentum": 0.1 * number}
        runs.append(make_run(tmp_path / str(number), seed=number, skill=0.5 + 0.03 * number, config=config))
    found = visionlab.compare(*runs, out=tmp_path / "out")
    assert re.search(r'<i style="border-color:var\(--text\)"></i>best: ', found.page.read_text())
    assert "best: " in (found.figures / "validation_accuracy.svg").read_text()


def test_charts_that_an_earlier_comparison_left_are_gone_and_those_of_other_pages_stay(three, tmp_path):
    found = compare(*three, out=tmp_path / "out")
    made = {file.name for file in found.figures.iterdir()}
    assert "accuracy_by_parameters.svg" in made
    others = {"mine.svg", "shapes.svg"}
    (found.figures / "mine.svg").write_text("<svg/>")
    svg.write_files({"shapes": Html("<svg></svg>")}, tmp_path / "out" / "explore.html")
    for directory in three:
        Run(directory).update(model={"name": "net"})  # without parameters, as runs of old have it
    again = compare(*three, out=tmp_path / "out")
    left = {file.name for file in again.figures.iterdir()}
    assert others < left < made | others


@pytest.mark.parametrize(
    ("weights", "labels"),
    [
        (
            ("null", "outputs/set-net-01/", "runs/best.ckpt"),
            ["weights=null", "weights=set-net-01", "weights=best.ckpt"],
        ),
        (("a/best.ckpt", "b/best.ckpt"), ["weights=a/best.ckpt", "weights=b/best.ckpt"]),
    ],
)
def test_a_path_is_named_by_its_last_part_where_that_tells_it_apart(tmp_path, weights, labels):
    runs = [make_run(tmp_path / str(number), config={"model.weights": weight}) for number, weight in enumerate(weights)]
    assert [row["run"] for row in visionlab.compare(*runs, out=tmp_path / "out").rows] == labels


def test_a_table_for_latex_writes_long_times_as_whole_minutes():
    row = {"experiment": "a", "runs": 1, "test/acc": 0.5, "test/acc sd": None, "val/acc": None, "parameters": 5}
    assert "& 2,160 " in latex.write([row | {"seconds": 36 * 3600}])
    assert "& 5.0 " in latex.write([row | {"seconds": 300}])
    assert "& 0.017 " in latex.write([row | {"seconds": 1}])


def test_a_class_that_is_never_predicted_is_named_at_the_end(tmp_path, capsys):
    run = make_run(tmp_path / "run", classes=("cat", "dog", "eel"), test=60)
    Run(run).update(data=result(run)["data"] | {"classes": ["cat", "dog", "eel", "fox"]})
    closing.finished(Run(run))
    assert "Never predicted" not in capsys.readouterr().out
    (run / "confusion.csv").write_text(
        "target,cat,dog,eel,fox\ncat,20,0,0,0\ndog,9,11,0,0\neel,20,0,0,0\nfox,0,0,0,0\n"
    )
    closing.finished(Run(run))
    said = "Never predicted: eel (1 of 4 classes), though there are images of it."
    assert said in " ".join(capsys.readouterr().out.split())


def test_other_numbers_of_folds_of_the_same_images_are_compared(tmp_path):
    """What a fold holds differs, and all of them together do not."""
    runs = []
    for name, count in (("x", 2), ("y", 3)):
        whole = make_run(tmp_path / "whole" / name, test=0, val=60, skill=0.9 if name == "x" else 0.3, seed=count)
        head, *lines = (whole / "predictions.csv").read_text().splitlines()
        for fold in range(count):
            config = {"model.name": name, "data.folds": count, "data.fold": fold}
            run = make_run(
                tmp_path / f"{name}{fold}", test=0, val=60 // count, config=config, result={"model": {"name": name}}
            )
            (run / "predictions.csv").write_text("\n".join([head, *lines[fold::count]]) + "\n")
            Run(run).update(data=result(run)["data"] | {"contents": {"val": f"{name}{fold}", "test": None}})
            runs.append(run)
    found = compare(*runs, out=tmp_path / "out")
    (test,) = found.tests
    assert (test.images, test.better, found.untested) == (60, "x over 2 folds", 0)
