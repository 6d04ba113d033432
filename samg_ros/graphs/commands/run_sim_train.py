# SPDX-License-Identifier: Apache-2.0
"""`samg run sim_train`: the training graph of sim_train.launch.py, in one process.

Unless ROS_DOMAIN_ID is set, the graph takes a free domain of its own, and unless the discovery
range is set, it stays on this machine, so that runs side by side do not answer each other. The
first line says which domain, for those who want to watch with `ros2 topic` or RViz.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samg_ros.graphs.arguments import (
    SIM_TRAIN,
    add_record,
    add_to_parser,
    from_namespace,
    params_file,
)
from samg_ros.ros.signals import INTERRUPTED, StopSignal

if TYPE_CHECKING:
    from samg_ros.graphs.sim_train import TrainPlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_to_parser(parser, (*SIM_TRAIN, params_file('sim_train.yaml')))
    add_record(parser)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, write the report; the last line printed is the report's path.

    Returns:
        0, or 130 after Ctrl-C; the run is then saved and the same command resumes it.

    Raises:
        SamgError: one line that says what is wrong.
    """
    # Nothing heavy is imported before this line: see StopSignal.
    with StopSignal(INTERRUPTED, 'samg: interrupted; nothing is lost, the same command goes on '
                    'from there') as stop_signal:
        return _run(args, stop_signal)


def _run(args: argparse.Namespace, stop_signal: StopSignal) -> int:
    began = time.monotonic()
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.sim_train import PARAMETER_FILE, make_plan, prepare_reference
    from samg_ros.progress import duration
    from samg_ros.rl.evaluation.run_report import evaluate_and_report
    from samg_ros.ros.domain import choose_domain

    plan = make_plan(**from_namespace(args, SIM_TRAIN), params_file=args.params_file or '')
    parameters = parameter_file(args.params_file, PARAMETER_FILE)
    print(f'graph in ROS_DOMAIN_ID={choose_domain()}; run folder {plan.run_dir}')
    print(prepare_reference(plan), flush=True)
    prepared_s = time.monotonic() - began
    progress = train(plan, parameters, stop_signal, args.record)
    if progress is None or not progress['done']:
        where = 'before the first step' if progress is None else \
            f'at step {progress["step"]} of {progress["steps"]} and saved'
        print(f'samg: stopped {where}; the same command goes on from there', file=sys.stderr)
        return INTERRUPTED
    seconds = progress['seconds']
    print(f'trained {progress["step"]} steps in {duration(seconds)}, '
          f'{progress["step"] / max(seconds, 1e-3):.1f} frames/s', flush=True)
    stop_signal.immediate()
    if not plan.episodes:
        print(plan.run_dir)
        return 0
    report = evaluate_and_report(
        plan.run_dir, plan.episodes, plan.videos,
        {'Set-up': duration(prepared_s), 'Command': shlex.join(['samg', *sys.argv[1:]])})
    print(report, flush=True)
    return 0


def train(plan: TrainPlan, parameters: Path, stop_signal: StopSignal,
          record: Path | None = None) -> dict[str, Any] | None:
    """Run the graph until the training is done or a signal comes.

    Args:
        plan: what to train.
        parameters: ROS parameter file of the nodes.
        stop_signal: is deferred while the nodes run, so that they can save.
        record: MCAP file to record the session in; None for none.

    Returns:
        `Learner.progress` at the end; None if it stopped before there was a learner.

    Raises:
        SamgError: the first error of a node.
    """
    from samg_ros.graphs.one_process import OneProcess

    with OneProcess(plan.nodes, parameters, stop_signal, record) as graph:
        trainer = graph['trainer']
        display = ProgressDisplay(trainer)
        try:
            graph.spin(lambda: trainer.finished)
            display.update(force=True)
        finally:
            display.close()
        progress: dict[str, Any] | None = trainer.progress
        return progress


class ProgressDisplay:
    """Shows a trainer's progress on stderr: return, mask IoU, frames/s, time left."""

    def __init__(self, trainer: Any) -> None:
        """Create a timer of the trainer that keeps the line up to date."""
        from samg_ros.progress import ProgressLine
        from samg_ros.ros.compat import steady_timer

        self._trainer = trainer
        self._line = ProgressLine()
        self._timer = steady_timer(trainer, 0.25, lambda: self.update())

    def update(self, force: bool = False) -> None:
        """Show where the training stands."""
        from samg_ros.progress import progress_line

        progress = self._trainer.progress
        if progress is not None:
            self._line.update(progress_line(progress), force)

    def close(self) -> None:
        """Leave the line as it is."""
        self._timer.cancel()
        self._line.close()
