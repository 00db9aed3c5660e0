"""Random numbers that are a function of where they are used, not of when.

Augmentation parameters must not depend on the batch split, the number of devices or the point where a run was resumed.
A generator with a state cannot give that; a keyed hash of the place can (counter-based random numbers, Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011). It is a dozen element-wise integer operations on the device
where the images are, without a copy or a synchronisation.
"""

from hashlib import blake2b

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


def key(*parts: object) -> int:
    """Return a 64-bit number that stands for the parts: the same in each process, unlike `hash`."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def keys(*parts: object, count: int) -> Tensor:
    """Return `count` keys of two 32-bit words each for `uniforms`.

    Returns:
        int64 [2, count] on the CPU.
    """
    words = [divmod(key(*parts, number), 1 << 32) for number in range(count)]
    return torch.tensor(words, dtype=torch.int64).reshape(count, 2).T.contiguous()


def uniforms(places: Tensor, keys: Tensor) -> Tensor:
    """Draw one number in [0, 1) for each place and key.

    Args:
        places: int64 [B], each in 0 .. 2^32 - 1.
        keys: int64 [2, K], on the device of the places.

    Returns:
        float32 [B, K], multiples of 2^-24. Row i depends on places[i] and the keys alone.
    """
    word = _mix(places[:, None] ^ keys[0])
    word = _mix(word ^ keys[1])
    return (word >> 8).to(torch.float32).mul_(2.0**-24)  # 24 bits: every value is exact in float32


def _mix(word: Tensor) -> Tensor:
    """Scramble 32-bit words (held in int64) by a bijection.

    The constants are those of C. Wellons' hash prospector (bias 0.11). Both are below 2^31, so that no product leaves
    int64.
    """
    word ^= word >> 16
    word = (word * 0x21F0AAAD).bitwise_and_(_WORD)
    word ^= word >> 15
    word = (word * 0x735A2D97).bitwise_and_(_WORD)
    word ^= word >> 15
    return word
