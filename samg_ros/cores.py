# SPDX-License-Identifier: Apache-2.0
"""How many CPU cores torch takes where something else computes beside it.

Torch's threads wait for each other busily: with as many of them as there are cores, one other
process makes a frame of `mini` on two cores take many times as long.
"""

import os


def half_the_cores() -> int:
    """Return half of the cores that this process may use, at least 1."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


def take_the_other_cores() -> None:
    """Give torch, in this thread, the cores that `half_the_cores` leaves."""
    import torch

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - half_the_cores()))
