# SPDX-License-Identifier: Apache-2.0
"""Trains a policy on masked frames of a simulated robot: simulator, perception, trainer.

    ros2 launch samg_ros sim_train.launch.py task:=walker_walk

Each node is a process. When the trainer has finished and written its report, or when any of them
dies, all end. `samg run sim_train` is the same graph in one process.
"""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ARGUMENTS = (
    ('task', 'walker_walk', 'Task to train on, such as walker_walk or cartpole_swingup.'),
    ('setting', 'train', 'Visual setting to train in: train, color_easy, color_hard, video_easy '
     'or video_hard.'),
    ('preset', 'quick', 'Training settings: quick (two CPU cores, minutes) or paper (a GPU).'),
    ('reference', '', 'Reference folder or image that says what matters; empty to render one from '
     'the simulator into the run folder.'),
    ('videos', '', 'Folder of background videos for the video settings; empty for procedural '
     'ones.'),
    ('model', '', 'Masking model: mini, or a pair such as dinov2-b+sam-vit-b; empty takes the '
     "parameter file's, mini."),
    ('weights', '', "Weights of the model, NAME=PATH,NAME=PATH for a pair; empty for the "
     "package's."),
    ('run_dir', '', 'Run folder; empty for runs/TASK-PRESET-SEED. A run that is there goes on.'),
    ('seed', '0', 'Seed of everything random.'),
    ('steps', '0', "Agent steps; 0 takes the preset's."),
    ('overrides', '', 'Other training settings as JSON, such as {"batch_size": 64}.'),
    ('episodes', '5', 'Episodes per visual setting in the report.'),
    ('params_file', '', "ROS parameters of the nodes; empty for the package's sim_train.yaml."),
)
NODES = ('mujoco_bridge', 'perception', 'trainer')


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument(name, default_value=default, description=description)
                 for name, default, description in ARGUMENTS]
    rviz = DeclareLaunchArgument('rviz', default_value='false', choices=['true', 'false'],
                                 description='Show camera, mask and masked image in RViz.')
    return LaunchDescription([*arguments, rviz, OpaqueFunction(function=make_nodes)])


def make_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Check the arguments, prepare the reference, and return the nodes."""
    from samg_ros.nodes.files import share_file
    from samg_ros.nodes.train_plan import REMAPPINGS, make_plan, prepare_reference

    given = {name: context.launch_configurations[name] for name, _, _ in ARGUMENTS}
    plan = make_plan(
        given['task'], given['preset'], given['setting'], whole(given, 'seed'),
        whole(given, 'steps'), given['overrides'], given['run_dir'], given['reference'],
        given['videos'], whole(given, 'episodes'), given['model'], given['weights'])
    parameter_file = given['params_file'] or str(share_file('config/sim_train.yaml'))
    entities: list[LaunchDescriptionEntity] = [
        LogInfo(msg=f'run folder: {plan.run_dir}'), LogInfo(msg=prepare_reference(plan))]
    for name in NODES:
        if name == 'perception' and not plan.needs_reference:
            continue
        entities.append(Node(
            package='samg_ros', executable=name, name=name,
            parameters=[parameter_file, plan.parameters(name)],
            remappings=list(REMAPPINGS.get(name, ())), output='screen', on_exit=end_all))
    entities.append(Node(
        package='rviz2', executable='rviz2', arguments=['-d', str(share_file('config/samg.rviz'))],
        condition=IfCondition(LaunchConfiguration('rviz'))))
    return entities


def whole(given: dict[str, str], name: str) -> int:
    """Return an argument as a whole number."""
    from samg_ros.errors import ConfigError

    try:
        return int(given[name])
    except ValueError as error:
        raise ConfigError(
            f'launch argument {name}:={given[name]} must be a whole number') from error


def end_all(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End the graph with the node that ended; launch exits with 1 if it did not end well."""
    if context.is_shutdown:
        return []
    if event.returncode:
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}; its '
                           'output above says why')
    return [Shutdown(reason=f'{event.process_name} has finished')]
