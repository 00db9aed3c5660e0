"""Whether one run is better than another on the same images, or only luckier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.reading import Predictions
from visionlab.reports.statistics import Z95

LEVEL = 0.05


@dataclass(frozen=True)
class PairedTest:
    """Two runs on the same images.

    `only_a` and `only_b` count the images that only one of them has right; `p` is McNemar's mid-p value, `adjusted` the
    same after Holm's correction for the number of pairs on the page.
    """

    a: str
    b: str
    images: int
    only_a: int
    only_b: int
    p: float
    adjusted: float

    @property
    def difference(self) -> float:
        """Accuracy of A less that of B."""
        return (self.only_a - self.only_b) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the difference (Wald's, for paired shares)."""
        spread = self.only_a + self.only_b - (self.only_a - self.only_b) ** 2 / self.images
        half = Z95 * math.sqrt(max(0.0, spread)) / self.images
        return self.difference - half, self.difference + half

    @property
    def better(self) -> str | None:
        """The run that is better beyond chance, None if neither is."""
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


def each_pair(names: Sequence[str], predicted: Sequence[Predictions], groups: Sequence[int]) -> list[PairedTest]:
    """Test each run against each later one of another group.

    Args:
        names: `[R]`, what the runs are called.
        predicted: `[R]`, their predictions, all on the `same_images`.
        groups: `[R]`, equal for repetitions of one experiment: that one of its seeds is better says nothing.

    Returns:
        A test a pair, corrected for the number of all pairs: which run is best was not known beforehand.
    """
    first, second = np.triu_indices(len(names), 1)
    across = np.asarray(groups)[first] != np.asarray(groups)[second]
    first, second = first[across], second[across]
    if not len(first):
        return []
    # Floats, whose product is many times as fast as that of integers; counts are exact up to 2^24 images.
    right = np.stack([p.correct[np.argsort(p.images, kind="stable")] for p in predicted]).astype(np.float32)  # [R, N]
    only = (right @ (1 - right).T).astype(np.int64)  # [R, R]: right of the row, wrong of the column
    only_a, only_b = only[first, second], only[second, first]
    p = mcnemar(only_a, only_b)
    columns = zip(first, second, only_a, only_b, p, holm(p), strict=True)
    images = right.shape[1]
    return [
        PairedTest(names[a], names[b], images, int(of_a), int(of_b), float(value), float(corrected))
        for a, b, of_a, of_b, value, corrected in columns
    ]
