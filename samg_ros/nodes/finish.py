# SPDX-License-Identifier: Apache-2.0
"""What comes after a training run, whether one process did it or several: figures and a report."""

from __future__ import annotations

import sys
from pathlib import Path

from tqdm import tqdm

DEFAULT_EPISODES = 5


def finish_run(run_dir: Path, episodes: int = DEFAULT_EPISODES, videos: Path | None = None) -> Path:
    """Evaluate the policy of a finished run, without ROS, and write the report page.

    Args:
        run_dir: folder of the run.
        episodes: episodes per visual setting, at least 1.
        videos: folder of background videos; None for procedural ones.

    Returns:
        Path of the report.

    Raises:
        SamgError: if the checkpoint, the simulation or the report folder is not usable.
    """
    from samg_ros.evaluation.report import write_report
    from samg_ros.rl.evaluation import evaluate_run

    with tqdm(desc='evaluating', unit='episode', dynamic_ncols=True, leave=False,
              disable=None, file=sys.stderr) as bar:
        def progress(setting: str, done: int, total: int) -> None:
            bar.set_description(f'evaluating in {setting}', refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        evaluation = evaluate_run(run_dir, episodes=episodes, videos=videos, progress=progress)
    return write_report(run_dir, evaluation)
