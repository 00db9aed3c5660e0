"""Randomness as a function of where a run stands, not of how it got there."""

import hashlib

import torch


def seed_of(*place: int | str) -> int:
    """Return a seed in 0..2**63 - 1 that depends on all the given numbers, the same on every machine."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_step(*place: int | str) -> None:
    """Seed the generators that a training step draws from (dropout, stochastic depth).

    Seeded anew for each step, they need not be saved: a resumed run draws what the uninterrupted one drew. The
    generators are seeded directly, since `torch.manual_seed` visits every backend and costs 70 times as much.
    """
    seed = seed_of(*place)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
