# SPDX-License-Identifier: Apache-2.0
"""What a finished run says of itself: its evaluation, printed, and its report page."""

from collections.abc import Sequence
from pathlib import Path

from samg_ros.files.outputs import write_json
from samg_ros.progress import ProgressLine
from samg_ros.rl.evaluation.episodes import SETTINGS, evaluate_run


def evaluate_and_report(
    run_dir: Path | str,
    episodes: int = 10,
    videos: Path | str | None = None,
    facts: dict[str, str] | None = None,
    json_path: Path | None = None,
    settings: Sequence[str] = SETTINGS,
    colours: Path | None = None,
) -> Path:
    """Evaluate a finished run, print its figures and write its report.

    Args:
        run_dir: run folder with a checkpoint.
        episodes: episodes in each setting.
        videos: folder of background videos; None for the built-in ones.
        facts: what else the report should say about the run, by name.
        json_path: also write the figures there.
        settings: visual settings to evaluate in.
        colours: folder of DMC-GB's lists of colours; None for drawn ones.

    Returns:
        Path of report.html.

    Raises:
        CheckpointError: if the folder has no usable checkpoint.
    """
    from samg_ros.evaluation.report import write_report

    with ProgressLine() as line:
        evaluation = evaluate_run(
            run_dir,
            settings,
            episodes,
            videos=videos,
            colours=colours,
            progress=lambda name, i, n: line.update(
                f'evaluating in {name}: episode {i} of {n}', force=i == n
            ),
        )
    for name, result in [*evaluation.results.items(), ('random', evaluation.random)]:
        iou = '' if result.mean_iou is None else f', mask IoU {result.mean_iou:.3f}'
        print(f'{name}: return {result.mean_return:.1f} ± {result.return_error:.1f}{iou}')
    if json_path is not None:
        write_json(json_path, evaluation.to_dict())
    return write_report(
        run_dir,
        config=evaluation.config.to_dict(),
        counters=evaluation.counters,
        results=evaluation.results,
        random=evaluation.random,
        curve=evaluation.curve,
        facts=facts or {},
    )
