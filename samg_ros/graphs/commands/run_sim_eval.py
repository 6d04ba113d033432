# SPDX-License-Identifier: Apache-2.0
"""`samg run sim_eval`: the graph of sim_eval.launch.py, in one process."""

from __future__ import annotations

import argparse

from samg_ros.graphs.arguments import (
    SIM_EVAL,
    add_record,
    add_to_parser,
    from_namespace,
    params_file,
)
from samg_ros.ros.signals import INTERRUPTED, StopSignal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_to_parser(parser, (*SIM_EVAL, params_file('sim_train.yaml')))
    add_record(parser)


def run(args: argparse.Namespace) -> int:
    """Run the episodes; every return is printed, and the mean last.

    Returns:
        0, or 130 after Ctrl-C.

    Raises:
        SamgError: one line that says what is wrong.
    """
    # Nothing heavy is imported before this line: see StopSignal.
    with StopSignal(INTERRUPTED, 'samg: interrupted') as stop_signal:
        from samg_ros.files.share import parameter_file
        from samg_ros.graphs.one_process import OneProcess
        from samg_ros.graphs.sim_eval import PARAMETER_FILE, make_nodes
        from samg_ros.ros.domain import choose_domain

        nodes = make_nodes(params_file=args.params_file, **from_namespace(args, SIM_EVAL))
        parameters = parameter_file(args.params_file, PARAMETER_FILE)
        print(f'graph in ROS_DOMAIN_ID={choose_domain()}', flush=True)
        with OneProcess(nodes, parameters, stop_signal, args.record) as graph:
            evaluator = graph['evaluator']
            graph.spin(lambda: evaluator.finished)
            return 0 if evaluator.finished else INTERRUPTED
