# SPDX-License-Identifier: Apache-2.0
"""`policy` with several cameras: which frames belong together, and what happens without one."""

import json
import time

import numpy as np
import pytest
from fake_arm import JOINTS, SIDE, TIMEOUT_S, TwoCameras, add, header, save_two_cameras

from samg_ros.policy.inference import Request
from samg_ros.rl.evaluation.policy import load_policy


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return save_two_cameras(tmp_path_factory.mktemp('run') / 'checkpoint.pt')


@pytest.fixture
def arm(graph):
    return TwoCameras(graph)


def test_actions_are_those_of_the_policy_offline_on_both_frames(graph, arm, checkpoint):
    node = add(graph, checkpoint, timeout_s=30.0)
    arm.start(node)
    arm.timer.cancel()
    arm.enable(False)
    arm.tick()
    graph.spin_for(0.2)
    assert arm.enable().success
    graph.spin_for(0.1)
    arm.commands.clear()
    policy, observer = load_policy(checkpoint), load_policy(checkpoint).observer()
    joints = policy.spec.select_joints(JOINTS, arm.positions)
    for index in range(4):
        arm.commands.clear()
        frame, side = arm.tick()
        graph.until(lambda: arm.commands)
        see = observer.push if index else observer.reset
        wanted = policy.act(see(frame, joints, {'side': side}), 100 + arm.ticks / 50, not index)
        assert arm.last == wanted.tolist(), index


def test_a_camera_that_falls_silent_stops_the_arm_and_is_named(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.shows_side = False
    graph.until(lambda: f'side: no new frame came for {TIMEOUT_S:g} s'
                in graph.said('policy: policy'))
    assert arm.is_still()
    arm.shows_side = True
    graph.until(lambda: graph.values('policy: policy').get('state') == 'acting')
    graph.remove(node)
    node = add(graph, checkpoint)
    arm.shows_side = False
    graph.spin_for(2 * TIMEOUT_S)
    answer = arm.enable()
    assert not answer.success
    assert 'side/masked/image_raw' in graph.said('policy: policy') + answer.message


def test_frames_that_are_not_of_one_time_are_not_acted_on(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.start(node)
    arm.side_behind = -50  # its clock is 1 s ahead
    graph.until(lambda: 'the other cameras had no frame near one of the main camera'
                in graph.said('policy: policy'))
    assert arm.is_still()
    graph.until(lambda: 'unpaired' in json.dumps(graph.values('policy: inputs')))


def test_a_camera_that_is_late_gets_the_frame_of_the_same_time(graph, arm, checkpoint):
    node = add(graph, checkpoint, timeout_s=2.0)
    seen = []
    node._inputs._on_input = seen.append
    arm.side_behind = 10  # 0.2 s, many frames of the main camera
    sides = {}
    tick = arm.tick

    def remembered():
        _, side = tick()
        sides[header(arm.ticks - arm.side_behind).stamp.nanosec] = side
    arm.tick = remembered
    arm.run()
    graph.until(lambda: len(seen) > 20)
    assert all(np.array_equal(given.more['side'], sides[given.stamp[1]]) for given in seen[:20])


def test_a_further_camera_of_another_size_is_refused(graph, arm, checkpoint):
    add(graph, checkpoint)
    arm.side_shape = (SIDE, 2 * SIDE, 3)
    arm.run()
    said = 'frames are 48 x 24 pixels, the policy was trained on 24 x 24'
    graph.until(lambda: said in graph.said('policy: policy'))
    assert not arm.enable().success


def test_frames_that_wait_in_vain_are_few_whatever_the_clock_does(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    arm.run()
    graph.until(lambda: node._inputs.count)
    arm.shows_side = False
    graph.until(lambda: node._inputs._pairer.waiting > 10)
    arm.ticks -= 2000  # 40 s back
    graph.spin_for(2 * TIMEOUT_S)
    assert 10 < node._inputs._pairer.waiting <= 50 * TIMEOUT_S + 1


def test_whatever_is_missing_while_an_action_is_computed_is_dropped_by_name(graph, arm, checkpoint):
    node = add(graph, checkpoint)
    seen = []
    node._inputs._on_input = seen.append
    arm.run()
    graph.until(lambda: seen)
    arm.timer.cancel()
    request = Request(seen[0], node._driver.session, True, time.monotonic())
    for name in node._input_settings.deadlines:
        node._deadlines.restart()
        node._deadlines.mark_late(name, 2 * TIMEOUT_S)
        assert not node._driver._is_timely(request, 0.0)
        camera = f"{name.split(' of ')[1]}: " if ' of ' in name else ''
        assert node.drops.last.startswith(f'stale: {camera}'), node.drops.last
