# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning that begins with episodes of an expert."""

import numpy as np
import pytest

from samg_ros.errors import ConfigError, ExpertError
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.data.replay import Replay
from samg_ros.rl.presets import preset
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.direct import train_direct
from samg_ros.rl.training.expert_episodes import ExpertEpisodes


def settings(task='cartpole_swingup', **changes):
    values = {'steps': 20, 'update_after': 5, 'random_steps': 5, 'batch_size': 8,
              'camera_size': 32, 'hidden_dim': 16, 'feature_dim': 8, 'action_repeat': 50,
              'convolutions': [[4, 3, 2]], 'expert_episodes': 2, 'demonstrated_share': 0.5,
              'observation': {'size': 16, 'source': 'truth'}}
    return preset('quick', task, **{**values, **changes})


def test_the_replay_begins_with_the_experts_episodes_and_a_resumed_run_has_them(tmp_path):
    episodes = ExpertEpisodes(settings())
    assert len(episodes) == 2 * 21
    steps = list(episodes)
    assert [index for index, (_, action) in enumerate(steps) if action is None] == [0, 21]
    for _ in range(2):  # the second time it is done already
        train_direct(settings(), tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.counters['demonstrated'] == 42
    assert checkpoint.replay['count'] == 42 + 21
    kept = np.load(tmp_path / 'replay' / 'frames.npy', mmap_mode='r')
    assert np.array_equal(kept[41], steps[41][0].observation['pixels'][-3:])


def test_a_share_of_each_batch_is_drawn_from_the_first_time_steps(tmp_path):
    spec = ObservationSpec(size=8, frame_stack=1)
    replay = Replay(tmp_path, spec, 1, 100, 5, seed=0)
    for number in range(60):
        pixels = np.zeros(spec.pixels_shape, np.uint8)
        action = None if number % 20 == 0 else np.full(1, number, np.float32)
        replay.add(pixels, None, action, 0.0, 1.0)
    drawn = replay.sample(40, 1, 0.9, first_steps=20, share=0.5).action.numpy().ravel()
    assert (drawn[:20] < 20).all() and (drawn[20:] > 20).any()
    replay.close()


def test_what_does_not_fit_is_named():
    with pytest.raises(ExpertError, match='reacher_easy'):
        ExpertEpisodes(settings('reacher_easy'))
    with pytest.raises(ConfigError, match='demonstrated_share: Expected `float` <= 1.0, got'):
        TrainConfig(demonstrated_share=1.5)
