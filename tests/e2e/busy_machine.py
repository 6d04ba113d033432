# SPDX-License-Identifier: Apache-2.0
"""Time limits on a machine that may be busy with something else."""

import os


def limit_s(seconds: float) -> float:
    """Return a time limit: longer by as much as more wants to run than there are cores."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
