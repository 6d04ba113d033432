# SPDX-License-Identifier: Apache-2.0
"""The parameters that describe a simulation, and the environment that they ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from rcl_interfaces.msg import ParameterDescriptor

from samg_ros.ros.parameters import declare
from samg_ros.sim.env import COMPOSITES, SimEnv
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.tasks import COMMAND_TOPICS
from samg_ros.sim.visual.nuisances import Nuisances

if TYPE_CHECKING:
    from rclpy.node import Node

    from samg_ros.rl.experts.advice import Advice


@dataclass(frozen=True)
class CameraName:
    """What a camera of the environment is called in the graph."""

    topic: str
    """Its topics are below this."""
    frame_id: str
    """Of its optical frame."""


def declare_simulation(node: Node) -> tuple[SimEnv, list[CameraName]]:
    """Declare a node's parameters of the simulation and build it.

    Returns:
        The environment, and the names of its cameras in their order.

    Raises:
        SamgError: if a parameter is not usable: task, setting, videos, size.
    """
    frame_id = declare(node, 'frame_id', 'camera_optical',
                       'Frame of the camera, x right, y down, z forward.')
    repeat = declare(node, 'action_repeat', 0, "Control steps per command; 0 takes the task's.",
                     between=(0, 100))
    videos = declare(node, 'videos', '', 'Folder of background videos for the video settings; '
                     'empty for procedural ones.')
    camera = declare(node, 'camera', '', "Camera of the model, by name or index; empty for the "
                     "task's.")
    more = [name for name in declare(
        node, 'more_cameras', [''], 'Further cameras of the model, by name or index; each '
        'publishes under its own name what the main one does under camera/.') if name]
    env = SimEnv(
        task=declare(node, 'task', 'walker_walk', 'Task to simulate.'),
        setting=declare(node, 'setting', 'train', 'Visual setting.'),
        seed=declare(node, 'seed', 0, 'Seed of everything random.', between=(0, 2**31 - 1)),
        height=declare(node, 'height', 84, 'Pixels.', between=(8, 4096)),
        width=declare(node, 'width', 84, 'Pixels.', between=(8, 4096)),
        quality=declare(node, 'quality', 'fast', 'Render quality; paper is pixel-identical to '
                        "dm_control's.", choices=QUALITIES),
        composite=declare(node, 'composite', 'segmentation', 'How a video is put behind the '
                          "robot; chroma_key is DMC-GB's green screen.", choices=COMPOSITES),
        control=declare(node, 'control', 'action', "What a command is: action, the task's own, "
                        'or position, joint positions on forward_position_controller/commands.',
                        choices=tuple(COMMAND_TOPICS)),
        videos=videos or None, action_repeat=repeat or None,
        camera_id=_camera_id(camera) if camera else None,
        more_cameras=[_camera_id(name) for name in more],
        nuisances={field.name: declare(
            node, f'nuisances.{field.name}', 0.0, f'Strength of the nuisance {field.name}, see '
            'docs/simulation.md.', between=(0.0, 1.0)) for field in fields(Nuisances)})
    # A camera that is called by its index needs a name that may stand in a topic.
    topics = [f'camera_{name}' if name.isdecimal() else name for name in more]
    return env, [CameraName('camera', frame_id),
                 *(CameraName(topic, f'{topic}_optical') for topic in topics)]


def declare_advice(node: Node, env: SimEnv) -> Advice | None:
    """Declare a node's parameters of an expert, and return the one that they ask for.

    Raises:
        ExpertError: if it is not one for this environment.
    """
    wanted = declare(node, 'expert', '', 'Expert whose actions go into time_step: own, the '
                     "package's for the task, or a file; empty for none. Episodes then end where "
                     'it has nothing more to show.')
    advice = None
    if wanted:
        from samg_ros.rl.experts.advice import Advice

        advice = Advice(env, None if wanted == 'own' else wanted, node.get_parameter('seed').value)
    node.declare_parameter(
        'expert_source', '' if advice is None else advice.source, ParameterDescriptor(
            name='expert_source', read_only=True,
            description="'scripted', or the SHA-256 of the expert's file; empty without one."),
        ignore_override=True)
    return advice


def _camera_id(name: str) -> int | str:
    return int(name) if name.isdecimal() else name
