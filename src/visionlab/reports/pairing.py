"""Which runs are set against which: the repetitions of an experiment, and the folds of a cross-validation, as one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from visionlab.reports.comparing import completed, ranked
from visionlab.reports.gather import Entry
from visionlab.reports.paired import PairedTest, each_pair, same_images
from visionlab.reports.reading import Predictions, pooled
from visionlab.reports.roc import of_two
from visionlab.reports.settings import repeats

FOLDS = " folds"  # ends the name of a cross-validation


def paired_tests(entries: Sequence[Entry], metric: str) -> tuple[list[PairedTest], int]:
    """Test the experiments pairwise on the split of the metric, the best first; only on the same images as the best.

    They are tested by accuracy, or by the area under the ROC curve if that is the metric. The runs of an experiment
    that was repeated with other seeds are tested together, and so are the folds of a cross-validation: each image as it
    was answered by the network that had not learnt from it. One that lacks folds is left out where another has all of
    its own, as its images are fewer. A cross-validation has no area of its own: what one of its networks calls 0.7 is
    not what another does.

    Returns:
        The tests, and how many completed runs have no part in them.
    """
    split = metric.partition("/")[0]
    told = {entry.key for entry in ranked(entries, metric) if split in entry.run.splits}
    copies: dict[tuple[int, tuple[str, ...]], list[Entry]] = {}  # one run in several folders is one
    for entry in entries:
        if entry.key in told:
            copies.setdefault((entry.group, entry.repetition), []).append(entry)
    by_area = metric.endswith("/auc")
    known = _candidates([first for first, *_ in copies.values()], split, by_area=by_area)
    most = max((one.answers[0].folds for one in known), default=None)
    first = next((one.answers[0] for one in known if one.answers[0].folds == most), None)
    alike = [one for one in known if first and _same(first, one.answers[0], split)]
    members = (entry for one in alike for answer in one.answers for entry in answer.entries)
    tested = sum(len(copies[entry.group, entry.repetition]) for entry in members)
    answers = [[answer.predicted for answer in one.answers] for one in alike]
    found = each_pair([one.name for one in alike], answers, by_area=by_area)
    return found, len(completed(entries)) - tested


@dataclass(frozen=True)
class _Answer:
    """What a run, or the folds of a cross-validation together, said of a split."""

    entries: list[Entry]
    predicted: Predictions

    @property
    def folds(self) -> tuple[float, int]:
        """The share of its folds that are there, and their number; a run without folds is whole."""
        asked = self.entries[0].settings.get("data.folds") if self.predicted.split == "val" else None
        return (len(self.entries) / asked if isinstance(asked, int) and asked else 1.0), len(self.entries)


@dataclass(frozen=True)
class _Candidate:
    """An experiment: its answers to the same images."""

    answers: list[_Answer]

    @property
    def name(self) -> str:
        first = self.answers[0].entries
        name = first[0].experiment if len(self.answers) > 1 else first[0].label
        fold = f" fold {first[0].settings.get('data.fold')}"
        return name if len(first) == 1 else f"{name.replace(fold, '')} over {len(first)}{FOLDS}"

    def mean(self, by_area: bool) -> float:
        """Return the mean of its accuracies, or of its areas."""
        told = [one.predicted for one in self.answers]
        return fmean(_area(each) if by_area else float(each.correct.mean()) for each in told)


def _candidates(entries: Sequence[Entry], split: str, *, by_area: bool) -> list[_Candidate]:
    """Put the runs of each experiment on the same images together; the best candidate first."""
    found = dict[int, list[_Candidate]]()
    for answer in _answers(entries, split):
        if by_area and (len(answer.entries) > 1 or math.isnan(_area(answer.predicted))):
            continue
        of_group = found.setdefault(answer.entries[0].group, [])
        alike = next((one for one in of_group if _same(one.answers[0], answer, split)), None)
        if alike:
            alike.answers.append(answer)
        else:
            of_group.append(_Candidate([answer]))
    return sorted((one for of_group in found.values() for one in of_group), key=lambda one: -one.mean(by_area))


def _area(predictions: Predictions) -> float:
    scores = of_two(predictions)
    return math.nan if scores is None else scores.area[0]


def _answers(entries: Sequence[Entry], split: str) -> list[_Answer]:
    """The answers of single runs, and of the folds of each cross-validation as one."""
    found, folds = list[_Answer](), dict[tuple[Any, ...], list[Entry]]()
    for entry in entries:
        count, fold = entry.settings.get("data.folds"), entry.settings.get("data.fold")
        if split == "val" and isinstance(count, int) and isinstance(fold, int):
            others = (value for key, value in entry.settings.items() if repeats(key) and key != "data.fold")
            folds.setdefault((entry.group, *map(str, others)), []).append(entry)
        else:
            found.append(_Answer([entry], entry.run.predictions(split)))
    return found + [_Answer(each, pooled([entry.run.predictions(split) for entry in each])) for each in folds.values()]


def _same(a: _Answer, b: _Answer, split: str) -> bool:
    """Whether both are about the same images, as far as their contents say: two cameras number photographs alike."""
    contents = [sorted(str(entry.contents(split)) for entry in one.entries) for one in (a, b)]
    # What a fold holds depends on how many there are.
    unknown = any("None" in each for each in contents) or len(contents[0]) != len(contents[1])
    files = a.entries[0].data == b.entries[0].data if unknown else contents[0] == contents[1]
    return files and same_images(a.predicted, b.predicted)
