# SPDX-License-Identifier: Apache-2.0
"""`samg run sim_train`: the training graph of sim_train.launch.py, in one process.

The node classes are those of the launch file and so is the parameter file, and every message goes
through DDS; only the executor is shared. It needs no ROS installation beyond the wheels.

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

if TYPE_CHECKING:
    from samg_ros.nodes.signals import StopSignal
    from samg_ros.nodes.train_plan import TrainPlan

INTERRUPTED = 130
PARAMETER_FILE = 'config/sim_train.yaml'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('--task', default='cartpole_swingup', help='task (%(default)s)')
    parser.add_argument('--setting', default='train',
                        help='visual setting to train in, such as video_hard (%(default)s)')
    parser.add_argument('--preset', default='quick',
                        help='training settings: quick or paper (%(default)s)')
    parser.add_argument('--reference', default='', metavar='DIR',
                        help='reference folder or image; without it one is rendered')
    parser.add_argument('--videos', default='', metavar='DIR',
                        help='background videos; without it procedural ones')
    parser.add_argument('--model', default='', help='masking model (mini)')
    parser.add_argument('--weights', default='', metavar='FILE',
                        help="its weights, NAME=PATH,NAME=PATH for a pair (the package's)")
    parser.add_argument('--run-dir', default='', metavar='DIR',
                        help='run folder (runs/TASK-PRESET-SEED); a run that is there goes on')
    parser.add_argument('--seed', type=int, default=0, help='of everything random (%(default)s)')
    parser.add_argument('--steps', type=int, default=0, help="agent steps (the preset's)")
    parser.add_argument('--overrides', default='', metavar='JSON',
                        help='other training settings, such as \'{"batch_size": 64}\'')
    parser.add_argument('--episodes', type=int, default=5,
                        help='episodes per setting in the report (%(default)s)')
    parser.add_argument('--record', type=Path, default=None, metavar='FILE.mcap',
                        help='record frames, joints, time steps and commands for samg eval bag')
    parser.add_argument('--params-file', default='', metavar='YAML',
                        help=f"ROS parameters of the nodes (the package's {PARAMETER_FILE})")


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, write the report; the last line printed is the report's path.

    Returns:
        0, or 130 after Ctrl-C; the run is then saved and the same command resumes it.

    Raises:
        SamgError: one line that says what is wrong.
    """
    from samg_ros.nodes.signals import StopSignal

    # Nothing heavy is imported before this line: see StopSignal.
    stop_signal = StopSignal(
        INTERRUPTED, 'samg: interrupted; nothing is lost, the same command goes on from there')
    try:
        return _run(args, stop_signal)
    finally:
        stop_signal.restore()


def _run(args: argparse.Namespace, stop_signal: StopSignal) -> int:
    began = time.monotonic()
    from samg_ros.errors import ConfigError
    from samg_ros.nodes.domain import choose_domain
    from samg_ros.nodes.files import share_file
    from samg_ros.nodes.train_plan import make_plan, prepare_reference
    from samg_ros.rl.progress import duration
    from samg_ros.rl.train import evaluate_and_report

    plan = make_plan(args.task, args.preset, args.setting, args.seed, args.steps, args.overrides,
                     args.run_dir, args.reference, args.videos, args.episodes, args.model,
                     args.weights)
    parameter_file = Path(args.params_file) if args.params_file else share_file(PARAMETER_FILE)
    if not parameter_file.is_file():
        raise ConfigError(f"there is no parameter file '{parameter_file}'; check --params-file")
    print(f'graph in ROS_DOMAIN_ID={choose_domain()}; run folder {plan.run_dir}')
    if said := prepare_reference(plan):
        print(said)
    sys.stdout.flush()
    prepared_s = time.monotonic() - began
    progress = run_graph(plan, parameter_file, stop_signal, args.record)
    if progress is None or not progress['done']:
        where = 'before the first step' if progress is None else \
            f'at step {progress["step"]} of {progress["steps"]} and saved'
        print(f'samg: stopped {where}; the same command goes on from there', file=sys.stderr)
        return INTERRUPTED
    seconds = progress['seconds']
    print(f'trained {progress["step"]} steps in {duration(seconds)}, '
          f'{progress["step"] / max(seconds, 1e-3):.1f} frames/s', flush=True)
    stop_signal.immediate()
    report = evaluate_and_report(
        plan.run_dir, plan.episodes, plan.videos,
        {'Set-up': duration(prepared_s), 'Command': shlex.join(['samg', *sys.argv[1:]])})
    print(report, flush=True)
    return 0


def run_graph(plan: TrainPlan, parameter_file: Path, stop_signal: StopSignal,
              record: Path | None = None) -> dict[str, Any] | None:
    """Run bridge, perception and trainer until the training is done or a signal comes.

    Args:
        plan: what to train.
        parameter_file: ROS parameters of the nodes.
        stop_signal: is deferred while the nodes run, so that they can save.
        record: MCAP file to record the session in; None for none.

    Returns:
        `Learner.progress` at the end; None if it stopped before there was a learner.

    Raises:
        SamgError: the first error of a node.
    """
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from samg_ros.nodes.base import close, make_executor, spin
    from samg_ros.nodes.parameters import overrides
    from samg_ros.nodes.perception import Perception
    from samg_ros.nodes.train_plan import REMAPPINGS
    from samg_ros.nodes.trainer import Trainer
    from samg_ros.sim.bridge_node import MujocoBridge

    rclpy.init(args=['--ros-args', '--params-file', str(parameter_file)],
               signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[Any] = []
    executor = make_executor()
    display = None
    try:
        if record is not None:
            from samg_ros.nodes.recorder import Recorder

            nodes.append(Recorder(record))  # before those that it listens to
            executor.add_node(nodes[0])
        classes: list[tuple[str, Any]] = [('trainer', Trainer), ('mujoco_bridge', MujocoBridge)]
        if plan.needs_reference:
            classes.insert(1, ('perception', Perception))
        for name, node_class in classes:
            remapped = [part for pair in REMAPPINGS.get(name, ())
                        for part in ('-r', f'{pair[0]}:={pair[1]}')]
            node = node_class(cli_args=['--ros-args', *remapped],
                              parameter_overrides=overrides(plan.parameters(name)))
            nodes.append(node)
            executor.add_node(node)
            node.start()
        trainer = next(node for node in nodes if isinstance(node, Trainer))
        display = ProgressDisplay(trainer)
        stop_signal.defer()

        def over() -> bool:
            return stop_signal.requested or trainer.finished or any(
                node.error is not None for node in nodes)

        spin(executor, over)
        for node in nodes:
            if node.error is not None:
                raise node.error
        display.update(force=True)
        progress: dict[str, Any] | None = trainer.progress
        return progress
    finally:
        stop_signal.defer()
        if display is not None:
            display.close()
        close(nodes)
        executor.shutdown()
        rclpy.try_shutdown()


class ProgressDisplay:
    """Shows a trainer's progress on stderr: return, mask IoU, frames/s, time left."""

    def __init__(self, trainer: Any, period_s: float = 0.25) -> None:
        """Create a timer of the trainer that keeps the line up to date."""
        from rclpy.clock import Clock
        from rclpy.clock_type import ClockType

        from samg_ros.rl.progress import ProgressLine

        self._trainer = trainer
        self._line = ProgressLine()
        self._timer = trainer.create_timer(period_s, lambda: self.update(),  # no TimerInfo
                                           clock=Clock(clock_type=ClockType.STEADY_TIME))

    def update(self, force: bool = False) -> None:
        """Show where the training stands."""
        from samg_ros.rl.progress import progress_line

        progress = self._trainer.progress
        if progress is not None:
            self._line.update(progress_line(progress), force)

    def close(self) -> None:
        """Leave the line as it is."""
        self._timer.cancel()
        self._line.close()
