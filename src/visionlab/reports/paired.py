"""Whether one run, or one repeated experiment, is better than another on the same images, or only luckier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.reading import Predictions
from visionlab.reports.statistics import alike_in_size, codes

LEVEL = 0.05
# Degrees of freedom, at most, where one run is given the deviation of two or three: with Satterthwaite's, up to 9 % of
# equally good networks were told apart in simulations, with these up to 5 %.
LENT = 4


@dataclass(frozen=True)
class PairedTest:
    """Two runs, or two experiments of several runs each, on the same images.

    `only_a` and `only_b` count the images that only one of them has right, of several runs in the mean over all pairs
    of a run of A and one of B. `p` is McNemar's mid-p value of two single runs, else that of a t test, see `each_pair`;
    `adjusted` the same after Holm's correction for the number of pairs on the page. `error` is the standard error of
    the difference, `freedom` its degrees of freedom: infinite for two single runs, whose interval is Wald's. `groups`
    is how many groups of images there are, None where each image stands for itself.
    """

    a: str
    b: str
    images: int
    only_a: float
    only_b: float
    p: float
    adjusted: float
    error: float
    freedom: float = math.inf
    runs: tuple[int, int] = (1, 1)
    groups: int | None = None

    @property
    def difference(self) -> float:
        """Accuracy of A less that of B."""
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


def each_pair(names: Sequence[str], answers: Sequence[Sequence[Predictions]]) -> list[PairedTest]:
    """Test each experiment against each later one.

    Two single runs by McNemar's test, which is about these two trained networks. Where one was repeated, by a t test of
    the difference of the mean accuracies, which is about any networks of these two trainings on any images of this
    kind: its variance has a part from the runs and one from the images, estimated as in a two-way analysis of variance
    with random effects (Searle, Casella and McCulloch, "Variance components", 1992), and never less than either alone.
    An experiment of a single run is given the other's deviation. Its degrees of freedom are Satterthwaite's.

    Where the images come in groups, as those of one patient, the part from the images is that from the groups (Liang
    and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika, 1986), with a degree of freedom
    less than there are groups alike in size; two single runs are then tested with it too, unless McNemar's test is less
    sure.

    Args:
        names: `[E]`, what the experiments are called.
        answers: `[E]`, the predictions of the runs of each, all on the `same_images`; their groups are the first's.

    Returns:
        A test a pair, corrected for the number of all pairs: which is best was not known beforehand.
    """
    from scipy.stats import t

    a, b = np.triu_indices(len(names), 1)
    if not len(a):
        return []
    right = [np.stack([p.correct[np.argsort(p.images, kind="stable")] for p in runs]).astype(float) for runs in answers]
    group = _groups(answers)
    runs = np.array([len(each) for each in right])
    share = np.stack([each.mean(0) for each in right])  # [E, N], of the runs that have an image right
    n = share.shape[1]
    only = share @ (1 - share).T  # [E, E]: images that the row has right and the column wrong
    only_a, only_b = only[a, b], only[b, a]
    difference = (only_a - only_b) / n
    of_images, independent = _of_images(_excess(share, None), a, b) / n**2, float(max(1, n - 1))
    count = None if group is None else int(group.max()) + 1
    if group is not None and count is not None:
        independent = alike_in_size(group) - 1
        by_group = _of_images(_excess(share, group), a, b) * count / max(1, count - 1) / n**2
        of_images = np.maximum(of_images, by_group)

    deviation, rest = np.array([_spread(each, group) for each in right]).T  # of an accuracy over runs; of what is left
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
        if count == 1:  # nothing tells what another group would say
            variance, freedom = np.full(len(a), np.inf), np.ones(len(a))
        p = np.where(
            np.isclose(only_a, only_b, rtol=0, atol=1e-6),
            1.0,
            2 * t.sf(np.abs(difference) / np.sqrt(variance), freedom),
        )
    whole = [np.rint(counts).astype(np.int64) for counts in (only_a, only_b)]
    p = np.where(repeated, p, mcnemar(*whole) if group is None else np.maximum(p, mcnemar(*whole)))
    error = np.sqrt(np.where(by_t, variance, of_images))
    columns = (each.tolist() for each in (a, b, only_a, only_b, p, holm(p), error, freedom))
    return [
        PairedTest(
            names[i], names[j], n, of_a, of_b, value, corrected, spread, degrees, (len(right[i]), len(right[j])), count
        )
        for i, j, of_a, of_b, value, corrected, spread, degrees in zip(*columns, strict=True)
    ]


def _groups(answers: Sequence[Sequence[Predictions]]) -> NDArray[np.int64] | None:
    """Return int64 `[N]`, the group of each image in the order of their names; None where no run has groups."""
    told = next((p for runs in answers for p in runs if p.groups is not None), None)
    return None if told is None else codes(told.groups, len(told))[np.argsort(told.images, kind="stable")]


def _excess(right: NDArray[np.float64], group: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Return float `[E, G]`: of each group of images, what of them is right beyond its share of all that is.

    Args:
        right: float `[E, N]`, 0 to 1.
        group: int64 `[N]`, equal for images that belong together; None where each stands for itself.
    """
    excess = right - right.mean(1, keepdims=True)
    return excess if group is None else np.stack([np.bincount(group, weights=row) for row in excess])


def _of_images(excess: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float `[P]`: of each pair the sum of squares of what the groups `[E, G]` differ in."""
    squares = (excess**2).sum(1)
    found: NDArray[np.float64] = np.maximum(0, squares[a] + squares[b] - 2 * (excess @ excess.T)[a, b])
    return found


def _spread(right: NDArray[np.float64], group: NDArray[np.int64] | None) -> tuple[float, float]:
    """Return the variance of an accuracy over its runs, and of it that of what neither run nor image explains.

    Args:
        right: float `[R, N]`, 1 where a run has an image right; of a single run both are 0.
        group: int64 `[N]`, see `_excess`.
    """
    if len(right) < 2:
        return 0.0, 0.0
    rest = _excess(right, group).var(0, ddof=1).sum() / right.shape[1] ** 2
    return float(right.mean(1).var(ddof=1)), float(rest)
