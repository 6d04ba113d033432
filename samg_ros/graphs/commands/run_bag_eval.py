# SPDX-License-Identifier: Apache-2.0
"""`samg run bag_eval`: the graph of bag_eval.launch.py in one process, with our own player."""

from __future__ import annotations

import argparse

from samg_ros.graphs.arguments import BAG_EVAL, add_to_parser, from_namespace, params_file
from samg_ros.ros.signals import INTERRUPTED, StopSignal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_to_parser(parser, (*BAG_EVAL, params_file('bag_eval.yaml')))


def run(args: argparse.Namespace) -> int:
    """Play the bag, then print the table and write the page.

    Returns:
        0, or 130 after Ctrl-C.

    Raises:
        SamgError: one line that says what is wrong.
    """
    # Nothing heavy is imported before this line: see StopSignal.
    with StopSignal(INTERRUPTED, 'samg: interrupted') as stop_signal:
        from samg_ros.files.share import parameter_file
        from samg_ros.graphs.bag_eval import PARAMETER_FILE, make_plan
        from samg_ros.graphs.one_process import OneProcess
        from samg_ros.ros.domain import choose_domain

        plan = make_plan(params_file=args.params_file, **from_namespace(args, BAG_EVAL))
        parameters = parameter_file(args.params_file, PARAMETER_FILE)
        print(f'graph in ROS_DOMAIN_ID={choose_domain()}', flush=True)
        with OneProcess([*plan.nodes, plan.player], parameters, stop_signal) as graph:
            evaluator = graph['bag_evaluator']
            graph.spin(lambda: evaluator.finished)
        if not evaluator.finished:
            return INTERRUPTED
        stop_signal.immediate()
        evaluator.finish()
        return 0
