"""What a report says about how sure a number is, from what was right alone (no model, no framework)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of a reliability curve, as in the paper
Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson(correct: float, total: float) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of so many images, or of images that are worth so many.

    The score interval of Wilson, "Probable inference, the law of succession, and statistical inference" (JASA 1927): it
    stays inside 0 to 1 and keeps its coverage for few images and for shares near 1.

    Raises:
        ValueError: There are no images.
    """
    if total <= 0:
        raise ValueError("an interval needs at least one image")
    share, z2 = correct / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def codes(groups: Sequence[str] | None, images: int) -> NDArray[np.int64]:
    """Return int64 `[N]` from 0 on, equal for images of one group; without groups each image is one of its own."""
    if groups is None:
        return np.arange(images)
    return np.unique(np.array(groups), return_inverse=True)[1].astype(np.int64)


def alike_in_size(place: NDArray[np.int64]) -> float:
    """Return how many groups of one size tell as much as these, see `codes`: fewer than there are where some are large.

    Args:
        place: int64 `[N]`, from 0 on.
    """
    return len(place) ** 2 / float((np.bincount(place) ** 2).sum())


def interval(correct: NDArray[np.bool_], groups: Sequence[str] | None = None) -> tuple[float, float]:
    """Return the 95 % confidence interval of the share of images that are right.

    Wilson's; where images come in groups, as those of one patient, with the effective number of images: that of
    independent ones which would tell as much (Korn and Graubard, "Confidence intervals for proportions with small
    expected number of positive counts estimated from survey data", Survey Methodology, 1998; with Wilson's interval:
    Dean and Pagano, "Evaluating confidence interval methods for binomial proportions in clustered surveys", Journal of
    Survey Statistics and Methodology, 2015). Where all are right, or none is, nothing tells how alike the images of a
    group are, and each group counts as one. All of a single group say nothing about others: 0 to 1.

    Args:
        correct: bool `[N]`.
        groups: `[N]`, the group of each image; None where each is one of its own.

    Raises:
        ValueError: There are no images.
    """
    total = len(correct)
    if groups is None or not total:
        return wilson(int(correct.sum()), total)
    from scipy.stats import t

    place = codes(groups, total)
    number, share = int(place.max()) + 1, float(correct.mean())
    if number == 1:
        return 0.0, 1.0
    excess = np.bincount(place, weights=correct - share)  # of each group, what it has right beyond its expectation
    variance = number / (number - 1) * float((excess**2).sum()) / total**2
    if share in (0, 1):
        effective = alike_in_size(place)
    else:
        effective = min(float(total), share * (1 - share) / variance) if variance else float(total)
    # The variance is itself estimated, from few groups.
    effective *= (Z95 / float(t.ppf(0.975, alike_in_size(place) - 1))) ** 2
    return wilson(share * effective, effective) if effective > 0 else (0.0, 1.0)


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall, F1 and support of each class, with the averages that scikit-learn's report prints.

    A quotient without a denominator is 0. `macro` is the plain mean over the classes, `weighted` weighs by support;
    both are (precision, recall, F1).
    """

    precision: NDArray[np.float64]  # [K]
    recall: NDArray[np.float64]  # [K]
    f1: NDArray[np.float64]  # [K]
    support: NDArray[np.int64]  # [K]
    accuracy: float
    macro: tuple[float, float, float]
    weighted: tuple[float, float, float]


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Compute the classification report of a confusion matrix.

    Args:
        confusion: int64 `[K, K]`, a row a true class, a column a predicted class.
    """
    hits = np.diag(confusion).astype(float)
    support, predicted = confusion.sum(1), confusion.sum(0)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
    # Like scikit-learn, a class that is neither in the targets nor in the predictions takes no part in the averages.
    seen = (support + predicted) > 0
    total = int(support.sum())
    triple = (precision, recall, f1)
    macro = [float(values[seen].mean()) if seen.any() else 0.0 for values in triple]
    weighted = [float((values * support).sum() / total) if total else 0.0 for values in triple]
    return ClassScores(
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        accuracy=float(hits.sum() / total) if total else 0.0,
        macro=(macro[0], macro[1], macro[2]),
        weighted=(weighted[0], weighted[1], weighted[2]),
    )


@dataclass(frozen=True)
class Calibration:
    """How far stated confidence and accuracy agree. A bin without images has NaN for both means.

    `ece` is the expected calibration error: the gap between mean confidence and accuracy, weighted by the bins' counts.
    """

    edges: NDArray[np.float64]  # [bins + 1]
    confidence: NDArray[np.float64]  # [bins], mean in the bin
    accuracy: NDArray[np.float64]  # [bins]
    counts: NDArray[np.int64]  # [bins]
    ece: float


def calibration(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS) -> Calibration:
    """Bin predictions by confidence into equal widths (Guo et al., "On calibration of modern neural networks", 2017).

    Args:
        confidence: float `[N]`, the probability of the predicted class; a NaN is left out.
        correct: bool `[N]`.
        bins: Number of bins over 0 to 1, each open below and closed above.
    """
    known = np.isfinite(confidence)
    confidence, correct = confidence[known], correct[known]
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        stated = np.bincount(place, weights=confidence, minlength=bins) / counts
        right = np.bincount(place, weights=correct.astype(float), minlength=bins) / counts
    gap = np.nansum(np.abs(stated - right) * counts) / counts.sum() if counts.sum() else math.nan
    return Calibration(edges=edges, confidence=stated, accuracy=right, counts=counts, ece=float(gap))
