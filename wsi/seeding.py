"""Seeds: every random draw is a function of its place in a training."""

import numpy as np
import torch


def mix_seed(*parts: int) -> int:
    """One seed out of several numbers.

    Every random draw of a training is a function of (seed, epoch, step) alone: a resumed run
    repeats an uninterrupted one without saving the state of any generator.
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def seeded(*parts: int) -> torch.Generator:
    """A CPU generator for this place in the training; seeds torch's own as well (dropout)."""
    seed = mix_seed(*parts)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
