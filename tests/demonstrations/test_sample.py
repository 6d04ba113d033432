# SPDX-License-Identifier: Apache-2.0
"""The bag that comes with the package can be imported as it is, and stays small."""

import numpy as np

from samg_ros.demonstrations.bag_import import import_bags
from samg_ros.demonstrations.contract import load_contract
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.files.share import share_file
from samg_ros.graphs.commands.demo_arm import CONTRACT, SAMPLE

EPISODES, JOINTS = 14, 9


def test_the_sample_bag_is_small():
    assert share_file(SAMPLE).stat().st_size < 2 * 2**20


def test_the_sample_bag_is_demonstrations_of_an_arm_that_moves(tmp_path):
    result = import_bags([share_file(SAMPLE)], tmp_path / 'set', 'arm_reach',
                         load_contract(share_file(CONTRACT)))
    assert result.episodes == EPISODES and result.samples > 60 * EPISODES
    data = LeRobotDataset(tmp_path / 'set')
    assert len(data.info.joints) == len(data.info.action_names) == JOINTS
    for episode in data.episodes():
        assert episode.frames['camera'].shape[1:] == (84, 84, 3)
        assert np.abs(episode.actions - episode.joints).max() < 0.3 + 1e-6  # max_lead of teleop
        assert np.ptp(episode.joints[:, :3], axis=0).max() > 0.1
