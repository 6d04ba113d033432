# SPDX-License-Identifier: Apache-2.0
"""`policy` in a real graph: what it makes of frames, and what the arm is sent when things fail."""

import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import rclpy
import torch
from busy_machine import limit_s
from fake_arm import CONFIG, GRACE_S, JOINTS, LIMITS, SIDE, TIMEOUT_S, Arm, add, save_untrained
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from samg_ros.errors import SamgError
from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.ros.parameters import overrides
from samg_ros.sim.env import SimEnv

DESCRIPTION = '{"model": "mini", "settings": {}}'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A policy of two joint velocities."""
    return save_untrained(tmp_path_factory.mktemp('run') / 'checkpoint.pt')


@pytest.fixture
def limits(tmp_path):
    path = tmp_path / 'joint_limits.yaml'
    path.write_text(LIMITS)
    return str(path)


@pytest.fixture
def arm(graph):
    return Arm(graph)


def test_actions_are_those_of_the_policy_offline_to_the_bit(graph, arm, checkpoint):
    node = add(graph, checkpoint, timeout_s=30.0)
    arm.start(node)
    arm.timer.cancel()
    arm.enable(False)
    arm.tick()
    assert arm.enable().success
    graph.spin_for(0.1)
    arm.commands.clear()
    policy = load_policy(checkpoint)
    observer = Observer(policy.spec)
    joints = policy.spec.select_joints(JOINTS, arm.positions)
    for index in range(8):
        arm.commands.clear()
        frame = arm.tick()
        graph.until(lambda: arm.commands)
        observation = (observer.push if index else observer.reset)(frame, joints)
        assert arm.last == policy.act(observation).tolist()
    graph.until(lambda: graph.values('policy: policy').get('state') == 'acting')
    values = graph.values('policy: policy')
    assert values['device'] == 'cpu' and values['checkpoint'] == str(checkpoint)
    assert float(values['latency_median_ms']) > 0 and float(values['mask_area']) == 1.0


@pytest.mark.parametrize('parameters, said', [
    ({'checkpoint': ''}, "set its parameter 'checkpoint'"),
    ({'checkpoint': '/no/such/run'}, 'there is no checkpoint'),
    ({'task': 'arm_lift'}, "is of task 'arm_reach', the parameter 'task' asks for 'arm_lift'"),
    ({'joints': ['shoulder']}, 'the policy has 2 actions, but there are 1 joints (shoulder)'),
    ({'device': 'cuda:77'}, "device 'cuda:77' cannot be used"),
    ({'output': 'trajectory'}, "set command_interface to 'position'"),
    ({'limits': '/no/such/limits.yaml'}, 'cannot be read'),
    ({'workspace': '/no/such/box.yaml'}, "'/no/such/box.yaml' cannot be read (No such file"),
    ({'safe_action': 'stop'}, 'must be one of hold, zero, pose'),
    ({'crop': [0, 0, 10]}, 'must be x, y, width, height')])
def test_what_does_not_fit_the_checkpoint_is_refused(graph, checkpoint, parameters, said):
    with pytest.raises(SamgError) as caught:
        add(graph, checkpoint, **parameters)
    assert said in str(caught.value)


@pytest.mark.parametrize('shape, names, said', [
    ((SIDE, 2 * SIDE, 3), JOINTS, 'frames are 48 x 24 pixels, the policy was trained on 24 x 24'),
    ((SIDE, SIDE, 3), ('shoulder', 'wrist'), 'joint states lack elbow')])
def test_what_arrives_and_does_not_fit_is_named_and_not_acted_on(graph, arm, checkpoint, shape,
                                                                 names, said):
    add(graph, checkpoint)
    arm.shape, arm.names = shape, list(names)
    arm.run()
    graph.until(lambda: said in graph.said('policy: policy'))
    answer = arm.enable()
    assert not answer.success and said in answer.message
    arm.shape, arm.names = (SIDE, SIDE, 3), list(JOINTS)
    graph.until(lambda: arm.enable().success)
    graph.until(lambda: arm.commands)


def test_a_crop_makes_a_wider_camera_fit(graph, arm, checkpoint):
    arm.shape = (SIDE, 2 * SIDE, 3)
    node = add(graph, checkpoint, crop=[12, 0, SIDE, SIDE])
    arm.run()
    graph.until(lambda: node._inputs.count)
    assert node._worker._observer.spec.crop == (12, 0, SIDE, SIDE)


def test_frames_that_change_size_stop_the_arm_until_it_is_enabled_again(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.shape = (SIDE, 2 * SIDE, 3)
    graph.until(arm.is_still)
    assert arm.commands[-1][0] - arm.frame_at < limit_s(GRACE_S)
    arm.shape = (SIDE, SIDE, 3)
    count = len(arm.commands)
    graph.spin_for(0.2)
    assert len(arm.commands) == count and node.state == 'disabled'
    graph.until(lambda: arm.enable().success)  # a frame of the right size has to come first
    graph.until(lambda: not arm.is_still())


def stop_frames(arm):
    arm.sends_frames = False


def stop_joints(arm):
    arm.sends_joints = False


def lose_object(arm):
    arm.empty = True


def give_not_a_number(arm):
    arm.positions = [1e300, 1e300]  # infinite in the network's float32


@pytest.mark.parametrize('fail, said', [
    (stop_frames, 'no new frame came'), (lose_object, 'the mask was empty'),
    (stop_joints, 'no joint state came'), (give_not_a_number, 'no finite action')])
@pytest.mark.filterwarnings('ignore:overflow encountered')
def test_when_input_fails_the_arm_is_safe_in_time_and_goes_on_by_itself(graph, arm, checkpoint,
                                                                       fail, said):
    node = add(graph, checkpoint)
    arm.start(node)
    fail(arm)
    failed_at = time.monotonic()
    graph.until(arm.is_still)
    assert arm.commands[-1][0] - failed_at < TIMEOUT_S + limit_s(GRACE_S)
    graph.until(lambda: graph.said('policy: policy').startswith(said))
    sent = len(arm.commands)
    graph.spin_for(0.1)
    assert len(arm.commands) > sent and arm.is_still()  # the safe action is repeated
    arm.sends_frames = arm.sends_joints = True
    arm.empty, arm.positions = False, [0.1, -0.1]
    graph.until(lambda: not arm.is_still())
    graph.until(lambda: graph.said('policy: policy') == 'acting')
    assert graph.values('policy: policy')['stops'] == '1'


def test_a_frame_is_acted_on_only_while_it_is_fresh(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.behind = 5  # 0.1 s
    count = node._inputs.count
    graph.until(lambda: node._inputs.count > count + 10)
    assert not node._driver.stops
    arm.behind = 50  # 1 s, and the joint state of that moment did come
    graph.until(arm.is_still)
    said = 'no joint state was near a frame'
    graph.until(lambda: graph.said('policy: policy').startswith(said))
    arm.behind = 0
    graph.until(lambda: not arm.is_still())


def test_a_frame_that_waited_for_its_joint_state_is_not_acted_on_once_it_is_stale(graph, arm,
                                                                                 checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.timer.cancel()
    arm.sends_joints = False
    arm.ticks += 10  # so that no joint state is near
    arm.tick()
    graph.spin_for(2 * TIMEOUT_S)
    assert node.state == 'safe'
    arm.sends_joints, arm.sends_frames = True, False
    arm.ticks -= 1
    count = node._inputs.count
    arm.tick()  # of the same moment, long after
    graph.until(lambda: node._inputs.count > count)
    graph.spin_for(0.1)
    assert node.state == 'safe' and arm.is_still() and node.drops.counts['stale'] == 1


def test_the_arm_is_safe_in_time_although_the_executor_is_busy(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    sent = []
    send = node._driver._send
    node._driver._send = lambda values, *more: (sent.append((time.monotonic(), values)),
                                                send(values, *more))
    began = time.monotonic()
    time.sleep(2 * TIMEOUT_S)  # as another node of the process may
    assert sent[0][0] - began < TIMEOUT_S + limit_s(GRACE_S) and not sent[0][1].any()
    graph.until(lambda: node.state == 'acting')


def test_position_commands_keep_the_limits_and_hold_where_the_arm_is(graph, arm, limits, tmp_path):
    run = save_untrained(tmp_path / 'checkpoint.pt', greatest=100.0)
    node = add(graph, run, limits=limits, joints=[''], command_interface='position')
    arm.start(node)
    graph.until(lambda: len(arm.commands) > 60)
    arm.sends_frames = False
    graph.until(lambda: node.state == 'safe')
    graph.until(lambda: np.allclose(arm.last, arm.positions))
    graph.remove(node)
    graph.spin_for(0.1)
    values = np.array([list(message.data) for _, message in arm.commands])
    assert (np.abs(values) <= 0.2).all()
    assert (np.abs(np.diff(values, axis=0)) <= np.array([0.3, 0.2]) * 0.1 + 1e-9).all()
    elapsed_s = arm.commands[-1][0] - arm.commands[0][0]
    travelled = np.abs(np.diff(values, axis=0)).sum(axis=0)
    assert (travelled <= np.array([0.3, 0.2]) * (elapsed_s + GRACE_S)).all()
    assert node._commands.interventions['velocity'] > 0
    assert np.allclose(values[-1], arm.positions)


def test_a_velocity_may_stand_until_the_watchdog_acts_and_stays_within_the_limits(graph, arm,
                                                                                  tmp_path):
    path = tmp_path / 'joint_limits.yaml'
    path.write_text(LIMITS.replace('max_velocity: 0.', 'max_velocity: 9.'))
    run = save_untrained(tmp_path / 'checkpoint.pt', greatest=100.0)
    node = add(graph, run, limits=str(path))
    arm.start(node)
    graph.until(lambda: node._commands.interventions['position'] > 20)
    ends = [arm.positions + TIMEOUT_S * np.array(message.data) for _, message in arm.commands]
    assert (np.abs(ends) <= 0.2).all() and not arm.is_still()


def test_a_joint_whose_range_is_left_open_is_named(graph, checkpoint, limits, tmp_path, capfd):
    add(graph, checkpoint, limits=limits)
    assert 'leave the range' not in capfd.readouterr().err
    path = tmp_path / 'open.yaml'
    path.write_text(LIMITS.replace('elbow: {min_position: -0.2, max_position: 0.2, ', 'elbow: {'))
    add(graph, checkpoint, limits=str(path))
    assert 'leave the range of elbow open' in capfd.readouterr().err


def test_trajectories_name_the_joints(graph, checkpoint):
    arm = Arm(graph, JointTrajectory)
    arm.start(add(graph, checkpoint, output='trajectory', command_interface='position'))
    message = arm.commands[-1][1]
    assert message.joint_names == list(JOINTS)
    assert len(message.points) == 1 and len(message.points[0].positions) == 2
    assert message.points[0].time_from_start.nanosec == 100_000_000


def test_the_safe_action_goes_out_last_when_it_is_disabled_deactivated_and_closed(graph, arm,
                                                                                  checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    for stop in (lambda: arm.enable(False), node.trigger_deactivate):
        stop()
        graph.spin_for(0.1)
        assert arm.is_still() and node.state == 'disabled'
        count = len(arm.commands)
        graph.spin_for(0.1)
        assert len(arm.commands) == count
        if not node.active:
            node.trigger_activate()
            graph.until(lambda: node._inputs.count)
            graph.spin_for(0.1)
            assert len(arm.commands) == count  # disabled again
        assert arm.enable().success
        graph.until(lambda: not arm.is_still())
    graph.remove(node)
    graph.spin_for(0.1)
    assert arm.is_still()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_the_safe_action_goes_out_last_after_an_exception(graph, arm, checkpoint, monkeypatch):
    node = add(graph, checkpoint)
    arm.start(node)

    def fail(*observed):
        raise torch.cuda.OutOfMemoryError('no memory')

    monkeypatch.setattr(node._policy, 'act', fail)
    with pytest.raises(SamgError, match="the policy's network failed .OutOfMemoryError: no memor"):
        graph.until(lambda: False)
    monkeypatch.undo()
    arm.timer.cancel()
    graph.remove(node)
    graph.spin_for(0.1)
    assert arm.is_still()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_the_safe_action_goes_out_last_when_the_watchdog_ends_and_then_the_frames(graph, arm,
                                                                                  checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.timer.cancel()
    graph.spin_for(0.1)  # what is under way
    assert not arm.is_still()
    node._watchdog._check = None  # calling it fails, and its thread ends
    with pytest.raises(SamgError, match='the watchdog has ended'):
        graph.until(lambda: False, 5)
    graph.remove(node)
    graph.spin_for(0.1)
    assert arm.is_still()
    assert graph.said('policy: policy').startswith('the watchdog has ended')


def test_without_being_enabled_nothing_is_ever_sent(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    assert not arm.enable().success  # there is no frame yet
    arm.run()
    graph.until(lambda: node._inputs.count > 5)
    graph.remove(node)
    graph.spin_for(0.1)
    assert not arm.commands


def test_it_says_when_perception_fills_with_another_colour(graph, arm, checkpoint):
    perception = rclpy.create_node('perception')
    perception.declare_parameter('fill', [255, 255, 255])
    perception.declare_parameter('masker_description', DESCRIPTION)
    graph.executor.add_node(perception)
    add(graph, checkpoint)
    arm.run()
    said = 'perception fills with [255, 255, 255]'
    graph.until(lambda: said in graph.said('policy: policy'))
    answer = arm.enable()
    assert not answer.success and said in answer.message
    perception.set_parameters(overrides({'fill': [0, 0, 0]}))
    graph.until(lambda: arm.enable().success)
    perception.destroy_node()
    perception = rclpy.create_node('perception')  # a new one, with another colour
    perception.declare_parameter('masker_description', DESCRIPTION)
    graph.executor.add_node(perception)
    graph.until(lambda: perception.count_publishers('/policy/transition_event'))
    perception.declare_parameter('fill', [255, 255, 255])
    graph.until(lambda: said in graph.said('policy: policy') and arm.is_still())
    perception.destroy_node()


def test_twenty_lives_leave_nothing_behind(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.run()
    threads, subscriptions = threading.active_count(), len(list(node.subscriptions))
    for _ in range(20):
        graph.until(lambda: node._inputs.count)
        assert arm.enable().success
        arm.commands.clear()
        graph.until(lambda: arm.commands)
        for transition in (node.trigger_deactivate, node.trigger_cleanup, node.trigger_configure,
                           node.trigger_activate):
            transition()
        graph.until(lambda: arm.is_still())
    assert threading.active_count() == threads and not node._driver._answer
    assert len(list(node.subscriptions)) == subscriptions and node.state == 'disabled'


def test_in_lockstep_every_frame_is_answered_as_the_policy_does_offline(graph, tmp_path):
    config = replace(CONFIG, task='cartpole_swingup', observation=ObservationSpec(
        size=16, source='raw'))
    run = save_untrained(tmp_path / 'checkpoint.pt', config, actions=1, greatest=1.0)
    commands = graph.listen(Float64MultiArray, 'command')
    node = add(graph, run, joints=[''], lockstep=True, action_interface='effort',
               command_interface='effort', safe_action='zero')
    graph.add(MujocoBridge, {'task': 'cartpole_swingup', 'height': SIDE, 'width': SIDE})
    graph.until(lambda: node._inputs.count)
    assert graph.call(SetBool, 'policy/enable', SetBool.Request(data=True)).success
    graph.until(lambda: len(commands) > 8)
    graph.remove(node)
    env = SimEnv('cartpole_swingup', height=SIDE, width=SIDE)
    policy = load_policy(run)
    observer = Observer(policy.spec)
    step = env.reset()
    for index, message in enumerate(commands[:8]):
        see = observer.reset if step.first else observer.push
        action = policy.act(see(step.frame))
        assert list(message.data) == [*action, index]
        step = env.step(action)
    env.close()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_the_safe_action_goes_out_last_when_the_process_is_told_to_end(graph, arm, checkpoint,
                                                                      number):
    process = graph.spawn('policy', {'checkpoint': str(checkpoint), 'joints': list(JOINTS)})
    arm.run()
    graph.until(lambda: graph.values('policy: policy').get('inputs', '0') != '0')
    assert arm.enable().success
    graph.until(lambda: len(arm.commands) > 3)
    process.send_signal(number)
    graph.until(lambda: process.poll() is not None)
    graph.spin_for(0.1)
    assert process.returncode == 0 and 'Traceback' not in process.communicate()[1]
    assert arm.is_still()
