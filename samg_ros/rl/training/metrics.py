# SPDX-License-Identifier: Apache-2.0
"""What a run leaves to look at: metrics.csv and TensorBoard events, one line per episode."""

import contextlib
import csv
import io
import math
from pathlib import Path

from samg_ros.errors import CheckpointError
from samg_ros.files.reading import parsing, read_text

METRICS_NAME = 'metrics.csv'
"""Name of the table in a run folder."""
_MOST_BYTES = 2**28
"""Of the table: a line has some 150 bytes, and a run millions of episodes at most."""

COLUMNS = (
    'step',
    'frames',
    'episode',
    'seconds',
    'episode_return',
    'episode_steps',
    'mask_iou',
    'steps_per_s',
    'updates',
    'critic_loss',
    'actor_loss',
    'value',
    'batch_reward',
    'imitation_loss',
)
"""Columns of metrics.csv; a figure that does not exist for a line is left empty."""


class MetricsLog:
    """Appends lines to metrics.csv and to TensorBoard."""

    def __init__(self, run_dir: Path | str, episodes: int) -> None:
        """Open the table of a run.

        Args:
            run_dir: run folder, made if missing.
            episodes: how many the run that starts or resumes has ended; lines of later ones, which
                a kill took back, are dropped.

        Raises:
            CheckpointError: if the table cannot be written.
        """
        from torch.utils.tensorboard import SummaryWriter

        self.path = Path(run_dir) / METRICS_NAME
        kept = [row for row in read_metrics(run_dir) if row['episode'] <= episodes]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix('.part')
            with temporary.open('w', newline='') as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(kept)
            temporary.replace(self.path)
            self._file = self.path.open('a', newline='')
        except OSError as error:
            raise CheckpointError(f'cannot write {self.path}: {error.strerror}') from error
        self._table = csv.DictWriter(self._file, COLUMNS)
        events = Path(run_dir) / 'tensorboard'
        after = int(kept[-1]['step']) + 1 if kept else 0
        self._events = SummaryWriter(str(events), purge_step=after if events.exists() else None)

    def write(self, row: dict[str, float]) -> None:
        """Append one line; `row` has names from COLUMNS, 'step' among them.

        Raises:
            CheckpointError: if it cannot be written.
        """
        try:
            self._table.writerow(row)
            self._file.flush()
            for name, value in row.items():
                if name not in ('step', 'frames', 'episode'):
                    self._events.add_scalar(f'train/{name}', value, int(row['step']))
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Write what is pending and close both.

        Raises:
            CheckpointError: if it cannot be written.
        """
        try:
            self._file.close()
            self._events.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f'cannot write the metrics in {self.path.parent}: {error.strerror}; free some room, '
            'and the same command goes on from the last checkpoint'
        )


def read_metrics(run_dir: Path | str) -> list[dict[str, float]]:
    """Return the lines of a run's metrics.csv; none if it has no such file.

    A line that was cut short by a kill is left out.
    """
    path = Path(run_dir) / METRICS_NAME
    if not path.is_file():
        return []
    rows = []
    text = read_text(path, CheckpointError, _MOST_BYTES)
    with parsing(f'{path} is no table', CheckpointError, 'restore it, or delete it'):
        for row in csv.DictReader(io.StringIO(text)):
            with contextlib.suppress(ValueError):  # a line that was cut short
                values = {name: float(value) for name, value in row.items()
                          if name in COLUMNS and value}
                if None not in row and None not in row.values() \
                        and {'step', 'episode'} <= set(values) and all(
                            map(math.isfinite, (values['step'], values['episode']))):
                    rows.append(values)
    return rows
