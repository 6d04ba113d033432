# SPDX-License-Identifier: Apache-2.0
"""Makes a run's policy one that comes with the package: samg_ros/rl/policies/TASK.pt.

    python scripts/ship_policy.py runs/cartpole_swingup-quick-masked-0

Only what acts goes into the file, in float16, with its reference and its masker. A policy that
learned from true masks gets the masker of this package, and its figures are to be taken with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from samg_ros.errors import SamgError
from samg_ros.masking import Masker
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.shipped import FOLDER, write_acting_policy

LARGEST_BYTES = 500_000


def ship(run: Path) -> None:
    """Write the file of a run's policy."""
    policy = load_policy(run)
    path = FOLDER / f'{policy.task}.pt'
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as folder:  # path keeps the one it has
        masker = None
        if policy.counters.get('masks') == 'truth':
            masker = Masker.load().describe()
        written = write_acting_policy(run, Path(folder) / path.name, masker)
        load_policy(written)
        size = written.stat().st_size
        if size > LARGEST_BYTES:
            raise SamgError(f'the policy takes {size:,} bytes; more than {LARGEST_BYTES:,} do not '
                            'belong into a package')
        FOLDER.mkdir(exist_ok=True)
        written.replace(path)
    print(f'{path}: {size:,} bytes, {policy.spec.source} frames, after '
          f'{policy.counters["steps"]:,} steps')


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('run', type=Path, nargs='+', help='run folder or checkpoint')
    for run in parser.parse_args().run:
        ship(run)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except SamgError as error:
        sys.exit(f'ship_policy: error: {error}')
