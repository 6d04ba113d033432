# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import pytest

CHILD = """
import ctypes, resource, sys, threading
from samg_ros.memory import keep_freed_memory

assert sys.argv[1] == 'leave' or keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def use(size=48 * 2**20):
    block = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    libc.free(block)

def work():
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        use()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)  # as the learner's updates run
thread.start()
thread.join()
"""


def page_faults(what):
    done = subprocess.run(
        [sys.executable, '-c', CHILD, what], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.skipif('glibc' not in os.confstr('CS_GNU_LIBC_VERSION'), reason='needs glibc')
def test_large_blocks_are_not_cleared_by_the_kernel_again():
    assert page_faults('keep') < page_faults('leave') / 10
