# SPDX-License-Identifier: Apache-2.0
"""`samg run arm`: the graph of arm.launch.py, in one process.

With `--sim` all of it is here, so it takes a ROS domain of its own as `samg run sim_train` does.
Without, camera driver and controller run elsewhere, and it joins them in the user's domain.
"""

from __future__ import annotations

import argparse

from samg_ros.graphs.arguments import ARM, add_record, add_to_parser, from_namespace, params_file
from samg_ros.ros.signals import INTERRUPTED, StopSignal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_to_parser(parser, (*ARM, params_file('arm.yaml')))
    add_record(parser)


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until the episodes asked for are over.

    Returns:
        0, or 130 after Ctrl-C before the end of the episodes.

    Raises:
        SamgError: one line that says what is wrong.
    """
    # Nothing heavy is imported before this line: see StopSignal.
    with StopSignal(INTERRUPTED, 'samg: interrupted') as stop_signal:
        return _run(args, stop_signal)


def _run(args: argparse.Namespace, stop_signal: StopSignal) -> int:
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.arm import EPISODES, MANAGER, PARAMETER_FILE, make_plan
    from samg_ros.graphs.one_process import OneProcess
    from samg_ros.ros.domain import choose_domain, stay_on_this_machine

    plan = make_plan(args.params_file, **from_namespace(args, ARM))
    parameters = parameter_file(args.params_file, PARAMETER_FILE)
    domain = choose_domain() if plan.sim else stay_on_this_machine()
    print(f'graph in ROS_DOMAIN_ID={domain}', flush=True)
    if plan.policy is not None and not plan.episodes:
        print('the policy starts disabled; when all is well: ros2 service call /policy/enable '
              "std_srvs/srv/SetBool '{data: true}'", flush=True)
    with OneProcess(plan.nodes, parameters, stop_signal, args.record, plan.recorded,
                    [*plan.cameras][1:]) as graph:
        watched = graph[EPISODES if plan.episodes else MANAGER]
        graph.spin(lambda: watched.finished)
        return INTERRUPTED if plan.episodes and not watched.finished else 0
