# SPDX-License-Identifier: Apache-2.0
"""The graph that a bag is played to: one set of choices, turned into nodes.

Only what came from the robot is played: camera and joints. What had been done with it then (true
masks, actions) is read from the bag itself, so that it does not get in the way of what is done now.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samg_ros.bags.bag import open_bag
from samg_ros.bags.topics import COMPRESSED, Topics, find_topics
from samg_ros.errors import BagError, ConfigError
from samg_ros.files.share import absolute
from samg_ros.graphs import checkpoint_parameters
from samg_ros.graphs.spec import NodeSpec, given_only
from samg_ros.perception import parameters as perception_parameters
from samg_ros.rl.evaluation.actors import camera_names
from samg_ros.rl.evaluation.shipped import find_checkpoint
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint
from samg_ros.ros.given_parameters import given_parameters, unless_given

PARAMETER_FILE = 'config/bag_eval.yaml'
_LISTENERS = 2
"""Of the camera: who masks or acts, and the evaluator."""


@dataclass(frozen=True)
class BagPlan:
    """Which topics of a bag are played, how fast, and the nodes that receive them."""

    nodes: tuple[NodeSpec, ...]
    """The graph without a player; the evaluator is the last."""
    bag: Path
    played: Sequence[str]
    """Topics of the bag, the camera first."""
    rate: float

    @property
    def player(self) -> NodeSpec:
        """Our own player, where `ros2 bag play` is not to be had."""
        return NodeSpec('bag_player', {'bag': str(self.bag), 'topics': list(self.played),
                                       'rate': self.rate, 'listeners': _LISTENERS})

    @property
    def command(self) -> list[str]:
        """The command line of ROS's own player."""
        return ['ros2', 'bag', 'play', str(self.bag), '--rate', str(self.rate),
                '--topics', *self.played]


def make_plan(bag: str, policy: str = '', reference: str = '', model: str = '', weights: str = '',
              device: str = 'cpu', image: str = '', truth: str = '', joint_states: str = '',
              command: str = '', rate: str = '1.0', out: str = 'bag_eval', json: str = '',
              params_file: str = '') -> BagPlan:
    """Check the choices of an evaluation and complete them.

    Args:
        bag: folder or file.
        policy: checkpoint file or run folder; empty for masks alone.
        reference: folder or image; empty takes the policy's own.
        model: masking model; empty takes the policy's, or the parameter file's.
        weights: its weights.
        device: torch device of masker and policy.
        image: topic of the camera; empty for the bag's only one; the next three likewise.
        truth: true masks.
        joint_states: joints.
        command: recorded actions.
        rate: speed of playing.
        out: folder for what comes out.
        json: further file for the figures; empty for none.
        params_file: parameter file of the user, which wins over the checkpoint; empty for none.

    Raises:
        SamgError: if one of them is not usable.
    """
    if not bag:
        raise BagError('name the bag to play: the folder of `ros2 bag record`, or its file')
    path = Path(bag).expanduser().resolve()
    opened = open_bag(path)
    topics = find_topics(opened, image or None, truth or None, joint_states or None,
                         command or None)
    checkpoint_path = find_checkpoint(Path(policy).expanduser()).resolve() if policy else None
    checkpoint = None if checkpoint_path is None else load_checkpoint(checkpoint_path)
    if checkpoint is not None and (more := camera_names(checkpoint.agent)[1:]):
        raise ConfigError(f'the policy also sees the camera {", ".join(more)}, and one camera is '
                          'played; samg eval bag shows it all of them')
    source = 'masked' if checkpoint is None else checkpoint.config.observation.source
    if source == 'truth':
        raise BagError("the policy was trained on the simulator's true masks; a bag is masked by a "
                       'masker, so take a policy that was trained behind one')
    if source == 'masked' and not reference and (checkpoint is None or not checkpoint.reference):
        raise ConfigError('frames are masked with a reference: give one, or a policy that carries '
                          'one')
    camera = topics.image.removesuffix('/compressed')
    info = posixpath.join(posixpath.dirname(camera), 'camera_info')
    nodes = []
    fill = [0, 0, 0]
    if source == 'masked':
        parameters = unless_given(_masker(checkpoint), params_file, 'perception')
        if model:
            parameters['weights'] = ''  # those of the policy and of the file are of another model
        elif 'model' not in parameters:
            parameters.pop('weights', None)  # the file names another model
        parameters |= given_only({'model': model, 'weights': weights})
        given = given_parameters(params_file, 'perception') if params_file else {}
        fill = given.get('fill', parameters.get('fill', fill))
        nodes.append(NodeSpec('perception', {
            **parameters, 'device': device,
            'reference': absolute(reference) or str(checkpoint_path),
            'image_transport': perception_parameters.COMPRESSED
            if opened.topics[topics.image] == COMPRESSED else perception_parameters.RAW},
            (('image', camera), ('camera_info', info))))
    elif camera != topics.image:
        raise BagError(f"the policy sees raw frames, and '{topics.image}' is compressed")
    if checkpoint is not None:
        nodes.append(NodeSpec('policy', {'checkpoint': str(checkpoint_path), 'device': device},
                              (('camera/image_raw', camera),
                               *((('joint_states', topics.joint_states),)
                                 if topics.joint_states else ()))))
    nodes.append(NodeSpec('bag_evaluator', {
        'bag': str(path), **_named(topics), 'checkpoint': str(checkpoint_path or ''),
        'fill': fill, 'out': absolute(out), 'json': absolute(json)}))
    played = [topics.image, info, *filter(None, [topics.joint_states])]
    return BagPlan(tuple(nodes), path, [name for name in played if name in opened.topics],
                   _rate(rate))


def _masker(checkpoint: Checkpoint | None) -> dict[str, Any]:
    return {} if checkpoint is None else checkpoint_parameters.of_perception(checkpoint)


def _named(topics: Topics) -> dict[str, str]:
    return {name: topic or '' for name, topic in vars(topics).items()}


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.01 <= rate <= 100:
        raise ConfigError(f'rate {text} must be a number from 0.01 to 100')
    return rate
