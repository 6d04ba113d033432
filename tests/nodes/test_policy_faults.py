# SPDX-License-Identifier: Apache-2.0
"""`policy` in a real graph when something around it is wrong: slow, split, repeated, doubled."""

import time
from dataclasses import replace

import numpy as np
import pytest
import rclpy
from busy_machine import limit_s
from fake_arm import CONFIG, GRACE_S, JOINTS, LIMITS, TIMEOUT_S, Arm, add, save_untrained
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, SetParameters
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from samg_ros.arm.joint_limits import load_joint_limits
from samg_ros.bags.limits import count_excesses
from samg_ros.observation import ObservationSpec
from samg_ros.ros.parameters import overrides

ANSWER_S = 0.1
"""Within which the policy has to answer, whatever its network costs."""


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A policy of two joint velocities."""
    return save_untrained(tmp_path_factory.mktemp('run') / 'checkpoint.pt')


@pytest.fixture(scope='module')
def fast_checkpoint(tmp_path_factory):
    """A policy whose actions are far beyond the limits."""
    return save_untrained(tmp_path_factory.mktemp('run') / 'checkpoint.pt', greatest=100.0)


@pytest.fixture
def limits(tmp_path):
    path = tmp_path / 'joint_limits.yaml'
    path.write_text(LIMITS)
    return str(path)


@pytest.fixture
def arm(graph):
    return Arm(graph)


def slow_down(monkeypatch, node, seconds):
    """Make the network take so long, without the interpreter's lock, as torch does."""
    act = node._policy.act

    def slow(*observed):
        time.sleep(seconds)
        return act(*observed)

    monkeypatch.setattr(node._policy, 'act', slow)


def timed(ask):
    """Return an answer and the seconds until it came."""
    began = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - began


def change_state(graph, label):
    return graph.call(ChangeState, 'policy/change_state',
                      ChangeState.Request(transition=Transition(label=label)))


@pytest.mark.parametrize('network_s', [0.1, 2.0])
def test_a_slow_network_does_not_delay_the_answer_to_a_service(graph, arm, checkpoint, monkeypatch,
                                                               network_s):
    node = add(graph, checkpoint)
    arm.start(node)
    for service_type, name in ((GetParameters, 'get_parameters'), (SetParameters, 'set_parameters'),
                               (ChangeState, 'change_state')):
        client = graph.probe.create_client(service_type, f'policy/{name}')
        graph.until(client.service_is_ready)
    slow_down(monkeypatch, node, network_s)
    graph.spin_for(3.0)  # 150 frames come
    _, took_s = timed(lambda: graph.call(GetParameters, 'policy/get_parameters',
                                         GetParameters.Request(names=['timeout_s'])))
    assert took_s < limit_s(ANSWER_S)
    answer, took_s = timed(lambda: arm.enable(False))
    assert answer.success and took_s < limit_s(ANSWER_S)
    graph.spin_for(0.05)
    count = len(arm.commands)
    assert arm.is_still()
    graph.spin_for(network_s + 0.2)
    assert len(arm.commands) == count  # the action that was being computed is not sent
    graph.until(lambda: arm.enable().success)
    graph.spin_for(0.3)
    for label in ('deactivate', 'cleanup', 'shutdown'):
        answer, took_s = timed(lambda label=label: change_state(graph, label))
        assert answer.success and took_s < limit_s(ANSWER_S)
    graph.spin_for(0.05)
    assert arm.is_still() and node.finished


def test_of_frames_that_wait_for_a_slow_network_only_the_newest_is_acted_on(graph, arm, checkpoint,
                                                                          monkeypatch):
    node = add(graph, checkpoint)
    arm.start(node)
    slow_down(monkeypatch, node, 0.2)
    count = len(arm.commands)
    graph.spin_for(2.0)
    assert 5 <= len(arm.commands) - count <= 11
    graph.until(lambda: int(graph.values('policy: policy')['overtaken']) > 50)
    assert not node._driver.stops


def test_what_enable_answers_while_the_arm_is_kept_safe_is_what_happens(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.sends_frames = False
    graph.until(lambda: node.state == 'safe')
    answer = arm.enable()
    assert not answer.success and 'no new frame came' in answer.message
    assert node.state == 'disabled' and arm.is_still()
    arm.sends_frames = True
    count = len(arm.commands)
    graph.spin_for(2 * TIMEOUT_S)
    assert node.state == 'disabled' and len(arm.commands) == count
    assert arm.enable().success
    graph.until(lambda: not arm.is_still())


def test_the_last_command_holds_a_blocked_arm_where_its_joints_are(graph, arm, fast_checkpoint,
                                                                  limits):
    node = add(graph, fast_checkpoint, limits=limits, joints=[''], command_interface='position')
    arm.start(node)
    graph.until(lambda: np.abs(np.array(arm.last) - arm.positions).max() > 0.08)
    assert arm.enable(False).success
    graph.spin_for(0.1)
    assert arm.last == arm.positions


def test_joint_states_of_two_publishers_are_merged_and_one_that_stops_is_named(graph, arm,
                                                                             checkpoint, limits):
    node = add(graph, checkpoint, limits=limits)
    gripper = graph.probe.create_publisher(JointState, 'joint_states', 5)
    arm.names, arm.positions = ['shoulder', 'wrist'], [0.1, 0.7]
    sends_elbow = True

    def tick_elbow():
        if sends_elbow and arm.ticks % 3 == 0:
            gripper.publish(JointState(header=arm.header(), name=['elbow'], position=[-0.1]))

    arm.run()
    graph.until(lambda: 'joint states lack elbow' in graph.said('policy: policy'))
    graph.probe.create_timer(0.02, tick_elbow)
    graph.until(lambda: node._inputs.count)
    assert arm.enable().success
    graph.until(lambda: len(arm.commands) > 10 and not arm.is_still())
    assert node._joint_states.positions(JOINTS).tolist() == [0.1, -0.1]
    sends_elbow = False
    graph.until(arm.is_still)
    assert node._driver.reason == f'no joint state of elbow came for {TIMEOUT_S:g} s'
    sends_elbow = True
    graph.until(lambda: not arm.is_still())


def test_a_joint_state_that_is_repeated_is_not_new(graph, arm, tmp_path, limits):
    config = replace(CONFIG, observation=ObservationSpec(size=16))  # joints only for the limits
    run = save_untrained(tmp_path / 'checkpoint.pt', config, greatest=100.0)
    node = add(graph, run, limits=limits)
    arm.start(node)
    arm.frozen_stamp = arm.header().stamp  # the driver repeats its last message
    graph.until(lambda: node.state == 'safe')
    graph.until(arm.is_still)
    assert 'no joint state came' in node._driver.reason
    graph.until(lambda: 'came with the stamp of the one before' in arm.enable().message)
    assert node.state == 'disabled'
    assert int(node._joint_states.repeated) > 10
    arm.frozen_stamp = None
    graph.until(lambda: arm.enable().success)


def test_another_publisher_of_commands_is_refused_and_stops_the_arm(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    other = rclpy.create_node('other')
    publisher = other.create_publisher(Float64MultiArray, 'command', 5)
    began = time.monotonic()
    graph.until(lambda: node.state == 'disabled')
    assert time.monotonic() - began < limit_s(0.5)
    said = "/other publishes on '/command' too"
    graph.until(lambda: said in graph.said('policy: policy'))
    graph.spin_for(0.1)
    assert arm.is_still()
    answer = arm.enable()
    assert not answer.success and said in answer.message
    other.destroy_publisher(publisher)
    other.destroy_node()
    graph.until(lambda: arm.enable().success)


def test_a_second_policy_of_the_same_name_ends_and_neither_is_enabled_meanwhile(
        graph, arm, checkpoint, monkeypatch):
    monkeypatch.setattr('samg_ros.ros.publishers.NEWCOMER_S', 0.1)
    node = add(graph, checkpoint)
    arm.run()
    graph.until(lambda: node._inputs.count)
    graph.spin_for(1.0)  # it is no newcomer any more
    second = graph.spawn('policy', {'checkpoint': str(checkpoint), 'joints': list(JOINTS)})
    graph.until(lambda: graph.probe.get_node_names().count('policy') == 2)
    answer = arm.enable()
    if answer.success:  # it was gone again
        assert second.poll() is not None
    graph.until(lambda: second.poll() is not None)
    assert second.returncode == 2
    assert "another node '/policy' is running" in second.communicate()[1]
    graph.until(lambda: arm.enable().success, 5.0)
    assert node.error is None


@pytest.mark.parametrize('value', [
    '[', '[]', '7', '{"settings": 3}', '{"settings": {"passes": "many"}}', 'x' * 200_000, 3])
def test_what_perception_answers_is_checked(graph, arm, checkpoint, value):
    node = add(graph, checkpoint)
    perception = rclpy.create_node('perception')
    perception.declare_parameter('fill', [0, 0, 0])
    described = '{"model": "mini", "settings": {}}'
    perception.declare_parameter('masker_description', described if isinstance(value, str) else 0)
    graph.executor.add_node(perception)
    arm.start(node) if isinstance(value, str) else arm.run()
    perception.set_parameters(overrides({'masker_description': value}))
    graph.until(lambda: "perception's masker_description" in graph.said('policy: policy'))
    assert node.state == 'disabled'
    answer = arm.enable()
    assert not answer.success and "perception's masker_description" in answer.message
    assert len(answer.message) < 300
    perception.destroy_node()


def test_inputs_that_do_not_come_are_named_with_their_publishers(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.sends_frames = False
    said = "no new frame came: '/masked/image_raw' has 1 publisher of sensor_msgs/msg/Image"
    graph.until(lambda: said in graph.said('policy: policy'))
    arm.run()
    said = "no new joint state came: '/joint_states' has 1 publisher of sensor_msgs/msg/JointState"
    arm.sends_frames, arm.sends_joints = True, False
    graph.until(lambda: said in graph.said('policy: policy'))
    arm.sends_joints = True
    graph.until(lambda: graph.said('policy: policy') == 'disabled; ~/enable starts it')
    assert node.state == 'disabled'


def test_a_mask_that_jumps_slows_the_arm_down_and_then_stops_it(graph, arm, checkpoint):
    arm.columns = slice(0, 8)
    node = add(graph, checkpoint, mask_max_speed=2.0, mask_slow_down=0.1)
    arm.start(node)
    graph.spin_for(0.3)
    assert node._inputs.cameras[0].doubtful == 0 and np.abs(arm.last).max() > 0.05
    arm.columns = slice(16, 24)
    graph.until(lambda: node._inputs.cameras[0].doubtful > 3)
    graph.spin_for(0.1)
    assert node.state == 'acting' and 0 < np.abs(arm.last).max() < 0.05
    graph.until(lambda: node.state == 'safe' and arm.is_still())
    assert 'the mask was empty or doubtful' in node._driver.reason
    graph.until(lambda: int(graph.values('policy: policy')['doubtful_masks']) > 20)
    assert int(graph.values('policy: inputs')['mask_speed']) > 20
    arm.columns = slice(0, 8)
    graph.until(lambda: node.state == 'acting' and np.abs(arm.last).max() > 0.05)


def test_a_mask_of_which_the_masker_is_not_sure_slows_the_arm_down_and_then_stops_it(
        graph, arm, checkpoint):
    arm.predicted_iou = 0.9
    node = add(graph, checkpoint, mask_min_iou=0.5, mask_slow_down=0.1)
    arm.start(node)
    graph.until(lambda: np.abs(arm.last).max() > 0.05)
    assert node._inputs.cameras[0].doubtful == 0
    arm.commands.clear()
    arm.predicted_iou = 0.4
    graph.until(lambda: node.state == 'safe')
    speeds = [np.abs(message.data).max() for _, message in arm.commands]
    assert sum(0 < speed < 0.05 for speed in speeds) > 3
    assert 'the mask was empty or doubtful' in node._driver.reason
    graph.until(arm.is_still)
    graph.until(lambda: int(graph.values('policy: inputs')['mask_iou']) > 20)
    arm.predicted_iou = 0.9
    graph.until(lambda: node.state == 'acting' and np.abs(arm.last).max() > 0.05)


def test_masks_of_which_nothing_is_said_are_not_acted_on(graph, arm, checkpoint):
    arm.predicted_iou = 0.9
    node = add(graph, checkpoint, mask_min_iou=0.5)
    arm.start(node)
    arm.predicted_iou = None
    graph.until(lambda: node.state == 'safe' and arm.is_still())
    assert 'perception said nothing of how good its masks are' in node._driver.reason
    arm.enable(False)
    graph.until(lambda: "no new quality of a mask came: '/masked/quality' has"
                in graph.said('policy: policy'))


class SimulatedTime:
    """Publishes /clock, at a speed that can be changed."""

    def __init__(self, graph, speed):
        self.speed = speed
        self.now_s, self.wall_s = 100.0, time.monotonic()
        self.publisher = graph.probe.create_publisher(Clock, '/clock', 5)
        graph.probe.create_timer(0.01, self.tick)

    def tick(self):
        wall_s = time.monotonic()
        self.now_s += self.speed * (wall_s - self.wall_s)
        self.wall_s = wall_s
        message = Clock()
        message.clock.sec, rest = divmod(round(self.now_s * 1e9), 10**9)
        message.clock.nanosec = rest
        self.publisher.publish(message)


@pytest.mark.parametrize('speed', [0.5, 1.0])
def test_commands_keep_the_limits_in_simulated_time(graph, arm, fast_checkpoint, limits, speed):
    clock = SimulatedTime(graph, speed)
    node = add(graph, fast_checkpoint, limits=limits, joints=[''], command_interface='position',
               use_sim_time=True, max_lead=10.0)
    arm.run()
    graph.until(lambda: node._inputs.count)
    answer = arm.enable()
    assert not answer.success and '/clock' in answer.message
    graph.until(lambda: arm.enable().success)
    began, sent = clock.now_s, []
    graph.probe.create_subscription(
        Float64MultiArray, 'command',
        lambda message: sent.append((clock.now_s, list(message.data))), 50)
    graph.until(lambda: len(sent) > 60)
    times, values = (np.array(each) for each in zip(*sent, strict=True))
    assert not count_excesses(times, values, load_joint_limits(limits), 'position')
    travelled = np.abs(np.diff(values, axis=0)).sum(axis=0).max()
    allowed = 0.3 * (clock.now_s - began)
    assert travelled <= allowed + 0.03
    arm.sends_frames = False  # the watchdog is on the wall clock
    stopped_at = time.monotonic()
    graph.until(lambda: node.state == 'safe')
    assert time.monotonic() - stopped_at < TIMEOUT_S + limit_s(0.1)


def test_simulated_time_that_runs_too_fast_is_refused_and_stops_the_arm(graph, arm, checkpoint):
    clock = SimulatedTime(graph, 2.0)
    node = add(graph, checkpoint, use_sim_time=True)
    arm.run()
    graph.until(lambda: node._inputs.count)
    said = 'simulated time runs at 2 times the wall clock'
    graph.until(lambda: said in arm.enable().message)
    assert node.state == 'disabled' and not arm.commands
    clock.speed = 1.0
    graph.until(lambda: arm.enable().success)
    graph.until(lambda: len(arm.commands) > 3)
    clock.speed = 2.0
    graph.until(lambda: node.state == 'disabled')
    assert 'simulated time runs at' in node._driver.reason
    graph.spin_for(0.1)
    assert arm.is_still()


def test_simulated_time_without_a_clock_is_named(graph, arm, checkpoint):
    node = add(graph, checkpoint, use_sim_time=True)
    arm.run()
    graph.until(lambda: node._inputs.count)
    assert 'nothing comes on /clock' in arm.enable().message


def test_a_mask_that_jumps_about_stops_the_arm_in_time(graph, arm, checkpoint):
    node = add(graph, checkpoint, mask_max_speed=3.0)
    arm.start(node)
    rng, began = np.random.default_rng(0), time.monotonic()

    def jump():
        arm.columns = slice(0, 6) if rng.random() < 0.5 else slice(18, 24)
    timer = graph.probe.create_timer(0.02, jump)
    graph.until(lambda: node.state == 'safe')
    assert time.monotonic() - began < limit_s(TIMEOUT_S + GRACE_S)
    assert 'the mask was empty or doubtful' in node._driver.reason
    graph.until(lambda: int(graph.values('policy: inputs').get('mask_unsteady', '0')) > 0)
    timer.cancel()
    arm.columns = slice(None)
    graph.until(lambda: node.state == 'acting')
