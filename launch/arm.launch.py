# SPDX-License-Identifier: Apache-2.0
"""Runs a trained policy in front of an arm: camera, perception, policy.

    ros2 launch samg_ros arm.launch.py policy:=runs/arm_reach-clone-0 use_sim:=true
    ros2 launch samg_ros arm.launch.py policy:=... camera:=usb_cam limits:=joint_limits.yaml

Each node is a process, and a lifecycle manager brings them up in order. When any of them dies all
of this file end, and the last thing that the arm gets is the policy's safe action. The policy
starts disabled; docs/deploy.md goes on from there. `samg run arm` is the same graph in one process.
"""

from dataclasses import replace

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from samg_ros.graphs.arguments import ARM, Argument, params_file
from samg_ros.graphs.launch_actions import COMMON, Graph, declarations, read

NO_CAMERA = 'none'
ARGUMENTS = (
    *ARM,
    Argument('camera', NO_CAMERA, 'Camera driver to start; none for one that runs already, on '
             'the topic image.', choices=(NO_CAMERA, 'usb_cam', 'realsense2_camera')),
    Argument('autostart', True, 'Configure and activate perception and policy; false leaves that '
             'to you: ros2 lifecycle set.'),
    Argument('use_respawn', False, 'Start a node again when it dies, with the policy disabled, '
             'instead of ending the graph; without lifecycle_manager.'),
    params_file('arm.yaml'), *COMMON)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([
        *(DeclareLaunchArgument(**each) for each in declarations(ARGUMENTS)),
        OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments and return the nodes."""
    from samg_ros.errors import ConfigError
    from samg_ros.files.share import parameter_file
    from samg_ros.graphs.arm import CAMERAS, EPISODES, MANAGER, PARAMETER_FILE, make_plan

    given = read(context, ARGUMENTS)
    plan = make_plan(given['params_file'], **{argument.name: given[argument.name]
                                              for argument in ARM})
    driver, respawn, autostart = given['camera'], given['use_respawn'], given['autostart']
    if driver != NO_CAMERA and (plan.sim or given['image']):
        raise ConfigError(f"camera:={driver} publishes on a topic of its own; leave out "
                          f"{'use_sim' if plan.sim else 'image'}, or the camera")
    nodes = list(plan.nodes)
    if respawn or not autostart:  # each node for itself
        nodes = [replace(spec, managed=False, parameters={**spec.parameters,
                                                          'autostart': autostart})
                 if spec.managed else spec for spec in nodes if spec.name != MANAGER]
    if driver != NO_CAMERA:
        nodes.insert(0, CAMERAS[driver])
    graph = Graph(context, given, parameter_file(given['params_file'], PARAMETER_FILE))
    return [*graph.add(*(Node(remappings=node.remappings,
                              **graph.settings(node, respawn and node.name != EPISODES))
                         for node in nodes)),
            *graph.rviz('config/arm.rviz')]
