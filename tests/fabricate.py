"""Run directories made up of seeded numbers, complete enough for every section of a page."""

import csv
import json
from pathlib import Path

import numpy as np
import yaml

from visionlab.reports import run_page
from visionlab.reports.reading import Reading


def write_csv(path, head, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def written(directory):
    """Write a run's page without the PNG files, whose drawing takes most of the time, and return its path."""
    return run_page.build(Reading(directory), lambda name, chart: None).write(directory / "report.html")


def make_run(
    directory: Path,
    *,
    classes=("cat", "dog", "<script>alert(1)</script>"),
    test=120,
    val=60,
    epochs=8,
    seed=0,
    side=32,
    skill=0.7,
    nan=False,
    status="completed",
    result=None,
    config=None,
    data_seed=7,
    grouped=0,
    auc=False,
):
    """Write a run directory.

    `data_seed` decides the images and their classes, so that runs with the same one were tested on the same images;
    `skill` is the share of images that the run gets right; with `grouped` so many images make a group, which it gets
    right or wrong together; `auc`: whether there are areas under the ROC curve, as of two classes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    world, rng = np.random.default_rng(data_seed), np.random.default_rng(seed)
    classes = list(classes)
    k = len(classes)
    lines, confusion = [], np.zeros((k, k), int)
    main = "test" if test else "val"
    metrics = {}
    for split, n in (("val", val), ("test", test)):
        if not n:
            continue
        targets = world.integers(0, k, n)
        right = rng.random(n) < skill
        if grouped:
            right = right[np.arange(n) // grouped]
        off = rng.integers(1, k, n)
        predicted = np.where(right, targets, (targets + off) % k)
        confidence = np.clip(rng.beta(5, 2, n), 1 / k, 1)
        for i in range(n):
            lines.append(
                [
                    split,
                    f"{split}/{i:04d}.jpg",
                    classes[targets[i]],
                    classes[predicted[i]],
                    f"{confidence[i]:.6f}",
                    int(right[i]),
                    f"{confidence[i] if right[i] else (1 - confidence[i]) / 2:.6f}",
                    *([f"{split}/{i - i % grouped:04d}.jpg"] if grouped else []),
                ]
            )
        if split == main:
            np.add.at(confusion, (targets, predicted), 1)
        metrics |= {
            f"{split}/acc": float(right.mean()),
            f"{split}/loss": 0.8123,
            f"{split}/f1": 0.61,
            f"{split}/balanced_acc": 0.66,
        }
        if k > 5:
            metrics[f"{split}/top5"] = 0.9
        if auc:
            metrics[f"{split}/auc"] = 0.87654
    head = ["split", "image", "target", "predicted", "confidence", "correct", "target_probability"]
    head += ["group"] * bool(grouped)
    write_csv(directory / "predictions.csv", head, lines)
    write_csv(
        directory / "confusion.csv",
        ["target", *classes],
        [[c, *row] for c, row in zip(classes, confusion.tolist(), strict=True)],
    )

    e = np.arange(epochs)
    noise = lambda: rng.normal(0, 0.01, epochs)  # noqa: E731
    columns = {
        "epoch": e,
        "step": (e + 1) * 10,
        "lr": 1e-2 * 0.5**e,
        "train/loss": 1.4 * np.exp(-e / 3) + 0.2 + noise(),
        "train/acc": 0.95 - 0.6 * np.exp(-e / 3) + noise(),
        "val/loss": 1.3 * np.exp(-e / 3) + 0.4 + 0.02 * e + noise(),
        "val/acc": skill - 0.4 * np.exp(-e / 2) + noise(),
        "val/f1": skill - 0.42 * np.exp(-e / 2) + noise(),
        "val/balanced_acc": skill - 0.41 * np.exp(-e / 2) + noise(),
        "seconds": 1.5 + noise(),
        "images_per_second": 3000 + 1000 * noise(),
    }
    if auc:
        columns["val/auc"] = 0.9 - 0.4 * np.exp(-e / 2)
    if nan:
        columns["train/loss"][epochs // 2 :] = np.nan
        columns["val/loss"][epochs // 2 :] = np.nan
    rows = [[repr(float(v[i])) if np.isfinite(v[i]) else "nan" for v in columns.values()] for i in range(epochs)]
    for row in rows:
        row[0], row[1] = str(int(float(row[0]))), str(int(float(row[1])))
    write_csv(directory / "metrics.csv", list(columns), rows)
    best = int(np.argmax(columns["val/acc"]))

    first = [i for i, line in enumerate(lines) if line[0] == main]
    some = rng.permutation(first)[:24].tolist()
    wrong = sorted((i for i in first if not lines[i][5]), key=lambda i: -float(lines[i][4]))[:24]
    yy, xx = np.mgrid[0:side, 0:side]
    pictures = np.stack(
        [
            np.stack(
                [
                    (xx * (3 + i % 5) * 255 / side / 4) % 256,
                    (yy * (2 + i % 7) * 255 / side / 3) % 256,
                    (xx + yy + 9 * i) % 256,
                ],
                -1,
            )
            for i in range(len(some) + len(wrong))
        ]
    ).astype(np.uint8)
    np.savez(directory / "samples.npz", images=pictures, rows=np.array(some + wrong))
    layers = [
        ["0.conv", "Conv2d", "[1, 32, 32, 32]", 896, 896, 1769472],
        ["0.relu", "ReLU", "[1, 32, 32, 32]", 0, 0, 0],
        ["head", "Linear", f"[1, {k}]", 512 * k + k, 512 * k + k, 1024 * k],
    ]
    write_csv(directory / "layers.csv", ["layer", "type", "output_shape", "parameters", "trainable", "flops"], layers)
    whole = {
        "seed": seed,
        "monitor": "val/acc",
        "mode": "max",
        "data": {"name": "made_up", "batch_size": 32},
        "model": {"name": "tiny_cnn", "network": {"dropout": 0.5}},
        "optimizer": {"lr": 0.01},
    }
    for key, value in (config or {}).items():
        node = whole
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    (directory / "config.yaml").write_text(yaml.safe_dump(whole))
    content = {
        "status": status,
        "error": None,
        "command": "python -m visionlab.train data=made_up model=tiny_cnn optimizer.lr=0.01",
        "overrides": ["data=made_up", "model=tiny_cnn", "optimizer.lr=0.01"],
        "seed": seed,
        "started": "2026-11-20T14:03:00+00:00",
        "seconds": {"fit": 12.31, "total": 14.02},
        "config_hash": f"abcdef{seed:04d}",
        "data": {
            "name": "made_up",
            "classes": classes,
            "train": 1000,
            "val": val,
            "test": test,
            "split_hash": f"5b1d{data_seed}",
            "fingerprint": "90ab12",
            "skipped": 0,
        },
        "model": {
            "name": "tiny_cnn",
            "parameters": 896 + 512 * k + k,
            "trainable_parameters": 896 + 512 * k + k,
            "flops": 1769472 + 1024 * k,
        },
        "monitor": "val/acc",
        "mode": "max",
        "best_epoch": best,
        "epochs": epochs,
        "metrics": metrics,
        "evaluated": [s for s, n in (("val", val), ("test", test)) if n],
        "images_per_second": 3012.5,
        "reference": None,
        "environment": {"python": "3.11.2", "torch": "2.15.0", "device": "cpu", "threads": 2, "commit": "0123abc"},
    }
    content |= result or {}
    (directory / "result.json").write_text(json.dumps(content, indent=1))
    return directory


def make_sweep(root: Path, *, trials=12, epochs=6, continuous=False, failed=1, head=None):
    """Write a sweep directory `root`/sweeps/lr and its runs beside it.

    Either a grid or, with `continuous`, a random search; the last `failed` trials failed; `head` replaces keys of
    sweep.json.
    """
    rng = np.random.default_rng(5)
    runs = []
    for i in range(trials):
        lr = float(10 ** rng.uniform(-4, -1)) if continuous else (0.001, 0.01, 0.1)[i % 3]
        optimizer, dropout = (
            ("Adam", "SGD")[i // 3 % 2],
            float(rng.uniform(0, 0.6)) if continuous else (0.0, 0.5)[i // 6 % 2],
        )
        skill = 0.8 - 0.12 * abs(np.log10(lr) + 2) - (0.05 if optimizer == "SGD" else 0) - 0.05 * dropout
        overrides = {"optimizer.lr": lr, "optimizer": optimizer.lower(), "model.network.dropout": dropout}
        directory = root / f"made_up-tiny_cnn-{i:010d}"
        lost = i >= trials - failed
        make_run(
            directory,
            seed=i,
            data_seed=7,
            skill=float(skill),
            test=0,
            val=400,
            epochs=epochs,
            status="failed" if lost else "completed",
            config={
                "seed": 0,
                "optimizer.lr": lr,
                "optimizer._target_": f"torch.optim.{optimizer}",
                "model.network.dropout": dropout,
            },
            result={
                "overrides": ["data=made_up", *(f"{k}={v}" for k, v in overrides.items())],
                "error": "The loss became NaN at step 12" if lost else None,
                "seconds": {"fit": 10 + i, "total": 12 + i},
            },
        )
        runs.append(
            {
                "dir": f"../../{directory.name}",
                "trial": i,
                "overrides": overrides,
                "status": "failed" if lost else "completed",
                "error": "The loss became NaN at step 12" if lost else None,
                "value": None if lost else json.loads((directory / "result.json").read_text())["metrics"]["val/acc"],
            }
        )
    folder = root / "sweeps" / "lr"
    folder.mkdir(parents=True)
    content = {
        "name": "lr",
        "kind": "grid",
        "status": "completed",
        "monitor": "val/acc",
        "mode": "max",
        "objectives": {"val/acc": "max"},
        "swept": list(runs[0]["overrides"]),
        "replicates": {},
        "test": "best",
        "seconds": 61.5,
        "best": None,
        "runs": runs,
    }
    (folder / "sweep.json").write_text(json.dumps(content | (head or {})))
    return folder
