"""Draws batches from the store: one gather a batch, an order that is a function of (seed, epoch) alone."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from visionlab.data.batch import Batch
from visionlab.data.index import IntArray
from visionlab.data.values import at_least_one
from visionlab.errors import ConfigError

Sampler = Literal["shuffle", "balanced", "sequential"]


class Loader:
    """An iterable of `Batch`; it holds no state but the place in the epoch.

    Args:
        gather: Maps rows int64 [B] to uint8 [B, 3, H, W].
        rows: int64 [N], the rows that make an epoch.
        labels: int64 [N], their classes.
        batch_size: Images a process and batch.
        sampler: shuffle: each image once, in random order. balanced: each class as often as any other, so images of
            rare classes come several times and of frequent ones not all. sequential: as `rows`, for evaluation.
        drop_last: Leave out the last, incomplete batch of an epoch; not for evaluation.
        seed: Of the order.
        epoch: Returns the epoch that an iteration belongs to; None to use that of `set_epoch`.
        rank: Which of the processes this is.
        world_size: Number of processes. Training batches then are equal parts of the batches of
            `batch_size * world_size` that one process would draw; in evaluation each gets its share of the images,
            filled up with label -1, so that all make the same number of steps.
        pin_memory: Put the batches into page-locked memory, for copies to a CUDA device beside its work.
    """

    def __init__(
        self,
        gather: Callable[[Tensor], Tensor],
        rows: IntArray,
        labels: IntArray,
        *,
        batch_size: int,
        sampler: Sampler = "sequential",
        drop_last: bool = False,
        seed: int = 0,
        epoch: Callable[[], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        pin_memory: bool = False,
    ) -> None:
        at_least_one("batch_size", batch_size)
        if sampler != "sequential" and len(rows) < world_size:
            raise ConfigError(
                f"{len(rows)} training images cannot be divided among {world_size} devices",
                where="trainer.devices",
                remedy="use fewer devices",
            )
        if drop_last and len(rows) < batch_size * world_size:
            raise ConfigError(
                f"{len(rows)} training images do not fill one batch of {batch_size * world_size}, so all are left out",
                where="data.drop_last",
                remedy="give a smaller data.batch_size, or data.drop_last=false",
            )
        self.gather, self.batch_size, self.seed, self.drop_last = gather, batch_size, seed, drop_last
        self._sampler = sampler  # not `sampler`: Lightning takes whatever has that attribute for a DataLoader
        self.rows, self.labels = torch.as_tensor(rows), torch.as_tensor(labels)
        self.rank, self.world_size, self.pin_memory = rank, world_size, pin_memory
        self._current_epoch, self._epoch, self._resume_at = epoch, 0, 0
        self._begun: int | None = None  # the epoch of the last iteration, of which `_done` batches were handed out
        self._done = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration belongs to, where no `epoch` function was given."""
        self._epoch = epoch

    @property
    def epoch(self) -> int:
        """The epoch that an iteration that starts now belongs to."""
        return self._epoch if self._current_epoch is None else self._current_epoch()

    def __len__(self) -> int:
        """Return the number of batches of each process."""
        images = len(self.rows)
        together = self.batch_size * self.world_size
        if self._sampler == "sequential":
            return -(-images // together)
        return images // together + (self._tail() > 0)

    def _tail(self) -> int:
        """Return how many images of the last, incomplete training batch are used.

        They must divide among the processes, and a single image a process is left out: batch normalisation cannot
        train on it. Which images those are differs from epoch to epoch.
        """
        images, together = len(self.rows), self.batch_size * self.world_size
        if self.drop_last:
            return 0
        tail = images % together
        tail -= tail % self.world_size
        return 0 if tail == self.world_size and images > together else tail

    def order(self, epoch: int) -> Tensor:
        """Return int64 [N], the positions in `rows` in the order in which the epoch visits them."""
        if self._sampler == "sequential":
            return torch.arange(len(self.rows))
        random = np.random.default_rng((self.seed, epoch))
        if self._sampler == "shuffle":
            return torch.from_numpy(random.permutation(len(self.rows)))
        return torch.from_numpy(_balanced(self.labels.numpy(), random))

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the current epoch, from where a loaded state says."""
        start, self._resume_at = self._resume_at, 0
        self._begun, self._done = self.epoch, start
        order = self.order(self._begun)
        for number in range(start, len(self)):
            batch = self._batch(order, number)
            self._done = number + 1
            yield batch

    def _batch(self, order: Tensor, number: int) -> Batch:
        together = self.batch_size * self.world_size
        first = number * together
        count = min(together, len(order) - first)
        if self._sampler != "sequential" and count < together:
            count = self._tail()
        share = -(-count // self.world_size)
        places = torch.arange(first + self.rank * share, first + (self.rank + 1) * share)
        real = places < first + count
        places = torch.where(real, places, first)  # a padding row shows an image that is there
        picked = order[places]
        rows = self.rows[picked]
        labels = torch.where(real, self.labels[picked], -1)
        images = self.gather(rows)
        if self.pin_memory:
            images, labels = images.pin_memory(), labels.pin_memory()
        return Batch(images, labels, rows, places)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch: the batches that were handed out, none where it has not begun."""
        return {"batch": self._done if self._begun == self.epoch else 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the batch after those that were handed out when the state was taken."""
        done = int(state["batch"])
        self._resume_at = done if done < len(self) else 0


def _balanced(labels: IntArray, random: np.random.Generator) -> IntArray:
    """Draw as many positions as there are images, equally from the classes, repeating an image as rarely as can be."""
    present = np.unique(labels)
    each = -(-len(labels) // len(present))
    drawn = []
    for label in present:
        members = np.flatnonzero(labels == label)
        rounds = -(-each // len(members))
        drawn.append(np.concatenate([random.permutation(members) for _ in range(rounds)])[:each])
    return random.permutation(np.concatenate(drawn))[: len(labels)]
