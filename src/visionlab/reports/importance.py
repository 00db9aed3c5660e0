"""How much each hyperparameter of a sweep mattered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from visionlab.reports.svg import decades

FEWEST = 10  # trials that a forest is fitted to
FEWEST_EACH = 3  # trials for each hyperparameter, below which one is easily taken for another


@dataclass(frozen=True)
class Importance:
    """Shares of the variation of the monitored metric, by hyperparameter, and how they were found."""

    shares: dict[str, float]
    method: str


def importance(trials: Sequence[tuple[Mapping[str, Any], float]], keys: Sequence[str]) -> Importance | None:
    """Estimate what share of the variation of a metric each hyperparameter explains.

    With values from a continuum and optuna installed by fANOVA, else by the means of groups.

    Args:
        trials: Overrides and the metric of each completed trial; a NaN is left out.
        keys: The hyperparameters.

    Returns:
        None with fewer than four trials or where nothing varies; nor is there a share of what has fewer than two trials
        a value on average, as of one architecture a trial: it would be 100 % of noise too.
    """
    known = [(dict(values), metric) for values, metric in trials if math.isfinite(metric)]
    varied = [key for key in keys if _varied([values.get(key) for values, _ in known])]
    if len(known) < 4 or not varied or len({metric for _, metric in known}) < 2:
        return None
    continuous = any(len({str(values.get(key)) for values, _ in known}) > len(known) / 2 for key in varied)
    if continuous and len(known) >= FEWEST and find_spec("optuna"):
        found = _fanova(known, varied)
    else:
        found = _group_means(known, varied)
    if len(known) < FEWEST_EACH * len(varied):
        return Importance(found.shares, f"{found.method}; too few trials to tell the hyperparameters apart")
    return found


def _varied(values: list[Any]) -> bool:
    kinds = len(set(_binned(values)))
    return kinds > 1 and 2 * kinds <= len(values)


def _group_means(trials: list[tuple[dict[str, Any], float]], keys: list[str]) -> Importance:
    """The variance between the means of the trials with the same value, corrected for chance (epsilon squared)."""
    y = np.array([metric for _, metric in trials])
    total = float(((y - y.mean()) ** 2).sum())
    shares = {}
    for key in keys:
        values = _binned([settings.get(key) for settings, _ in trials])
        groups = [y[[v == value for v in values]] for value in dict.fromkeys(values)]
        between = sum(len(g) * float((g.mean() - y.mean()) ** 2) for g in groups)
        rest = len(y) - len(groups)
        chance = (len(groups) - 1) * (total - between) / rest if rest > 0 else 0.0
        shares[key] = max(0.0, (between - chance) / total)
    return Importance(
        _sorted(shares), "share of the variance that lies between the means of trials with the same value, less chance"
    )


def _binned(values: list[Any]) -> list[Any]:
    """Six or more numbers of which nearly each is another are gathered into groups of equal size, four at most."""
    many = len(set(map(str, values))) > len(values) // 2 and len(values) >= 6
    if not many or not all(_is_number(v) for v in values):
        return [str(v) for v in values]
    groups = min(4, len(values) // 2)
    edges = np.quantile([float(v) for v in values], np.arange(1, groups) / groups)
    return [int(place) for place in np.searchsorted(edges, [float(v) for v in values])]


def _fanova(trials: list[tuple[dict[str, Any], float]], keys: list[str]) -> Importance:
    """Functional ANOVA of a random forest (Hutter, Hoos and Leyton-Brown, ICML 2014), by optuna."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    space: dict[str, BaseDistribution] = {}
    for key in keys:
        values = [settings.get(key) for settings, _ in trials]
        if all(_is_number(v) for v in values):
            numbers = [float(str(v)) for v in values]
            space[key] = FloatDistribution(min(numbers), max(numbers), log=decades(numbers))
        else:
            space[key] = CategoricalDistribution(sorted(set(map(str, values))))
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces each study
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(said)
    for settings, metric in trials:
        given = {
            k: float(settings[k]) if isinstance(d, FloatDistribution) else str(settings.get(k))
            for k, d in space.items()
        }
        study.add_trial(optuna.trial.create_trial(params=given, distributions=space, value=metric))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    explained = _explained(trials, space)
    return Importance(
        _sorted({key: explained * float(share) for key, share in found.items()}),
        "fANOVA of a random forest, by optuna, times the share of the variation that a forest foresees in trials that "
        "it was not fitted to",
    )


def _explained(trials: list[tuple[dict[str, Any], float]], space: Mapping[str, Any]) -> float:
    """Return R squared of a random forest out of its bags, 0 to 1: fANOVA's own shares add up to 1 of noise too."""
    from optuna.distributions import FloatDistribution
    from sklearn.ensemble import RandomForestRegressor

    columns = []
    for key, kind in space.items():
        values = [settings.get(key) for settings, _ in trials]
        if isinstance(kind, FloatDistribution):
            numbers = np.array([float(str(value)) for value in values])
            columns.append(np.log(numbers) if kind.log else numbers)
        else:
            columns += [np.array([str(value) == choice for value in values], float) for choice in kind.choices]
    forest = RandomForestRegressor(200, oob_score=True, random_state=0)
    forest.fit(np.stack(columns, 1), [metric for _, metric in trials])
    return max(0.0, float(forest.oob_score_))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sorted(shares: dict[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
