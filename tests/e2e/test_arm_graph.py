# SPDX-License-Identifier: Apache-2.0
"""The graph of config/arm.yaml: the simulated arm in real time, perception, policy."""

import numpy as np
import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.masking import Reference
from samg_ros.nodes.files import share_file
from samg_ros.nodes.graph import CAMERA_REMAPPINGS
from samg_ros.nodes.joint_limits import load_joint_limits
from samg_ros.nodes.perception import Perception
from samg_ros.nodes.policy import PolicyNode
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agent import DrQv2Agent
from samg_ros.rl.checkpoint import Checkpoint, save_checkpoint
from samg_ros.rl.config import TrainConfig
from samg_ros.sim.bridge_node import MujocoBridge
from samg_ros.sim.env import SimEnv

CONTROLLER = 'forward_position_controller/commands'


@pytest.fixture(scope='module')
def arm_run(tmp_path_factory):
    """A reference of the arm, and an untrained policy that moves it: its actions are large."""
    folder = tmp_path_factory.mktemp('arm')
    env = SimEnv('arm_reach')
    step = env.reset()
    Reference(step.frame, np.array(step.mask)).save(folder / 'reference')
    low, high = env.action_spec
    config = TrainConfig(task='arm_reach', hidden_dim=16,
                         observation=ObservationSpec(proprioception=step.joint_names))
    env.close()
    save_checkpoint(folder / 'checkpoint.pt', Checkpoint(
        config, 20 * low, 20 * high, DrQv2Agent(config, len(low)).state_dict()))
    return folder


@pytest.mark.parametrize('graph', ['arm.yaml'], indirect=True)
def test_the_simulated_arm_is_moved_within_its_limits_and_left_at_rest(graph, arm_run):
    path = share_file('config/jaco_limits.yaml')
    limits = load_joint_limits(path)
    commands = graph.listen(Float64MultiArray, CONTROLLER)
    states = graph.listen(JointState, 'joint_states')
    graph.add(MujocoBridge)
    graph.add(Perception, {'reference': str(arm_run / 'reference'), 'fit_weights': False,
                           'passes': 1}, CAMERA_REMAPPINGS)
    # A crowded machine masks slowly; how fast the watchdog is, is tested elsewhere.
    node = graph.add(PolicyNode, {'checkpoint': str(arm_run), 'limits': str(path),
                                  'timeout_s': 10.0}, (('command', CONTROLLER),))
    graph.until(lambda: node._inputs.moments)
    assert graph.call(SetBool, 'policy/enable', SetBool.Request(data=True)).success
    start = np.array(states[-1].position)
    graph.until(lambda: np.abs(np.array(states[-1].position) - start).max() > 0.1)
    graph.remove(node)
    graph.spin_for(0.1)
    sent = np.array([list(message.data) for message in commands])
    assert (sent >= [limit.min_position for limit in limits]).all()
    assert (sent <= [limit.max_position for limit in limits]).all()
    fastest = np.array([limit.max_velocity for limit in limits])
    assert (np.abs(np.diff(sent, axis=0)) <= 0.1 * fastest + 1e-9).all()
    assert np.abs(sent[-1] - states[-1].position).max() < 0.3  # held where it was
