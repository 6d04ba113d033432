# SPDX-License-Identifier: Apache-2.0
"""Trains a policy on masked frames of a simulated robot: simulator, perception, trainer.

    ros2 launch samg_ros sim_train.launch.py task:=walker_walk

Each node is a process. When the trainer has finished and written its report, or when any of them
dies, all end. `samg run sim_train` is the same graph in one process.
"""

from typing import Any

from launch.actions import LogInfo

from launch import LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import SIM_TRAIN, params_file
from samg_ros.graphs.launch_actions import RVIZ, describe, node, rviz


def generate_launch_description() -> LaunchDescription:
    return describe((*SIM_TRAIN, params_file('sim_train.yaml'), RVIZ), make_nodes)


def make_nodes(given: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    """Check the arguments, prepare the reference, and return the nodes."""
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.sim_train import PARAMETER_FILE, make_plan, prepare_reference

    plan = make_plan(**{argument.name: given[argument.name] for argument in SIM_TRAIN})
    parameters = parameter_file(given['params_file'], PARAMETER_FILE)
    return [LogInfo(msg=f'run folder: {plan.run_dir}'), LogInfo(msg=prepare_reference(plan)),
            *(node(spec, parameters) for spec in plan.nodes), rviz('config/samg.rviz')]
