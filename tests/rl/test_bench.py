# SPDX-License-Identifier: Apache-2.0
"""`samg bench learning`: every configuration that was asked for, in turns, on one batch size."""

import json

import pytest
import torch

from samg_ros import cli
from samg_ros.errors import ConfigError
from samg_ros.rl.commands.bench import measure_learning, random_batch


def test_the_command_prints_and_writes_a_row_for_each_agent_and_type(tmp_path, capsys):
    path = tmp_path / 'rows.json'
    assert cli.main(['bench', 'learning', '--preset', 'quick', '--agents', 'drqv2', 'svea',
                     '--dtypes', 'float32', 'bfloat16', '--set', 'batch_size=2',
                     '--set', 'strong_augmentation=convolution', '--turns', '2',
                     '--json', str(path)]) == 0
    rows = json.loads(path.read_text())
    assert [(row['agent'], row['dtype']) for row in rows] == [
        ('drqv2', 'float32'), ('drqv2', 'bfloat16'), ('svea', 'float32'), ('svea', 'bfloat16')
    ]
    for row in rows:
        assert row['batch'] == 2
        assert row['updates_per_s'] == pytest.approx(1000 / row['update_ms'])
        assert 0 < row['act_ms'] < row['update_ms']
    assert capsys.readouterr().out.count('\n') == 5


def test_the_batch_has_the_shapes_of_the_configuration(small):
    config = small(observation={'size': 16, 'proprioception': ['slider', 'hinge']})
    batch = random_batch(config, 3, 0)
    assert batch.pixels.shape == batch.next_pixels.shape == (8, 9, 16, 16)
    assert batch.pixels.dtype == torch.uint8
    assert batch.joints.shape == (8, 2)
    assert batch.action.shape == (8, 3)
    assert batch.reward.shape == batch.discount.shape == (8, 1)


def test_no_turns_are_refused(small):
    with pytest.raises(ConfigError, match='turns'):
        measure_learning([small()], turns=0)
