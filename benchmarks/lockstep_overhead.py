# SPDX-License-Identifier: Apache-2.0
"""What ROS costs a lockstep step: the whole training graph in one process, less its real work.

Bridge, perception and trainer run as in `samg run sim_train`, with a learner that only acts. Time
in the simulator, the masker and the learner is taken out; what is left is messages, DDS, executor
and conversions. CPU time is that of the executor's thread, which other load disturbs less than it
does wall time. Run it alone: `python benchmarks/lockstep_overhead.py`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from samg_ros.files.share import share_file
from samg_ros.graphs.one_process import make_node
from samg_ros.graphs.sim_train import make_plan, prepare_reference
from samg_ros.masking import Masker
from samg_ros.rl.training.learner import Learner
from samg_ros.ros.compat import make_executor
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.node import close, spin
from samg_ros.sim.env import SimEnv

EXECUTORS: dict[str, Callable[[], Any]] = {
    'events': make_executor, 'single_threaded': SingleThreadedExecutor}
WORK = ((SimEnv, 'step'), (SimEnv, 'reset'), (Masker, 'predict'), (Learner, 'step'))


class Stopwatch:
    """Adds up wall time and CPU time of this thread inside given methods."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def watch(self, owner: Any, name: str) -> None:
        """Count the time in a method of a class from now on."""
        method = getattr(owner, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return method(*arguments, **options)
            finally:
                self.wall_s += time.perf_counter() - wall
                self.cpu_s += time.thread_time() - cpu

        setattr(owner, name, timed)


def measure(task: str, steps: int, executor: Any, watch: Stopwatch, folder: Path) -> list[Any]:
    """Run the graph; return per step of its second half: wall, CPU, wall of work, CPU of work."""
    # Only random actions: the agent's forward pass is not what is measured.
    settings = {'random_steps': steps, 'update_after': steps + 1, 'checkpoint_every': 10 * steps}
    plan = make_plan(task, method='rl', steps=steps, overrides=json.dumps(settings), run_dir=folder)
    prepare_reference(plan)
    nodes: list[Any] = []
    marks: list[tuple[float, float, float, float]] = []
    try:
        for spec in plan.nodes:
            node = make_node(spec)
            nodes.append(node)
            executor.add_node(node)
            node.start()
        trainer = nodes[0]

        def stop() -> bool:
            if len(marks) < trainer.answers:
                marks.append((time.perf_counter(), time.thread_time(), watch.wall_s, watch.cpu_s))
            return trainer.finished or any(node.error is not None for node in nodes)

        spin(executor, stop)
        for node in nodes:
            if node.error is not None:
                raise node.error
    finally:
        close(nodes)
        executor.shutdown()
    return list(np.diff(np.array(marks[len(marks) // 2:]), axis=0))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', default='cartpole_swingup')
    parser.add_argument('--steps', type=int, default=600)
    parser.add_argument('--json', type=Path, help='also write the figures there')
    args = parser.parse_args()
    choose_domain()
    watch = Stopwatch()
    for owner, name in WORK:
        watch.watch(owner, name)
    rows: dict[str, dict[str, float]] = {}
    print(f'{"executor":16} {"step ms":>9} {"work ms":>9} {"ROS ms":>8} {"p95":>7} '
          f'{"ROS CPU ms":>11}')
    for label, executor_class in EXECUTORS.items():
        rclpy.init(args=['--ros-args', '--params-file', str(share_file('config/sim_train.yaml'))],
                   signal_handler_options=SignalHandlerOptions.NO)
        with tempfile.TemporaryDirectory() as folder:
            steps = 1e3 * np.array(measure(args.task, args.steps, executor_class(), watch,
                                           Path(folder)))
        rclpy.try_shutdown()
        wall, cpu, work, work_cpu = steps.T
        rows[label] = {'step_ms': float(np.median(wall)), 'work_ms': float(np.median(work)),
                       'ros_ms': float(np.median(wall - work)),
                       'ros_p95_ms': float(np.percentile(wall - work, 95)),
                       'ros_cpu_ms': float(np.median(cpu - work_cpu))}
        print(f'{label:16} {rows[label]["step_ms"]:9.2f} {rows[label]["work_ms"]:9.2f} '
              f'{rows[label]["ros_ms"]:8.2f} {rows[label]["ros_p95_ms"]:7.2f} '
              f'{rows[label]["ros_cpu_ms"]:11.2f}', flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
