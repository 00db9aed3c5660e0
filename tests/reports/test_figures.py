import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from visionlab.reports import figures, run_figures


def test_curves_mark_the_best_epoch_and_name_the_lines():
    drawn = figures.curves(
        {"train": ([1, 2, 3], [3.0, np.nan, 1.0]), "validation": ([1, 2, 3], [3, 2, 2])}, y="loss", best=2
    )
    axes = drawn.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "validation", "best epoch (2)"]
    assert axes.lines[2].get_xdata()[0] == 2
    assert list(axes.lines[0].get_xdata()) == [1, 3], "a point between two gaps would not be seen"
    assert axes.get_ylabel() == "loss"


@pytest.mark.parametrize("normalise", [False, True])
def test_the_confusion_matrix_has_its_numbers_and_names(normalise):
    counts = np.array([[8, 2], [0, 5]])
    axes = figures.confusion_matrix(counts, ["yes", "no"], normalise=normalise).axes[0]
    written = [text.get_text() for text in axes.texts]
    assert written == (["80", "20", "100"] if normalise else ["8", "2", "5"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["yes", "no"]
    assert axes.get_ylabel() == "true class"


def test_101_classes_have_all_their_names(many=101):
    names = [f"a rather long name {i}" for i in range(many)]
    axes = figures.confusion_matrix(np.eye(many, dtype=np.int64), names).axes[0]
    assert len(axes.get_xticklabels()) == many
    assert not axes.texts


def test_of_1000_classes_those_are_named_that_there_is_room_for(many=1000):
    drawn = figures.confusion_matrix(np.eye(many, dtype=np.int64), [f"class {i}" for i in range(many)])
    axes = drawn.axes[0]
    room = 72 * drawn.get_figheight() * axes.get_position().height  # points
    labels = axes.get_yticklabels()
    assert room / 2 < len(labels) * labels[0].get_fontsize() <= room
    assert [label.get_text() for label in labels] == [f"class {place}" for place in axes.get_yticks()]


def test_bars_have_the_length_of_their_values():
    axes = figures.class_bars(["a", "b"], [0.25, 1.0], mean=0.3).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 1.0]
    assert list(axes.lines[0].get_xdata()) == [0.3, 0.3]


@pytest.mark.parametrize(
    "draw",
    [
        lambda names: figures.confusion_matrix(np.eye(2, dtype=np.int64), names),
        lambda names: figures.class_bars(names, [0.25, 1.0], mean=0.5),
        lambda names: figures.curves({name: ([1, 2], [3.0, 1.0]) for name in names}, y="loss", log=True),
    ],
)
def test_dollar_signs_in_names_are_no_formula(draw):
    names = ["a $5_$ b", "$10$ \\$"]
    drawn = draw(names)
    drawn.canvas.draw()  # where matplotlib would refuse the first
    axes = drawn.axes[0]
    texts = axes.get_legend().get_texts() if axes.get_legend() else axes.get_yticklabels()
    assert [(text.get_text(), text.get_parse_math()) for text in texts] == [(name, False) for name in names]


def test_captions_are_green_and_red():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    drawn = figures.sample_grid(images, ["cat", "$dog$", "new"], [True, False, None])
    colours = [to_hex(text.get_color()) for text in drawn.axes[0].texts]
    assert colours == ["#0b7a4b", "#c02b20", "#171a21"]
    drawn.canvas.draw()  # a dollar sign in a name is no formula


@pytest.mark.parametrize("name", ["European fire salamander", "grand piano (Flügel)", "dalmatian dog"])
def test_captions_neither_run_into_each_other_nor_out_of_the_picture(name):
    line = {"predicted": name, "target": name, "confidence": "0.999", "correct": "0"}
    drawn = figures.sample_grid(np.zeros((2, 32, 32, 3), np.uint8), [run_figures.caption(line)] * 2, [False] * 2)
    first, last = (text.get_window_extent() for text in drawn.axes[0].texts)
    assert first.x1 < last.x0 and last.x1 <= drawn.bbox.x1


def test_an_image_stands_where_its_caption_says():
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)])
    axes = figures.sample_grid(images, ["a", "b", "c"], [None] * 3, across=2).axes[0]
    board = axes.images[0].get_array()
    for text, value in zip(axes.texts, (10, 20, 30), strict=True):
        x, y = text.get_position()
        assert (board[int(y) - 2, int(x) + 1] == value).all()


def test_reliability_states_the_error_and_the_bins():
    axes = figures.reliability(np.array([0.9, 0.9]), np.array([True, False]), bins=10).axes[0]
    assert axes.get_title(loc="left") == "expected calibration error 40.00 % (10 bins)"


def test_nothing_is_registered_globally():
    figures.class_bars(["a"], [1.0], mean=1.0)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
