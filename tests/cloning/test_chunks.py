# SPDX-License-Identifier: Apache-2.0
"""Chunks are read by time, blended by age, and predicted in the units of the actions."""

import numpy as np
import pytest
import torch

from samg_ros.errors import ConfigError
from samg_ros.rl.agents.chunk_blender import ChunkBlender
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings

PERIOD_S = 0.1


def ramp(begin, count=4):
    """A chunk whose action is `begin` and one more with every period."""
    return begin + np.arange(count, dtype=float)[:, None]


def test_one_chunk_is_followed_by_time_not_by_count():
    blender = ChunkBlender(4, PERIOD_S, 0.0)
    blender.add(5.0, ramp(0.0))
    assert [float(blender.at(5.0 + t)[0]) for t in (0.0, 0.05, 0.2, 0.3)] == pytest.approx(
        [0.0, 0.5, 2.0, 3.0])
    assert blender.at(5.5) is None  # it ends


def test_the_newest_chunk_weighs_most_and_without_blending_alone():
    both = {}
    for blend_s in (0.0, 0.1, 1e9):
        blender = ChunkBlender(4, PERIOD_S, blend_s)
        blender.add(0.0, ramp(0.0))
        blender.add(0.1, ramp(10.0))
        both[blend_s] = float(blender.at(0.1)[0])
    assert both[0.0] == 10.0
    assert both[1e9] == pytest.approx((1.0 + 10.0) / 2)
    weight = np.exp(-1.0)
    assert both[0.1] == pytest.approx((10.0 + weight * 1.0) / (1 + weight))


def test_chunks_that_agree_are_not_changed_by_blending():
    blender = ChunkBlender(4, PERIOD_S, 0.3)
    for index in range(3):
        blender.add(index * PERIOD_S, ramp(float(index)))
    assert float(blender.at(0.2)[0]) == pytest.approx(2.0)


def settings(**changes):
    return ChunkSettings(**{'cameras': ('front',), 'joints': 2, 'actions': 3, 'chunk': 4,
                            'pixels': (3, 16, 16), 'channels': (4, 4), 'hidden_dim': 8, **changes})


def test_settings_travel_as_text_and_bad_ones_are_named():
    given = settings(cameras=('front', 'wrist'), blend_s=0.2)
    assert ChunkSettings.from_json(given.to_json()) == given
    for changes, words in (({'chunk': 0}, 'chunk must be at least 1'),
                           ({'every': 5}, 'a chunk has 4'),
                           ({'learned': 'efforts'}, 'learned must be one of'),
                           ({'period_s': 0.0}, 'period_s must be above 0')):
        with pytest.raises(ConfigError, match=words):
            settings(**changes)
    with pytest.raises(ConfigError, match='settings of the chunk policy'):
        ChunkSettings.from_json('{"eyes": 2}')


def test_predictions_are_in_the_units_of_the_actions():
    network = ChunkNetwork(settings())
    network.action_mean.fill_(5.0)
    network.action_scale.fill_(0.0)
    chunk = network.predict([torch.zeros(2, 3, 16, 16, dtype=torch.uint8)], torch.zeros(2, 2))
    assert chunk.shape == (2, 4, 3) and torch.equal(chunk, torch.full((2, 4, 3), 5.0))
