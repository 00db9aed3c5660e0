"""Whether one run, or one repeated experiment, is better than another on the same images, or only luckier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.reading import Predictions
from visionlab.reports.roc import Scores, of_two
from visionlab.reports.statistics import alike_in_size, codes

LEVEL = 0.05
# Degrees of freedom, at most, where one run is given the deviation of two or three: with Satterthwaite's, up to 9 % of
# equally good networks were told apart in simulations, with these up to 5 %.
LENT = 4


@dataclass(frozen=True)
class PairedTest:
    """Two runs, or two experiments of several runs each, on the same images.

    `only_a` and `only_b` count the images that only one of them has right, of several runs in the mean over all pairs
    of a run of A and one of B; where `areas` are compared, those under the ROC curves, they are None. `p` is McNemar's
    mid-p value of two single runs, of areas DeLong's, else that of a t test, see `each_pair`; `adjusted` the same after
    Holm's correction for the number of pairs on the page. `error` is the standard error of the difference, `freedom`
    its degrees of freedom: infinite for two single runs, whose interval is Wald's. `groups` is how many groups of
    images there are, None where each image stands for itself.
    """

    a: str
    b: str
    images: int
    only_a: float | None
    only_b: float | None
    p: float
    adjusted: float
    error: float
    freedom: float = math.inf
    runs: tuple[int, int] = (1, 1)
    groups: int | None = None
    areas: tuple[float, float] | None = None

    @property
    def difference(self) -> float:
        """Accuracy of A less that of B; where areas are compared, that of A less that of B."""
        if self.areas is not None:
            return self.areas[0] - self.areas[1]
        assert self.only_a is not None and self.only_b is not None
        return (self.only_a - self.only_b) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the difference."""
        from scipy.stats import t

        half = float(t.ppf(0.975, self.freedom)) * self.error
        return max(-1.0, self.difference - half), min(1.0, self.difference + half)

    @property
    def repeated(self) -> bool:
        """Whether either was trained more than once, so that the verdict is about more than two trained networks."""
        return self.runs != (1, 1)

    @property
    def better(self) -> str | None:
        """The one that is better beyond chance, None if neither is."""
        if self.adjusted >= LEVEL:
            return None
        return self.a if self.difference > 0 else self.b


def mcnemar(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return McNemar's mid-p values, two-sided.

    Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than
    exact conditional" (BMC Medical Research Methodology, 2013): the exact binomial test less half the probability of
    what was observed, on either side.

    Args:
        only_a: int64 `[P]`, images that only A has right.
        only_b: int64 `[P]`, images that only B has right.
    """
    from scipy.stats import binom

    total, fewer = only_a + only_b, np.minimum(only_a, only_b)
    p = 2 * binom.cdf(fewer, total, 0.5) - binom.pmf(fewer, total, 0.5)
    return np.where(only_a == only_b, 1.0, p)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p values `[P]` corrected for their number (Holm, 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty_like(p)
    adjusted[order] = raised
    return adjusted


def same_images(a: Predictions, b: Predictions) -> bool:
    """Whether two runs were evaluated on the same images with the same classes, in whatever order."""
    if a.images == b.images:
        return a.target == b.target and len(a) > 0
    return len(a) == len(b) and dict(zip(a.images, a.target, strict=True)) == dict(zip(b.images, b.target, strict=True))


def each_pair(
    names: Sequence[str], answers: Sequence[Sequence[Predictions]], *, by_area: bool = False
) -> list[PairedTest]:
    """Test each experiment against each later one, by accuracy or of two classes by the area under the ROC curve.

    Two single runs by McNemar's test, which is about these two trained networks. Where one was repeated, by a t test of
    the difference of the mean accuracies, which is about any networks of these two trainings on any images of this
    kind: its variance has a part from the runs and one from the images, estimated as in a two-way analysis of variance
    with random effects (Searle, Casella and McCulloch, "Variance components", 1992), and never less than either alone.
    An experiment of a single run is given the other's deviation. Its degrees of freedom are Satterthwaite's.

    Where the images come in groups, as those of one patient, the part from the images is that from the groups (Liang
    and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika, 1986), with a degree of freedom
    less than there are groups alike in size; two single runs are then tested with it too, unless McNemar's test is less
    sure.

    Areas are tested in the same way, with what each image adds to an area in place of whether it is right. Of two
    single runs that is the test of DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves" (Biometrics, 1988).

    Args:
        names: `[E]`, what the experiments are called.
        answers: `[E]`, the predictions of the runs of each, all on the `same_images`; their groups are the first's.
        by_area: Compare areas.

    Raises:
        ValueError: Areas of what has none, see `roc.of_two`.

    Returns:
        A test a pair, corrected for the number of all pairs: which is best was not known beforehand.
    """
    from scipy.stats import t

    a, b = np.triu_indices(len(names), 1)
    if not len(a):
        return []
    grouped = next((p for runs in answers for p in runs if p.groups is not None), answers[0][0])
    group = _groups(grouped)
    told = [np.stack([_of_each_image(p, group, by_area) for p in runs]) for runs in answers]
    runs = np.array([len(each) for each in told])
    mean = np.stack([each.mean(0) for each in told])  # [E, N], of the runs of each
    n, whole = mean.shape[1], mean.mean(1)
    difference = whole[a] - whole[b]
    of_images, independent = _of_images(_excess(mean, None), a, b) / n**2, float(max(1, n - 1))
    count = None if group is None else int(group.max()) + 1
    if group is not None and count is not None:
        independent = alike_in_size(group) - 1
        by_group = _of_images(_excess(mean, group), a, b) * count / max(1, count - 1) / n**2
        of_images = np.maximum(of_images, by_group)
    if by_area:
        independent = _scores(grouped).freedom

    deviation, rest = np.array([_spread(each, group) for each in told]).T  # of a figure over runs; of what is left
    among = [np.where(runs[x] > 1, deviation[x], deviation[y]) / runs[x] for x, y in ((a, b), (b, a))]
    left = [np.where(runs[x] > 1, rest[x], rest[y]) / runs[x] for x, y in ((a, b), (b, a))]
    of_runs = among[0] + among[1]
    # Both parts hold what is left, so it is in their sum once too often.
    variance = np.maximum.reduce([of_images, of_runs, of_images + of_runs - left[0] - left[1]])
    known = (runs[a] > 1) & (runs[b] > 1)
    # The variance of the variance, for Satterthwaite: a deviation that is lent makes one part of both.
    doubt = np.where(
        known,
        among[0] ** 2 / np.maximum(1, runs[a] - 1) + among[1] ** 2 / np.maximum(1, runs[b] - 1),
        of_runs**2 / np.maximum(1, np.maximum(runs[a], runs[b]) - 1),
    ) + of_images**2 / max(independent, 1e-9)
    repeated = (runs[a] > 1) | (runs[b] > 1)
    by_t = repeated | (group is not None)
    with np.errstate(divide="ignore", invalid="ignore"):  # two that agree on every image in all runs
        freedom = np.where(by_t & (doubt > 0), variance**2 / doubt, np.inf)
        lent = np.minimum(freedom, np.maximum(LENT, np.maximum(runs[a], runs[b]) - 1))
        freedom = np.where(repeated & ~known, lent, freedom)
        if independent <= 0:  # a single group, or image of a class: nothing tells what another would say
            variance, freedom = np.full(len(a), np.inf), np.ones(len(a))
        p = np.where(
            np.isclose(n * difference, 0, rtol=0, atol=1e-6),
            1.0,
            2 * t.sf(np.abs(difference) / np.sqrt(variance), freedom),
        )
    error = np.sqrt(np.where(by_t | by_area, variance, of_images))
    only: list[tuple[float | None, float | None]] = [(None, None)] * len(a)
    if not by_area:
        alone = mean @ (1 - mean).T  # [E, E]: images that the row has right and the column wrong
        only = list(zip(alone[a, b].tolist(), alone[b, a].tolist(), strict=True))
        of_two = mcnemar(*(np.rint(counts).astype(np.int64) for counts in (alone[a, b], alone[b, a])))
        p = np.where(repeated, p, of_two if group is None else np.maximum(p, of_two))
    columns = (each.tolist() for each in (a, b, p, holm(p), error, freedom))
    return [
        PairedTest(
            names[i], names[j], n, only_a, only_b, value, corrected, spread, degrees, (len(told[i]), len(told[j])),
            count, (float(whole[i]), float(whole[j])) if by_area else None,
        )
        for (only_a, only_b), i, j, value, corrected, spread, degrees in zip(only, *columns, strict=True)
    ]  # fmt: skip


def _scores(predictions: Predictions) -> Scores:
    scores = of_two(predictions)
    if scores is None:
        raise ValueError("an area needs two classes with images, and probabilities")
    return scores


def _of_each_image(predictions: Predictions, group: NDArray[np.int64] | None, by_area: bool) -> NDArray[np.float64]:
    """Return float `[N]`, in the order of the images' names, whose mean is the accuracy or the area of a run."""
    order = np.argsort(predictions.images, kind="stable")
    if not by_area:
        return predictions.correct[order].astype(float)
    scores = _scores(predictions)
    area, parts = scores.parts
    parts = len(parts) * parts
    if group is None:  # DeLong's estimate divides by one less; of groups, so does the sum over them
        for own in (scores.positive, ~scores.positive):
            parts[own] *= np.sqrt(own.sum() / max(1, own.sum() - 1))
    found: NDArray[np.float64] = (area + parts)[order]
    return found


def _groups(predictions: Predictions) -> NDArray[np.int64] | None:
    """Return int64 `[N]`, the group of each image in the order of their names; None without groups."""
    if predictions.groups is None:
        return None
    return codes(predictions.groups, len(predictions))[np.argsort(predictions.images, kind="stable")]


def _excess(told: NDArray[np.float64], group: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Return float `[E, G]`: of each group of images, what they have beyond their share of the figure.

    Args:
        told: float `[E, N]`, whose mean is the figure.
        group: int64 `[N]`, equal for images that belong together; None where each stands for itself.
    """
    excess = told - told.mean(1, keepdims=True)
    return excess if group is None else np.stack([np.bincount(group, weights=row) for row in excess])


def _of_images(excess: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float `[P]`: of each pair the sum of squares of what the groups `[E, G]` differ in."""
    squares = (excess**2).sum(1)
    found: NDArray[np.float64] = np.maximum(0, squares[a] + squares[b] - 2 * (excess @ excess.T)[a, b])
    return found


def _spread(told: NDArray[np.float64], group: NDArray[np.int64] | None) -> tuple[float, float]:
    """Return the variance of a figure over its runs, and of it that of what neither run nor image explains.

    Args:
        told: float `[R, N]`, whose mean is the figure of a run; of a single run both are 0.
        group: int64 `[N]`, see `_excess`.
    """
    if len(told) < 2:
        return 0.0, 0.0
    rest = _excess(told, group).var(0, ddof=1).sum() / told.shape[1] ** 2
    return float(told.mean(1).var(ddof=1)), float(rest)
