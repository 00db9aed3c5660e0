"""A threshold of one's own: from which probability on an image is taken for one of two classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from visionlab.data.index import canonical
from visionlab.errors import ConfigError, nearest
from visionlab.training.evaluation import Evaluation
from visionlab.training.tally import Tally

Decisive = Mapping[str, float] | str


@dataclass(frozen=True)
class Threshold:
    """From which probability on an image is taken for the positive class; below it is taken for the other.

    Attributes:
        name: The positive class.
        place: Which of the two it is.
        least: The probability, 0 to 1.
    """

    name: str
    place: int
    least: float

    def __str__(self) -> str:
        return f"{self.name} from a probability of {self.least:g} on"

    @classmethod
    def read(cls, given: Decisive | None, classes: Sequence[str]) -> "Threshold | None":
        """Return the threshold that is given; None where none is.

        Args:
            given: `{<class>: <probability>}`, or as a command line has it, `<class>:<probability>`.
            classes: The class names.

        Raises:
            ConfigError: There are not two classes, none of them has that name, or the value is no probability.
        """
        if given is None:
            return None
        if len(classes) != 2:
            what = f"a threshold decides between two classes, and the run has {len(classes)}"
            raise ConfigError(what, where="threshold", remedy="leave it out")
        typed_name, _, typed_value = str(given).rpartition(":")
        pairs: list[tuple[Any, Any]] = [*given.items()] if isinstance(given, Mapping) else [(typed_name, typed_value)]
        name, value = pairs[0] if len(pairs) == 1 else ("", "")
        typed = _as_typed(name)
        if not typed:
            remedy = f"give threshold={classes[0]}:0.3 or threshold={classes[1]}:0.3"
            raise ConfigError(f"{given} is no probability of one of the classes", where="threshold", remedy=remedy)
        cased = str.lower if isinstance(name, bool) else str  # Hydra reads True and true as one
        places = [place for place, known in enumerate(classes) if canonical(cased(known)) == canonical(typed)]
        if not places:
            raise ConfigError(f"there is no class '{typed}'", where="threshold", remedy=nearest(typed, classes))
        try:
            least = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            least = float("nan")
        if not 0 <= least <= 1:
            what, remedy = f"{value} is no probability", f"give a number from 0 to 1, as threshold={typed}:0.3"
            raise ConfigError(what, where="threshold", remedy=remedy)
        return cls(classes[places[0]], places[0], least)

    def decide(self, probability: Tensor) -> Tensor:
        """Return the classes, int64 [B], that images are taken for.

        Args:
            probability: Of the positive class, float [B].
        """
        return torch.where(probability.double() >= self.least, self.place, 1 - self.place)

    def applied(self, evaluation: Evaluation) -> Evaluation:
        """Return what an evaluation comes to with this threshold: loss and auc do not change.

        `sensitivity` is the share of the images of the positive class that are found, `specificity` that of the others
        that are not taken for it; where there are no such images, there is no such figure.
        """
        right = evaluation.label_probability.double()
        probability = torch.where(evaluation.labels == self.place, right, 1 - right)
        # What is small has more digits than what it leaves of 1.
        known = evaluation.predicted == self.place
        probability = torch.where(known, evaluation.confidence.double(), probability)
        predicted = self.decide(probability)
        confidence = torch.where(predicted == self.place, probability, 1 - probability)
        tally = Tally(2)
        tally.update(torch.zeros(()), torch.eye(2)[predicted], evaluation.labels)
        figures = {name: float(value) for name, value in tally.compute().items() if name != "loss"}
        counts = tally.matrix()
        for name, place in (("sensitivity", self.place), ("specificity", 1 - self.place)):
            if counts[place].any():
                figures[name] = float(counts[place, place] / counts[place].sum())
        return replace(
            evaluation,
            metrics=evaluation.metrics | figures,
            confusion=counts.clone(),
            predicted=predicted,
            confidence=confidence.to(evaluation.confidence.dtype),
        )


def _as_typed(name: object) -> str:
    """Return a class's name that Hydra may have read as a number or a truth value."""
    return str(name).lower() if isinstance(name, bool) else str(name).strip()
