"""The order of images is a function of (seed, epoch): not of interruptions, not of the number of processes."""

import itertools

import numpy as np
import pytest
import torch

from visionlab.data.loader import Loader
from visionlab.errors import ConfigError

N = 53
ROWS = np.arange(100, 100 + N)
LABELS = np.repeat([0, 1, 2], [40, 10, 3])


def loader(**config) -> Loader:
    config = {"batch_size": 8, "sampler": "shuffle", "seed": 1, **config}
    rows = config.pop("rows", ROWS)
    return Loader(lambda rows: rows.to(torch.uint8).view(-1, 1, 1, 1), rows, LABELS[: len(rows)], **config)


def rows(batches) -> list[int]:
    return [int(row) for batch in batches for row in batch.rows]


def test_every_image_comes_once_with_its_own_pixels_and_label():
    batches = list(loader())
    assert sorted(rows(batches)) == ROWS.tolist()
    for batch in batches:
        assert (batch.images.flatten() == batch.rows).all()
        assert (batch.labels == torch.from_numpy(LABELS)[batch.rows - 100]).all()
    assert torch.cat([batch.places for batch in batches]).tolist() == list(range(N))
    assert len(batches) == len(loader()) == 7


def test_order_depends_on_seed_and_epoch_alone():
    first = loader()
    assert rows(first) == rows(loader())
    assert rows(first) != rows(loader(seed=2))
    second = loader()
    second.set_epoch(1)
    epoch_one = rows(second)
    assert epoch_one != rows(loader())
    assert epoch_one == rows(loader(epoch=lambda: 1))
    second.set_epoch(0)
    assert rows(second) == rows(loader())


def test_evaluation_keeps_the_order():
    assert rows(loader(sampler="sequential")) == ROWS.tolist()


@pytest.mark.parametrize("stop", range(8))
def test_a_resumed_epoch_goes_on_with_the_next_batch(stop):
    whole = loader()
    interrupted = loader()
    begun = list(itertools.islice(iter(interrupted), stop))
    state = interrupted.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    rest = list(resumed)
    if stop < len(whole):
        assert rows(begun) + rows(rest) == rows(whole)
        assert [len(b.rows) for b in begun + rest] == [len(b.rows) for b in whole]
        assert torch.cat([b.places for b in rest]).tolist() == list(range(8 * stop, N))
    else:
        assert rows(rest) == rows(whole)  # the epoch was over: the next one starts at its beginning
    assert rows(resumed) == rows(whole)  # a resume is for one epoch only
    assert len(resumed) == len(whole)


def test_a_state_is_plain_values():
    assert all(isinstance(value, int) for value in loader().state_dict().values())


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_batches_of_one(world, sampler):
    given = {"rows": ROWS[:48], "sampler": sampler}  # so that the last batch divides as well
    one = list(loader(**given, batch_size=12))
    many = [list(loader(**given, batch_size=12 // world, rank=rank, world_size=world)) for rank in range(world)]
    for number, batch in enumerate(one):
        parts = [batches[number] for batches in many]
        assert torch.cat([part.rows for part in parts]).tolist() == batch.rows.tolist()
        assert torch.cat([part.places for part in parts]).tolist() == batch.places.tolist()


@pytest.mark.parametrize(("world", "batch_size"), [(2, 8), (3, 4), (4, 1), (2, 26), (3, 100)])
def test_processes_always_make_equal_steps(world, batch_size):
    many = [list(loader(batch_size=batch_size, rank=rank, world_size=world)) for rank in range(world)]
    assert len({tuple(len(batch.rows) for batch in batches) for batches in many}) == 1
    assert all(len(batches) == len(loader(batch_size=batch_size, world_size=world)) for batches in many)
    seen = rows(itertools.chain.from_iterable(many))
    assert len(set(seen)) == len(seen) > N - 2 * world


@pytest.mark.parametrize(("world", "batch_size"), [(2, 8), (3, 5), (4, 1), (2, 100), (4, 52)])
def test_evaluation_on_several_processes_sees_each_image_once(world, batch_size):
    many = [
        list(loader(sampler="sequential", batch_size=batch_size, rank=rank, world_size=world)) for rank in range(world)
    ]
    assert len({tuple(len(batch.rows) for batch in batches) for batches in many}) == 1
    assert all(
        len(batches) == len(loader(sampler="sequential", batch_size=batch_size, world_size=world)) for batches in many
    )
    real = [int(row) for batches in many for batch in batches for row in batch.rows[batch.labels >= 0]]
    assert sorted(real) == ROWS.tolist()


def test_no_batch_of_one_image_is_trained_on():
    assert [len(batch.rows) for batch in loader(rows=ROWS[:49])] == [8] * 6
    assert [len(batch.rows) for batch in loader(rows=ROWS[:1])] == [1]  # there is nothing else
    assert [len(batch.rows) for batch in loader(rows=ROWS[:3], batch_size=1)] == [1] * 3  # it was asked for


def test_balanced_shows_the_classes_equally_and_repeats_evenly():
    counts = np.zeros(3)
    for epoch in range(4):
        drawn = rows(loader(sampler="balanced", epoch=lambda epoch=epoch: epoch))
        assert len(drawn) == N
        times = np.bincount(drawn, minlength=153)[100:]
        per_class = np.array([times[label == LABELS].sum() for label in range(3)])
        assert np.ptp(per_class) <= 1 + 2
        assert np.ptp(times[LABELS == 2]) <= 2
        assert times[LABELS == 0].max() == 1
        counts += per_class
    assert np.ptp(counts) <= 8


def test_balanced_shows_other_images_of_a_frequent_class_each_epoch():
    seen = [set(rows(loader(sampler="balanced", epoch=lambda epoch=epoch: epoch))) for epoch in range(6)]
    assert len(set.union(*seen)) > len(seen[0]) + 10


def test_impossible_batches_are_refused():
    with pytest.raises(ConfigError, match=r"data\.batch_size=0"):
        loader(batch_size=0)
    with pytest.raises(ConfigError, match="cannot be divided among 4 devices"):
        loader(rows=ROWS[:3], world_size=4)
