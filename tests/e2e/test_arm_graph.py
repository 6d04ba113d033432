# SPDX-License-Identifier: Apache-2.0
"""The graph of arm_plan and config/arm.yaml: simulated arm in real time, perception, policy."""

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.errors import SamgError
from samg_ros.files.share import share_file
from samg_ros.graphs.arm import SIMULATED_LIMITS, make_plan
from samg_ros.nodes.executables import node_class
from samg_ros.sim.tasks import COMMAND_TOPICS

CONTROLLER = COMMAND_TOPICS['position']


@pytest.fixture
def arm(graph, arm_run):
    """The nodes of `samg run arm --sim`, by their names; the policy is allowed to be enabled."""
    # A crowded machine masks slowly; how fast the watchdog is, is tested elsewhere.
    patient = {'policy': {'timeout_s': 10.0}}
    nodes = {spec.name: graph.add(node_class(spec.name), {**spec.parameters,
                                                          **patient.get(spec.name, {})},
                                  spec.remappings)
             for spec in make_plan(policy=str(arm_run), use_sim=True).nodes}
    graph.until(lambda: nodes['lifecycle_manager'].up and nodes['policy']._inputs.count)
    return nodes


def move(graph, states):
    """Enable the policy and wait until the arm has moved."""
    assert graph.call(SetBool, 'policy/enable', SetBool.Request(data=True)).success
    start = np.array(states[-1].position)
    graph.until(lambda: np.abs(np.array(states[-1].position) - start).max() > 0.1)


@pytest.mark.parametrize('graph', ['arm.yaml'], indirect=True)
def test_the_simulated_arm_is_moved_within_its_limits_and_left_at_rest(graph, arm):
    limits = load_joint_limits(share_file(SIMULATED_LIMITS))
    commands = graph.listen(Float64MultiArray, CONTROLLER)
    states = graph.listen(JointState, 'joint_states')
    graph.until(lambda: states)
    move(graph, states)
    graph.remove(arm['policy'])
    graph.spin_for(0.1)
    sent = np.array([list(message.data) for message in commands])
    assert (sent >= [limit.min_position for limit in limits]).all()
    assert (sent <= [limit.max_position for limit in limits]).all()
    fastest = np.array([limit.max_velocity for limit in limits])
    assert (np.abs(np.diff(sent, axis=0)) <= 0.1 * fastest + 1e-9).all()
    assert np.abs(sent[-1] - states[-1].position).max() < 0.3  # held where it was


@pytest.mark.parametrize('graph', ['arm.yaml'], indirect=True)
def test_when_perception_goes_the_arm_is_stopped_and_all_end(graph, arm):
    commands = graph.listen(Float64MultiArray, CONTROLLER)
    states = graph.listen(JointState, 'joint_states')
    graph.until(lambda: states)
    move(graph, states)
    request = ChangeState.Request(transition=Transition(label='shutdown'))
    with pytest.raises(SamgError, match='perception was shut down; all was brought down'):
        graph.call(ChangeState, 'perception/change_state', request)
        graph.until(lambda: False)
    assert arm['policy'].finished and arm['policy'].state == 'disabled'
    count = len(commands)
    held = np.array(commands[-1].data)
    graph.spin_for(1.0)
    assert len(commands) == count  # nothing after the safe action
    assert np.abs(held - states[-1].position).max() < 0.05  # and the arm stands there
