# SPDX-License-Identifier: Apache-2.0
"""Memory that an update or a frame freed is kept for the next one.

glibc gives large blocks, and what is free at the heap's end, back to the kernel, which clears a
page at a time when it is asked again. An update at the paper's size is a dozen blocks above 32 MB:
250,000 pages, a fifth to a third of its time on a CPU. A frame of `mini` is 800 pages, a tenth.
"""

import ctypes
import platform
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of mallopt, from glibc's malloc.h."""

KEPT_BYTES = 2**30
"""Free memory at the heap's end above which glibc gives some back all the same."""


def keep_freed_memory() -> bool:
    """Have this process reuse large blocks instead of giving them back to the system.

    What computes does not change. The process stays as large as it was at its largest. Threads
    that begin later share one heap, because those of their own cannot hold large blocks.

    Returns:
        Whether the C library has that setting; false where it is not glibc.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    library = ctypes.CDLL(None)
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, KEPT_BYTES))
    return all(library.mallopt(parameter, value) for parameter, value in settings)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory of the computer or the GPU did not suffice.

    torch raises a RuntimeError of its allocator on a CPU and a class of its own on a GPU.
    """
    torch: Any = sys.modules.get('torch')
    return isinstance(error, MemoryError) \
        or torch is not None and isinstance(error, torch.OutOfMemoryError) \
        or isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
