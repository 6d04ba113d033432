# SPDX-License-Identifier: Apache-2.0
"""Runs a trained policy in front of an arm: camera, perception, policy.

    ros2 launch samg_ros arm.launch.py policy:=runs/arm_reach-quick-0 sim:=true
    ros2 launch samg_ros arm.launch.py policy:=... camera:=usb_cam limits:=joint_limits.yaml

Each node is a process, and a lifecycle manager brings them up in order. When any of them dies all
end, and the last thing that the arm gets is the policy's safe action. The policy starts disabled;
docs/deploy.md goes on from there. `samg run arm` is the same graph in one process.
"""

from typing import Any

from launch import LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import ARM, Argument, params_file
from samg_ros.graphs.launch_actions import RVIZ, describe, node, rviz

NO_CAMERA = 'none'
CAMERA = Argument('camera', NO_CAMERA, 'Camera driver to start; none for one that runs already, on '
                  'the topic image.', choices=(NO_CAMERA, 'usb_cam', 'realsense2_camera'))


def generate_launch_description() -> LaunchDescription:
    return describe((*ARM, CAMERA, params_file('arm.yaml'), RVIZ), make_nodes)


def make_nodes(given: dict[str, Any]) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.errors import ConfigError
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.arm import CAMERAS, PARAMETER_FILE, make_plan

    plan = make_plan(given['params_file'], **{argument.name: given[argument.name]
                                              for argument in ARM})
    parameters = parameter_file(given['params_file'], PARAMETER_FILE)
    driver = given['camera']
    if driver != NO_CAMERA and (plan.sim or given['image']):
        raise ConfigError(f"camera:={driver} publishes on a topic of its own; leave out "
                          f"{'sim' if plan.sim else 'image'}, or the camera")
    camera = [] if driver == NO_CAMERA else [CAMERAS[driver]]
    return [*(node(spec, parameters) for spec in (*camera, *plan.nodes)), rviz('config/arm.rviz')]
