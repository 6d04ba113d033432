# SPDX-License-Identifier: Apache-2.0
"""The graph that tries a trained policy in simulation: one set of choices, turned into nodes.

Simulator, masker and policy wait for each other, so the returns are those of `samg eval policy`
with the same seed, and depend on no machine's speed.
"""

from __future__ import annotations

from pathlib import Path

from samg_ros.errors import ConfigError, VideoError
from samg_ros.files.share import absolute
from samg_ros.graphs import checkpoint_parameters
from samg_ros.graphs.spec import CAMERA_REMAPPINGS, NodeSpec
from samg_ros.rl.evaluation.episodes import SEED_OFFSET
from samg_ros.rl.evaluation.shipped import find_checkpoint
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.ros.given_parameters import unless_given
from samg_ros.sim.visual.settings import get_setting

PARAMETER_FILE = 'config/sim_train.yaml'
"""The one of training: in lockstep the nodes need the same settings for both."""


def make_nodes(policy: str, setting: str = 'train', videos: str = '', reference: str = '',
               episodes: int = 10, seed: int = 0, device: str = 'cpu', json: str = '',
               params_file: str = '') -> tuple[NodeSpec, ...]:
    """Check the choices of an evaluation and return its nodes.

    Args:
        policy: checkpoint file, run folder, or task of a shipped policy.
        setting: visual setting.
        videos: folder of background videos; empty for procedural ones.
        reference: folder or image; empty takes the policy's own.
        episodes: to run.
        seed: of the simulation.
        device: torch device of masker and policy.
        json: file for the figures; empty for none.
        params_file: parameter file of the user, which wins over the checkpoint; empty for none.

    Raises:
        SamgError: if one of them is not usable.
    """
    if not policy:
        raise ConfigError('name the policy to evaluate: a checkpoint file or run folder, or the '
                          'task of a policy that comes with the package')
    path = find_checkpoint(Path(policy).expanduser()).resolve()
    checkpoint = load_checkpoint(path)
    source = checkpoint.config.observation.source
    get_setting(setting)
    if episodes < 1:
        raise ConfigError(f'episodes must be at least 1, got {episodes}')
    if videos and not Path(videos).expanduser().is_dir():
        raise VideoError(f"there is no folder of videos at '{videos}'")
    if source == 'truth':
        raise ConfigError("the policy was trained on the simulator's true masks, which no masker "
                          'makes; samg eval policy evaluates it')
    if source == 'masked' and not reference and checkpoint.reference is None:
        raise ConfigError(f"the policy in '{path}' carries no reference; give one that shows what "
                          'matters')
    perception = NodeSpec('perception', {
        **unless_given(checkpoint_parameters.of_perception(checkpoint), params_file, 'perception'),
        'device': device,
        'reference': absolute(reference) or str(path)}, CAMERA_REMAPPINGS)
    bridge = {'task': checkpoint.config.task, 'setting': setting, 'videos': absolute(videos),
              'seed': seed + SEED_OFFSET,
              **unless_given(checkpoint_parameters.of_bridge(checkpoint), params_file,
                             'mujoco_bridge')}
    return (*([perception] if source == 'masked' else []),
            NodeSpec('policy', {'checkpoint': str(path), 'lockstep': True, 'device': device}),
            NodeSpec('evaluator', {'episodes': episodes, 'setting': setting, 'seed': seed,
                                   'json': absolute(json)}),
            NodeSpec('mujoco_bridge', bridge))
