# SPDX-License-Identifier: Apache-2.0
"""A policy of two cameras in the simulator's episodes, and as a file to take elsewhere."""

import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.evaluation.episodes import SEED_OFFSET, evaluate_policy
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.shipped import write_acting_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.sim.env import SimEnv

SIDE = 48
CAMERAS = ('camera', 'left_close')


@pytest.fixture(scope='module')
def steps():
    """The first steps of the episode that is evaluated, as both cameras show it."""
    env = SimEnv('arm_reach', seed=3 + SEED_OFFSET, height=SIDE, width=SIDE,
                 more_cameras=CAMERAS[1:])
    yield [env.reset()]
    env.close()


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, steps):
    """An untrained policy that was cloned from frames of both cameras."""
    settings = ChunkSettings(CAMERAS, 0, 9, chunk=2, channels=(4, 4), hidden_dim=8,
                             pixels=(3, SIDE, SIDE))
    spec = ObservationSpec(size=SIDE, frame_stack=1)
    references = [Reference(view.frame, np.array(view.mask)) for view in steps[0].views]
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1, second_look=False))
    path = tmp_path_factory.mktemp('run') / 'checkpoint.pt'
    save_checkpoint(path, Checkpoint(
        TrainConfig(task='arm_reach', camera_size=SIDE, action_repeat=1, observation=spec),
        np.full(9, -0.5), np.full(9, 0.5),
        {CHUNKS: settings.to_json(), NETWORK: ChunkNetwork(settings).state_dict()},
        reference=references[0], more_references={CAMERAS[1]: references[1]},
        masker=masker.describe()))
    return path


@pytest.mark.parametrize('shown', ['truth', 'masked', 'blind'])
def test_in_episodes_it_sees_both_cameras_each_masked(checkpoint, steps, shown):
    policy, seen = load_policy(checkpoint), []
    act = policy.act
    policy.act = lambda observation, *rest, **named: (
        seen.append(observation), act(observation, *rest, **named))[1]
    results = evaluate_policy(policy, 'arm_reach', 'train', 1, 3, max_steps=2,
                              shown='trained' if shown == 'masked' else shown)
    assert len(results.returns) == 1 and len(seen) == 3
    masks = {'truth': lambda view, masker: np.array(view.mask),
             'masked': lambda view, masker: masker(view.frame[None])[0],
             'blind': lambda view, masker: np.zeros_like(view.mask)}
    maskers = [policy.masker(), policy.more_maskers()[CAMERAS[1]]]
    for key, view, masker in zip(('pixels', 'pixels.left_close'), steps[0].views, maskers,
                                 strict=True):
        wanted = apply_mask(view.frame, masks[shown](view, masker), policy.spec.fill)
        assert np.array_equal(seen[0][key], wanted.transpose(2, 0, 1))


def test_what_acts_of_it_is_one_small_file_with_both_references(checkpoint, tmp_path):
    written = load_policy(write_acting_policy(checkpoint, tmp_path / 'small.pt'))
    whole = load_policy(checkpoint)
    assert written.cameras == whole.cameras == CAMERAS
    assert np.array_equal(written.more_references[CAMERAS[1]].mask,
                          whole.more_references[CAMERAS[1]].mask)
    frame = np.full((SIDE, SIDE, 3), 90, np.uint8)
    actions = [policy.act(policy.observer().reset(frame, more={CAMERAS[1]: frame}), 0.0, True)
               for policy in (written, whole)]
    assert np.abs(actions[0] - actions[1]).max() < 0.01


def test_a_camera_without_a_reference_is_named(checkpoint):
    policy = load_policy(checkpoint)
    policy.more_references = {}
    with pytest.raises(CheckpointError, match='carries no reference'):
        policy.more_maskers()


def test_a_damaged_description_of_the_cameras_is_refused(checkpoint, tmp_path):
    values = torch.load(checkpoint, weights_only=True)
    values['agent'][CHUNKS] = '{"cameras": []}'
    torch.save(values, tmp_path / 'checkpoint.pt')
    with pytest.raises(CheckpointError, match="the checkpoint's chunks"):
        load_policy(tmp_path)
