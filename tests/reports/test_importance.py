import numpy as np
import pytest

from visionlab.reports.importance import importance


def grid(function):
    return [
        ({"lr": lr, "model": model, "idle": idle}, function(lr, model))
        for lr in (0.1, 0.01, 0.001)
        for model in ("a", "b")
        for idle in (1, 2)
    ]


def test_the_share_of_an_additive_grid_is_exact():
    # lr varies the metric by 0, 1, 2 and the model by 0, 1: variances 2/3 and 1/4 of 11/12.
    trials = grid(lambda lr, model: {0.1: 0, 0.01: 1, 0.001: 2}[lr] + (model == "b"))
    found = importance(trials, ["lr", "model", "idle"])
    assert list(found.shares) == ["lr", "model", "idle"]
    assert found.shares["lr"] == pytest.approx(8 / 11, abs=0.08)  # less what chance would give
    assert found.shares["idle"] == 0
    assert "means of trials" in found.method


def test_a_random_search_is_judged_by_a_forest():
    pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    trials = []
    for _ in range(40):
        values = {
            "lr": float(10 ** rng.uniform(-4, -1)),
            "idle": float(rng.random()),
            "word": str(rng.choice(["x", "y"])),
        }
        trials.append((values, -abs(np.log10(values["lr"]) + 2)))
    found = importance(trials, ["lr", "idle", "word"])
    assert "fANOVA" in found.method
    assert found.shares["lr"] > 0.8


def test_too_little_to_tell_says_nothing():
    assert importance(grid(lambda lr, model: 0.5), ["lr"]) is None
    assert importance([({"lr": 1}, 0.1), ({"lr": 2}, 0.2), ({"lr": 3}, float("nan"))], ["lr"]) is None
    assert importance(grid(lambda lr, model: lr), ["elsewhere"]) is None
    for count in (7, 12):  # by the means of groups and by a forest
        models = [({"model": f"net_{n}", "lr": n % 2}, 0.1 * n) for n in range(count)]
        assert importance(models, ["model"]) is None, "one trial of each says nothing of chance"
        assert list(importance(models, ["model", "lr"]).shares) == ["lr"]


@pytest.mark.parametrize("count", [4, 5])
def test_numbers_of_one_trial_each_say_nothing_of_chance(count):
    """As a sweep of four learning rates: between groups of one lies all of the variance, of noise too."""
    rng = np.random.default_rng(0)
    assert importance([({"lr": 10.0**-n}, rng.normal()) for n in range(count)], ["lr"]) is None
    assert importance([({"lr": 10.0**-n}, float(n)) for n in range(8)], ["lr"]).shares["lr"] > 0.8


def test_few_trials_come_with_a_warning():
    trials = [({"lr": lr, "units": 2 * n, "dropout": n % 3}, 0.1 * n) for n, lr in enumerate((1, 2, 3, 4, 5, 6))]
    keys = ["lr", "units", "dropout"]
    assert "too few trials" in importance(trials, keys).method
    assert "too few" not in importance(trials * 2, keys).method


@pytest.mark.parametrize("count", [12, 60])
def test_noise_is_explained_by_nothing(count):
    """The shares of fANOVA itself add up to 1 here too: they are of what its forest made of the noise."""
    pytest.importorskip("optuna")
    rng = np.random.default_rng(1)
    trials = [({key: float(rng.random()) for key in ("lr", "decay", "drop")}, rng.normal()) for _ in range(count)]
    found = importance(trials, ["lr", "decay", "drop"])
    assert "fANOVA" in found.method and sum(found.shares.values()) < 0.1


def test_groups_of_few_trials_have_their_chance_taken_off():
    """Epsilon squared by hand: of (16, 1, 17), the sums of squares between, within and in all, 16 less 1 * 1 / 2."""

    def share(first, second):
        trials = [({"word": word}, float(y)) for word, values in (("a", first), ("b", second)) for y in values]
        return importance(trials, ["word"]).shares["word"]

    assert share((1, 2), (5, 6)) == pytest.approx(15.5 / 17)
    assert share((1, 3), (2, 4)) == 0  # of (1, 4, 5): less than chance alone gives
