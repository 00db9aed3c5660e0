import csv
import itertools
import json
import math
import re

import pytest

from fabricate import make_run, make_sweep
from reading_html import read
from visionlab.compare import compare
from visionlab.errors import RunError
from visionlab.reports.gather import gather
from visionlab.reports.numbers import MISSING
from visionlab.reports.parallel import parallel
from visionlab.runs import Run
from visionlab.sweeps.ranking import figures, ranking


def runs_of(sweep):
    listed = json.loads((sweep / "sweep.json").read_text())["runs"]
    return [(row, json.loads((sweep / row["dir"] / "result.json").read_text())) for row in listed]


def best_of(sweep):
    done = [(row, result) for row, result in runs_of(sweep) if row["status"] == "completed"]
    return max(done, key=lambda pair: pair[1]["metrics"]["val/acc"])


def test_the_best_trial_and_its_command(tmp_path):
    sweep = make_sweep(tmp_path)
    page = read(compare(sweep).page)
    row, result = best_of(sweep)
    value, below = page.tiles["Best val/acc"]
    assert value == f"{100 * result['metrics']['val/acc']:.2f} %"
    assert below.endswith("n = 400")
    assert f"optimizer.lr={row['overrides']['optimizer.lr']}" in page.text
    assert "python -m visionlab.train data=made_up" in page.text
    assert page.tiles["Trials"] == ("11 of 12", "completed, 1 failed")


def test_every_trial_stands_in_the_table_best_first(tmp_path):
    sweep = make_sweep(tmp_path)
    head, *body = read(compare(sweep).page).tables["trials-lr"]
    assert head[:5] == ["trial", "lr", "optimizer", "dropout", "val/acc"]
    listed = {row["trial"]: (row, result) for row, result in runs_of(sweep)}
    assert sorted(int(cells[0]) for cells in body) == list(range(12))
    for cells in body:
        row, result = listed[int(cells[0])]
        assert float(cells[1]) == row["overrides"]["optimizer.lr"]
        assert cells[-1] == row["status"]
        if row["status"] == "completed":
            assert cells[4] == f"{100 * result['metrics']['val/acc']:.2f} %"
    values = [float(cells[4].split()[0]) for cells in body if cells[-1] == "completed"]
    assert values == sorted(values, reverse=True)


def test_failed_trials_say_why_even_without_a_directory(tmp_path):
    sweep = make_sweep(tmp_path)
    content = json.loads((sweep / "sweep.json").read_text())
    lost = {
        "dir": "../../gone",
        "trial": 12,
        "overrides": {"optimizer.lr": 9},
        "status": "failed",
        "error": "no <such> net",
    }
    (sweep / "sweep.json").write_text(json.dumps(content | {"runs": [*content["runs"], lost]}))
    page = read(compare(sweep).page)
    why = {cells[0]: cells[3] for cells in page.tables["failures"][1:]}
    assert why == {"11": "The loss became NaN at step 12", "12": "no <such> net"}
    assert page.tables["trials-lr"][0][1:4] == ["lr", "optimizer", "dropout"]


def test_trials_that_never_began_leave_the_names_of_the_others_short(tmp_path):
    runs = []
    for trial, model in enumerate(("net_a", "net_b", "net_c", "net_d", "net_e")):
        row = {"dir": f"../../{model}", "trial": trial, "overrides": {"model": model}, "status": "completed"}
        if trial < 3:
            named = {"model": {"name": model}}
            config = {"model.name": model, "data.image_size": 32}
            make_run(tmp_path / model, test=0, seed=trial, skill=0.9 - 0.3 * trial, config=config, result=named)
        else:
            row |= {"status": "failed", "error": "the images are too small"}
        runs.append(row)
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    content = {"name": "s", "objectives": {"val/acc": "max"}, "swept": ["model"], "replicates": {}, "runs": runs}
    (folder / "sweep.json").write_text(json.dumps(content))
    page = read(compare(folder).page)
    assert [cells[:2] for cells in page.tables["tests"][1:]] == [
        ["net_a", "net_b"],
        ["net_a", "net_c"],
        ["net_b", "net_c"],
    ]
    assert [cells[1] for cells in page.tables["failures"][1:]] == ["model=net_d", "model=net_e"]


def test_runs_without_the_figure_that_is_sought_are_failed_trials(tmp_path):
    """The runs have completed, and have no such metric: the name is a typo."""
    sweep = make_sweep(tmp_path, trials=2, failed=0, head={"objectives": {"val/accuracy": "max"}})
    content = json.loads((sweep / "sweep.json").read_text())
    for row in content["runs"]:
        row |= {"status": "failed", "error": "there is no number for val/accuracy", "value": None}
    (sweep / "sweep.json").write_text(json.dumps(content))
    page = read(compare(sweep).page)
    assert page.tiles["Trials"] == ("0 of 2", "completed, 2 failed")
    assert "0 of 2 trials" in page.text
    assert [cells[2:] for cells in page.tables["failures"][1:]] == 2 * [["failed", content["runs"][0]["error"]]]
    content["objectives"] = {"val/acc": "max"}  # they have this one, as if they had been repaired since
    (sweep / "sweep.json").write_text(json.dumps(content))
    assert read(compare(sweep).page).tiles["Trials"][0] == "2 of 2"


def test_importance_and_coordinates(tmp_path):
    sweep = make_sweep(tmp_path)
    page = read(compare(sweep).page)
    assert "Importance for val/acc" in page.text
    lines = [found for tag, found in page.tags if found.get("class") == "trial"]
    assert len(lines) == 11
    assert all(found["data-at"].count(",") == 3 for found in lines)


def test_repetitions_of_a_trial_are_ranked_by_their_mean(tmp_path):
    runs = []
    for trial, (lr, skills) in enumerate({0.1: (0.9, 0.5), 0.01: (0.75, 0.8)}.items()):
        for seed, skill in enumerate(skills):
            spent = {"seconds": {"fit": 0.05 + 0.1 * seed, "total": 1}}
            directory = make_run(
                tmp_path / f"run-{trial}-{seed}", test=0, val=300, seed=10 * trial + seed, skill=skill, result=spent
            )
            overrides = {"optimizer.lr": lr, "seed": seed}
            runs.append(
                {"dir": f"../../{directory.name}", "trial": trial, "overrides": overrides, "status": "completed"}
            )
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    content = {
        "name": "s",
        "objectives": {"val/acc": "max", "seconds": "min"},
        "swept": ["optimizer.lr"],
        "replicates": {"seed": [0, 1]},
        "runs": runs,
    }
    (folder / "sweep.json").write_text(json.dumps(content))
    page = read(compare(folder).page)
    head, first, _ = page.tables["trials-s"]
    shown = dict(zip(head, first, strict=True))
    values = [result["metrics"]["val/acc"] for row, result in runs_of(folder) if row["trial"] == 1]
    assert shown["lr"] == "0.01"
    assert shown["val/acc"] == f"{100 * sum(values) / 2:.2f} %"
    assert shown["seconds"] == "100 ms"  # of 50 and 150
    assert shown["runs"] == "2"
    spread = abs(values[0] - values[1]) / 2**0.5
    assert shown["± deviation"] == f"± {100 * spread:.2f}"
    assert page.tiles["Best val/acc"][1] == f"± {100 * spread:.2f}, mean of 2 runs"
    single = [cells[1:4] for cells in page.tables["repetitions"][1:]]
    assert [cells[:2] for cells in single] == [["0.1", "0"], ["0.1", "1"], ["0.01", "0"], ["0.01", "1"]]
    assert [cells[2] for cells in single[2:]] == [f"{100 * value:.2f} %" for value in values]
    (folder / "sweep.json").write_text(json.dumps({**content, "runs": runs[::-1]}))  # as they ended
    page = read(compare(folder).page)
    assert [cells[1:4] for cells in page.tables["repetitions"][1:]] == single
    tested = {}
    for place, (row, _) in enumerate(runs_of(folder)):
        run = Run(folder / row["dir"])
        run.update(metrics=run.result["metrics"] | {"test/acc": 0.5 + 0.1 * place})
        tested.setdefault(row["trial"], []).append(0.5 + 0.1 * place)
    (folder / "sweep.json").write_text(json.dumps({**content, "test": "all"}))
    tile = read(compare(folder).page).tiles["Its test accuracy"]
    assert tile == (f"{50 * sum(tested[1]):.2f} %", "± 7.07, mean of 2 runs")  # 0.1 by the root of 2


def test_a_cross_validation_lists_the_labels_to_check(tmp_path):
    """Of the best trial alone; each image was validated by one fold."""
    runs, expected = [], {}
    for trial, skill in enumerate((0.6, 0.9)):
        for fold in (0, 1):
            # The best is tested too; of the test split each image would stand there once a fold.
            made = make_run(tmp_path / f"run-{trial}-{fold}", test=40, val=30, seed=10 * trial + fold, skill=skill)
            text = (made / "predictions.csv").read_text().replace("val/", f"val/of-{fold}-")
            (made / "predictions.csv").write_text(text)
            wrong = {
                row["image"]: row for row in Run(made).predictions if row["correct"] == "0" and row["split"] == "val"
            }
            expected.setdefault(trial, {}).update(wrong)
            overrides = {"model": f"net_{trial}", "data.fold": fold}
            runs.append({"dir": f"../../{made.name}", "trial": trial, "overrides": overrides, "status": "completed"})
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    content = {"name": "s", "objectives": {"val/acc": "max"}, "swept": ["model"], "replicates": {"data.fold": [0, 1]}}
    (folder / "sweep.json").write_text(json.dumps({**content, "runs": runs}))
    page = read(compare(folder).page)
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == set(expected[1]) and len(rows) > 1
    shares = [float(row["label_probability"]) for row in rows]
    assert shares == sorted(shares)
    its = expected[1][rows[0]["image"]]
    assert (rows[0]["label"], rows[0]["predicted"]) == (its["target"], its["predicted"])
    assert shares[0] == float(its["target_probability"]) and rows[0]["confidence"] == str(float(its["confidence"]))
    assert [cells[0] for cells in page.tables["labels"][1:]] == [row["image"] for row in rows]
    assert f"Each of the 60 images was answered by the fold that had not learnt from it, and {len(rows)} " in page.text
    assert "To train its runs alone:" in page.text
    for row in runs:  # where all are right there is none to check
        text = re.sub(
            r",0,([0-9.]+)$", r",1,\1", (folder / row["dir"] / "predictions.csv").read_text(), flags=re.MULTILINE
        )
        lines = (line.split(",") for line in text.splitlines())
        made = [
            ",".join([*cells[:3], cells[2], *cells[4:]]) if cells[0] == "val" else ",".join(cells) for cells in lines
        ]
        (folder / row["dir"] / "predictions.csv").write_text("\n".join(made) + "\n")
    assert "labels" not in read(compare(folder).page).tables
    assert (folder / "labels.csv").read_text().splitlines() == ["image,label,predicted,label_probability,confidence"]
    (folder / runs[0]["dir"] / "predictions.csv").unlink()
    (folder / runs[2]["dir"] / "predictions.csv").unlink()
    assert "labels" not in read(compare(folder).page).tables, "nor is there a traceback"
    (folder / "sweep.json").write_text(json.dumps({**content, "replicates": {"seed": [0, 1]}, "runs": runs}))
    assert "labels" not in read(compare(folder).page).tables, "of other seeds on the same images"


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_repetition_that_went_beyond_all_numbers_is_no_result(tmp_path, loss, status):
    runs = []
    for seed, value in enumerate((0.5, loss)):
        made = make_run(tmp_path / f"run-{seed}", test=0, seed=seed, result={"metrics": {"val/loss": value}})
        overrides = {"optimizer.lr": 9, "seed": seed}
        runs.append({"dir": f"../../{made.name}", "trial": 0, "overrides": overrides, "status": status, "value": value})
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    content = {
        "name": "s",
        "objectives": {"val/loss": "min"},
        "swept": ["optimizer.lr"],
        "replicates": {"seed": [0, 1]},
    }
    (folder / "sweep.json").write_text(json.dumps({**content, "runs": runs}))
    page = read(compare(folder).page)
    assert "Best val/loss" not in page.tiles
    assert [cells[-1] for cells in page.tables["repetitions"][1:]] == ["completed", status]


def test_the_test_split_is_shown_for_the_winner_only(tmp_path):
    """A trial that was tested earlier, on its own, must not tempt anyone to choose by it."""
    sweep = make_sweep(tmp_path)
    winner = best_of(sweep)[0]
    for row, result in runs_of(sweep):
        result["metrics"]["test/acc"] = 0.5432
        (sweep / row["dir"] / "result.json").write_text(json.dumps(result))
    assert "54.32 %" not in read(compare(sweep).page).text
    content = json.loads((sweep / "sweep.json").read_text())
    content["tested"] = [winner["dir"].rpartition("/")[2]]
    (sweep / "sweep.json").write_text(json.dumps(content))
    page = read(compare(sweep).page)
    assert page.tiles["Its test accuracy"][0] == "54.32 %"
    shown = [cells for cells in page.tables["trials-lr"][1:] if "54.32 %" in cells]
    assert [int(cells[0]) for cells in shown] == [winner["trial"]]


def test_several_objectives_have_a_front(tmp_path):
    sweep = make_sweep(tmp_path, failed=0, head={"objectives": {"val/acc": "max", "seconds": "min"}})
    (_, fastest), (second, result) = runs_of(sweep)[:2]
    result["metrics"]["val/acc"] = fastest["metrics"]["val/acc"]  # as good, and slower
    (sweep / second["dir"] / "result.json").write_text(json.dumps(result))
    page = read(compare(sweep).page)
    figures = {row["trial"]: (r["metrics"]["val/acc"], -r["seconds"]["fit"]) for row, r in runs_of(sweep)}
    best = {
        trial
        for trial, mine in figures.items()
        if not any(
            all(a >= b for a, b in zip(other, mine, strict=True)) and other != mine for other in figures.values()
        )
    }
    assert {int(cells[0]) for cells in page.tables["front-lr"][1:]} == best
    assert len(best) > 1


def test_60_trials_stay_small(large_sweep):
    path = compare(large_sweep).page
    assert path.stat().st_size < 5e6
    assert len(read(path).tables["trials-lr"]) == 61


def test_a_torn_list_of_runs_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "sweep.json").write_text('{"runs": [')
    with pytest.raises(RunError, match="same sweep command"):
        compare(tmp_path)


def test_many_words_on_an_axis_each_have_a_line():
    """34 architectures: their names neither overlap nor are cut off."""
    names = [f"architecture_{i:02d}" for i in range(34)]
    drawing = parallel(
        [(name, {"model": name}, i / 34) for i, name in enumerate(names)], {"model": "model"}, metric="a", text=str
    )
    places = dict(re.findall(r'y="([\d.]+)"[^>]*>(architecture_\d\d)<', drawing))
    assert sorted(places.values()) == names
    heights = sorted(map(float, places))
    assert min(b - a for a, b in itertools.pairwise(heights)) > 12
    left = min(float(x) for x in re.findall(r'x="([\d.]+)"[^>]*text-anchor="end"', drawing))
    assert left > 6 * len(names[0]), "the names begin outside of the picture"


def test_lists_are_words_on_an_axis():
    """The report on CIFAR-10 searches filters=[32,64] against filters=[64,128]."""
    trials = [("a", [32, 64], 0.4), ("b", [64, 128], 0.5), ("c", [32, 64], 0.3)]
    drawing = parallel(
        [(name, {"filters": value}, score) for name, value, score in trials],
        {"filters": "filters"},
        metric="a",
        text=str,
    )
    assert drawing.count(">[32, 64]<") == drawing.count(">[64, 128]<") == 1


def test_what_a_trial_has_no_value_for_is_not_null_on_an_axis():
    """The momentum of SGD beside Adam, which has none; a weight decay of null is a value."""
    trials = [("a", {"momentum": 0.9}, 0.4), ("b", {"momentum": 0.95}, 0.5), ("c", {}, 0.3), ("d", {"momentum": 10}, 0)]
    drawing = parallel(trials, {"momentum": "momentum"}, metric="a", text=str)
    labels = re.findall(r'text-anchor="end"[^>]*>([^<]*)<', drawing)
    assert labels == ["0.9", "0.95", "10", MISSING]
    assert "null" not in drawing
    drawing = parallel([*trials, ("e", {"momentum": None}, 0.2)], {"momentum": "momentum"}, metric="a", text=str)
    assert ">null<" in drawing


@pytest.mark.parametrize(
    ("head", "badge", "best"),
    [
        ({}, "3 of 3 trials", "The best of all"),
        ({"status": "completed", "total": 3}, "3 of 3 trials", "The best of all"),
        ({"status": "completed", "total": 5}, "3 of 3 trials", "The best of all"),  # two were of the same settings
        ({"status": "interrupted", "total": 8}, "3 of 8 trials", "The best so far"),
        ({"status": "interrupted", "total": None}, "3 of 3 trials", "The best so far"),
    ],
)
def test_a_sweep_that_was_stopped_does_not_look_complete(tmp_path, head, badge, best):
    path = compare(make_sweep(tmp_path, trials=3, failed=0, head=head)).page
    assert badge in read(path).text and best in read(path).text
    assert ("badge good" in path.read_text()) == (best == "The best of all")


def test_a_trial_that_the_sweep_dropped_is_done_but_not_its_best(tmp_path):
    """Trained to its end alone since, it was chosen by nobody and is not tested."""
    sweep = make_sweep(tmp_path, trials=3, failed=0)
    best = gather([sweep]).sweeps[0].best
    content = json.loads((sweep / "sweep.json").read_text())
    content["runs"][best.place]["status"] = "pruned"
    (sweep / "sweep.json").write_text(json.dumps(content))
    assert gather([sweep]).sweeps[0].best.place != best.place
    path = compare(sweep).page
    assert "3 of 3 trials" in read(path).text and "badge good" in path.read_text()
    assert "2 of 3" in read(path).text and "1 pruned" in read(path).text


def test_a_trial_without_a_run_counts_as_failed(tmp_path):
    refused = {"trial": 3, "overrides": {"optimizer.lr": 9}, "error": "not <possible>"}
    page = read(compare(make_sweep(tmp_path, trials=3, failed=0, head={"refused": [refused]})).page)
    assert "3 of 4 trials" in page.text
    assert page.tiles["Trials"] == ("3 of 4", "completed, 1 failed")
    assert page.tables["failures"][1:] == [["3", "optimizer.lr=9", "failed", "not <possible>"]]


def test_a_run_that_was_completed_alone_since_counts_for_the_page_and_for_the_sweep(tmp_path):
    sweep = make_sweep(tmp_path, trials=4, failed=0)
    content = json.loads((sweep / "sweep.json").read_text())
    best = max(content["runs"], key=lambda row: row["value"])
    best |= {"status": "interrupted", "value": None}
    (sweep / "sweep.json").write_text(json.dumps(content))
    shown = gather([sweep]).sweeps[0].best
    first = ranking(content["runs"], sweep, content["objectives"], {}, ())[0]
    assert {shown.place, first.trial} == {best["trial"]} and shown.value == first.means[0]


def test_no_number_is_no_figure():
    result = {"metrics": {"val/acc": 0.5, "val/loss": float("nan")}, "model": {"parameters": 7}}
    assert figures(result, ["parameters", "val/acc"]) == (7, 0.5)
    assert figures(result, ["val/acc", "val/loss"]) is figures(result, ["val/f1"]) is None


def test_a_trial_whose_process_was_killed_is_not_running(tmp_path):
    sweep = make_sweep(tmp_path, trials=4, failed=0)
    content = json.loads((sweep / "sweep.json").read_text())
    last = content["runs"][-1]
    last |= {"status": "interrupted", "error": "its process was killed (SIGKILL)"}
    (sweep / "sweep.json").write_text(json.dumps(content))
    result = sweep / last["dir"] / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"status": "running"}))
    page = read(compare(sweep).page)
    assert page.tables["failures"][1][2:] == ["interrupted", "its process was killed (SIGKILL)"]


def test_a_parameter_that_a_trial_does_not_have_is_not_null(tmp_path):
    sweep = make_sweep(tmp_path, trials=3, failed=0)
    content = json.loads((sweep / "sweep.json").read_text())
    content["swept"] = [*content["swept"], "optimizer.momentum"]
    content["runs"][0]["overrides"]["optimizer.momentum"] = 0.9
    (sweep / "sweep.json").write_text(json.dumps(content))
    path = compare(sweep).page
    head, *body = read(path).tables["trials-lr"]
    assert sorted(row[head.index("momentum")] for row in body) == ["0.9", MISSING, MISSING]
    assert 'data-value="0.9"' in path.read_text(), "one that lacks it made numbers into words, which sort otherwise"
