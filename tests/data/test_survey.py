"""What a survey counts as standing in several splits."""

from types import SimpleNamespace

import numpy as np
import pytest

from visionlab.data.survey import Survey


@pytest.mark.parametrize(
    ("rows", "across"), [([0, 1], False), ([0, 2], True), ([0, 3], False), ([2, 3], False), ([3, 4], False)]
)
def test_images_that_no_split_has_are_in_no_other_one(rows, across):
    survey = SimpleNamespace(split_of=np.array(["train", "train", "val", "", ""]))
    assert Survey.across(survey, np.array(rows)) == across
