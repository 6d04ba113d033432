# SPDX-License-Identifier: Apache-2.0
"""From `samg run arm --teleop expert` to a data set: the whole graph, recorded and imported."""

import numpy as np
import pytest
from processes import Command

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.bags.bag import open_bag
from samg_ros.bags.limits import count_excesses, read_commands
from samg_ros.bags.recording import read_metadata, success_of
from samg_ros.demonstrations.bag_import import find_bags, import_bags
from samg_ros.demonstrations.contract import Contract
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.errors import ConfigError
from samg_ros.files.share import share_file
from samg_ros.graphs.arm import make_plan

COMMANDS = '/forward_position_controller/commands'
QUICK = """
/**/mujoco_bridge: {ros__parameters: {mode: realtime, control: position, action_repeat: 5}}
/**/teleop: {ros__parameters: {command_interface: position, timeout_s: 5.0}}
"""
"""An episode of 10 s in 50 steps, and patience for a crowded machine."""


def test_demonstrations_of_the_expert_are_recorded_over_topics_and_imported(tmp_path):
    (tmp_path / 'quick.yaml').write_text(QUICK)
    command = Command(tmp_path, 'run', 'arm', '--sim', '--teleop', 'expert', '--episodes', '1',
                      '--demonstrations', 'bags', '--params-file', str(tmp_path / 'quick.yaml'),
                      '--demonstrated', 'reach the ball', '--note', 'first try')
    assert command.process.wait(300) == 0, command.text()
    assert 'Traceback' not in command.text()
    (path,) = find_bags([tmp_path / 'bags'])
    found = read_metadata(path)
    assert (found['task'], found['note']) == ('reach the ball', 'first try')
    assert success_of(found) is ('solved 1 of 1' in command.text())
    limits = load_joint_limits(share_file('config/jaco_limits.yaml'))
    times, commands = read_commands(open_bag(path), COMMANDS, len(limits))
    assert len(commands) > 20 and not count_excesses(times, commands, limits, 'position',
                                                     max_lead=0.3)
    result = import_bags([path], tmp_path / 'set', 'reach the ball', Contract(action=COMMANDS))
    episode = next(LeRobotDataset(tmp_path / 'set').episodes())
    assert result.samples > 20 and episode.success is success_of(found)
    moved = np.abs(episode.joints[-1] - episode.joints[0])
    assert moved[:6].max() > 0.1 and moved[6:].max() < 0.05  # the fingers are left alone


@pytest.mark.parametrize('given, words', [
    ({'teleop': 'expert'}, 'reads the state of the simulation'),
    ({'teleop': 'joy'}, 'only within limits'),
    ({'demonstrations': 'bags', 'reference': 'r'}, 'need an operator or a policy')])
def test_choices_that_do_not_go_with_an_operator_are_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        make_plan(**given)


def test_an_operator_needs_no_masks_and_is_brought_up_by_the_manager():
    plan = make_plan(teleop='expert', use_sim=True, demonstrations='bags')
    assert [spec.name for spec in plan.nodes] == ['mujoco_bridge', 'teleop', 'lifecycle_manager',
                                                  'recorder']
    assert plan.nodes[2].parameters == {'nodes': ['teleop']}
