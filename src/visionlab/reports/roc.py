"""The ROC curve of a network of two classes, the area under it, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.reading import Predictions, Reading, number
from visionlab.reports.statistics import Z95, alike_in_size, codes


@dataclass(frozen=True)
class Scores:
    """Of N images the probability of the positive class, and whether they are of it.

    Attributes:
        of: float `[N]`.
        positive: bool `[N]`.
        groups: `[N]`, equal for images that belong together; None where each stands for itself.
    """

    of: NDArray[np.float64]
    positive: NDArray[np.bool_]
    groups: Sequence[str] | None = None

    @classmethod
    def read(cls, predictions: Predictions, positive: str) -> "Scores":
        """Take them from the predictions of a run of two classes."""
        said = np.array(predictions.predicted) == positive
        scores = np.where(said, predictions.confidence, 1 - predictions.confidence)
        return cls(scores, np.array(predictions.target) == positive, predictions.groups)

    @property
    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The false and the true positive rate at each threshold, from 0 to 1."""
        from sklearn.metrics import roc_curve

        alarms, hits, _ = roc_curve(self.positive, self.of)
        return alarms, hits

    @property
    def shares(self) -> NDArray[np.float64]:
        """Float `[N]`: of each image the share of the other class's images that it stands on the right side of."""
        from scipy.stats import rankdata

        ranks, found = rankdata(self.of), np.empty(len(self.of))
        for own in (self.positive, ~self.positive):
            found[own] = (ranks[own] - rankdata(self.of[own])) / (len(own) - own.sum())
        return np.where(self.positive, found, 1 - found)

    @property
    def parts(self) -> tuple[float, NDArray[np.float64]]:
        """The area under the curve, and float `[N]` what each image adds to it beyond its mean; they sum to 0."""
        shares, parts = self.shares, np.empty(len(self.of))
        area = float(shares[self.positive].mean())
        for own in (self.positive, ~self.positive):
            parts[own] = (shares[own] - area) / own.sum()
        return area, parts

    @property
    def area(self) -> tuple[float, float]:
        """The area under the curve and its standard error: 0 where a class has images of one group only.

        DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
        characteristic curves" (Biometrics, 1988), by ranks; of images in groups Obuchowski, "Nonparametric analysis of
        clustered ROC curve data" (Biometrics, 1997), which is the same where each group has one image.
        """
        area, parts = self.parts
        place = codes(self.groups, len(self.of))
        count, of_class, doubt = int(place.max()) + 1, [], 0.0
        for own in (self.positive, ~self.positive):
            excess = np.bincount(place[own], weights=parts[own], minlength=count)
            have = len(np.unique(place[own]))
            if have < 2:
                return area, 0.0
            doubt += have / (have - 1) * float((excess**2).sum())
            of_class.append(excess)
        doubt += 2 * count / (count - 1) * float(of_class[0] @ of_class[1])  # of groups with images of both classes
        return area, math.sqrt(max(0.0, doubt))

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the area's error: one less than there are groups alike in size of either class."""
        place = codes(self.groups, len(self.of))
        return min(alike_in_size(place[own]) for own in (self.positive, ~self.positive)) - 1

    @property
    def half(self) -> float:
        """Half of the area's 95 % confidence interval, 0 where nothing tells its error."""
        from scipy.stats import t

        _, error = self.area
        # Few groups tell the error less well than so many standard errors suppose.
        return error * (Z95 if self.groups is None else float(t.ppf(0.975, self.freedom))) if error else 0.0

    def threshold(self, sensitivity: float) -> float:
        """Return the largest threshold that finds so large a share of the positive images."""
        return float(np.sort(self.of[self.positive])[::-1][math.ceil(sensitivity * self.positive.sum() - 1e-9) - 1])


def of_two(predictions: Predictions) -> Scores | None:
    """Return the scores of two classes, either for the positive one, as the area is the same.

    None where there are no two classes with images, or an image has no probability.
    """
    names = sorted({*predictions.target, *predictions.predicted})
    known = len(names) == 2 == len(set(predictions.target)) and np.isfinite(predictions.confidence).all()
    return Scores.read(predictions, names[0]) if known else None


def ends(run: Reading, split: str) -> str:
    """Return the 95 % confidence interval of the area that a run has on a split, empty where nothing tells it."""
    scores = of_two(run.predictions(split)) if split in run.splits else None
    if scores is None or not scores.half:
        return ""
    # What was measured when the network ran; the recorded probabilities have six digits, and may be tied.
    area = number((run.result.get("metrics") or {}).get(f"{split}/auc", scores.area[0]))
    return f"{max(0.0, area - scores.half):.3f} to {min(1.0, area + scores.half):.3f}"
