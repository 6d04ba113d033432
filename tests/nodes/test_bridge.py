# SPDX-License-Identifier: Apache-2.0
import gc
import math
import time

import cv2
import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from samg_ros.errors import SamgError
from samg_ros.nodes.mujoco_bridge_node import MujocoBridge
from samg_ros.ros.messages import command, time_step
from samg_ros.ros.messages.images import image_to_mask, image_to_rgb
from samg_ros.ros.messages.pairing import stamp_of
from samg_ros.sim.env import SimEnv
from samg_ros.sim.intrinsics import camera_matrix

TASK = 'cartpole_swingup'


class Driver:
    """Plays the policy: sees time steps, sends commands."""

    def __init__(self, graph, topic='command', **parameters):
        self.graph = graph
        self.infos = []
        self.images = graph.listen(Image, 'camera/image_raw')
        graph.probe.create_subscription(
            Float64MultiArray, 'time_step',
            lambda message: self.infos.append(time_step.from_message(message)), 50)
        self.publisher = graph.probe.create_publisher(Float64MultiArray, topic, 10)
        self.bridge = graph.add(MujocoBridge, {'task': TASK, **parameters})
        graph.until(lambda: self.infos and self.images
                    and self.publisher.get_subscription_count())

    def send(self, action, frame_index):
        self.publisher.publish(command.to_message(action, frame_index))

    def send_raw(self, values):
        self.publisher.publish(Float64MultiArray(data=values))

    def frames(self):
        """Time steps, each frame once, in the order in which they came."""
        return list({info.frame_index: info for info in self.infos}.values())

    def wait_for_frame(self, index):
        self.graph.until(lambda: self.infos[-1].frame_index >= index)

    def wait_for_drop(self, fault):
        self.graph.until(lambda: self.graph.values('mujoco_bridge: commands').get(fault) == '1')


def test_lockstep_steps_once_per_command_and_then_waits(graph):
    driver = Driver(graph)
    driver.send([0.5], 0)
    driver.wait_for_frame(1)
    graph.spin_for(0.3)
    assert [info.frame_index for info in driver.frames()] == [0, 1]
    assert driver.frames()[1].step_type == time_step.MID


def test_every_camera_publishes_its_own_pictures_under_its_name(graph):
    topics = ('side', 'camera_0')
    images, infos, truths = ({name: graph.listen(kind, f'{name}/{topic}') for name in topics}
                             for kind, topic in ((Image, 'image_raw'), (CameraInfo, 'camera_info'),
                                                 (Image, 'segmentation')))
    driver = Driver(graph, task='walker_walk', more_cameras=['side', '0'], seed=5)
    driver.graph.until(lambda: driver.bridge._cameras[1].truth_is_wanted
                       and driver.bridge._cameras[2].truth_is_wanted)
    driver.send(np.zeros(6), 0)
    stamp = driver.wait_for_frame(1) or driver.infos[-1].stamp
    graph.until(lambda: all(heard and stamp_of(heard[-1]) == stamp for kind in (
        images, infos, truths) for heard in kind.values()))
    env = SimEnv('walker_walk', seed=5, more_cameras=('side', 0))
    env.reset()
    views = env.step(np.zeros(6)).views
    for name, view in zip(topics, views[1:], strict=True):
        assert np.array_equal(image_to_rgb(images[name][-1]), view.frame)
        assert np.array_equal(image_to_mask(truths[name][-1]), view.mask)
        assert images[name][-1].header.frame_id == f'{name}_optical'
    assert infos['side'][-1].k[0] == camera_matrix(env.model, 'side', 84, 84)[0, 0]
    env.close()


def test_jpegs_are_sent_to_those_who_listen(graph):
    jpegs = graph.listen(CompressedImage, 'camera/image_raw/compressed')
    driver = Driver(graph)
    graph.until(lambda: jpegs or driver.send([0.1], driver.infos[-1].frame_index))
    assert jpegs[-1].format == 'rgb8; jpeg compressed bgr8'
    raw = next(image for image in driver.images if stamp_of(image) == stamp_of(jpegs[-1]))
    decoded = cv2.imdecode(np.frombuffer(jpegs[-1].data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(decoded.astype(int) - image_to_rgb(raw)).mean() < 5


def test_nuisances_are_parameters(graph):
    driver = Driver(graph, seed=2, **{'nuisances.light': 1.0, 'nuisances.sensor_noise': 0.1})
    env = SimEnv(TASK, seed=2, nuisances={'light': 1, 'sensor_noise': 0.1})
    assert np.array_equal(image_to_rgb(driver.images[0]), env.reset().frame)
    env.close()


def test_every_message_of_a_frame_has_its_stamp_and_the_clock_shows_it(graph):
    truths = graph.listen(Image, 'camera/segmentation')
    infos = graph.listen(CameraInfo, 'camera/camera_info')
    joints = graph.listen(JointState, 'joint_states')
    clocks = graph.listen(Clock, '/clock')
    driver = Driver(graph)
    graph.until(lambda: driver.bridge._cameras[0].truth_is_wanted)
    for index in range(5):
        driver.wait_for_frame(index)
        driver.send([0.1], index)
    driver.wait_for_frame(5)
    last = driver.infos[-1].stamp
    graph.until(lambda: all(messages and stamp_of(messages[-1]) == last
                            for messages in (driver.images, truths, infos, joints)))
    graph.until(lambda: (clocks[-1].clock.sec, clocks[-1].clock.nanosec) == last)
    assert driver.images[-1].header == truths[-1].header == infos[-1].header
    assert driver.images[-1].header.frame_id.endswith('_optical')
    assert joints[-1].name == ['slider', 'hinge_1'] and len(joints[-1].position) == 2
    assert image_to_mask(truths[-1]).any() and not image_to_mask(truths[-1]).all()


def test_camera_info_has_the_intrinsics_of_the_camera(graph):
    infos = graph.listen(CameraInfo, 'camera/camera_info')
    driver = Driver(graph, height=48, width=64)
    graph.until(lambda: infos)
    fovy = driver.bridge._env.model.camera(0).fovy[0]
    focal = 24 / math.tan(math.radians(fovy) / 2)
    assert np.allclose(infos[0].k, [focal, 0, 31.5, 0, focal, 23.5, 0, 0, 1])
    assert np.array_equal(np.reshape(infos[0].p, (3, 4))[:, :3].reshape(-1), infos[0].k)
    assert (infos[0].height, infos[0].width) == (48, 64)


def test_an_unanswered_frame_is_published_again_with_the_same_stamp(graph):
    driver = Driver(graph, lockstep_timeout_s=0.1)
    graph.until(lambda: len(driver.images) >= 3)
    assert len({stamp_of(image) for image in driver.images}) == 1
    driver.send([0.5], 0)
    driver.wait_for_frame(1)
    graph.until(lambda: sum(info.frame_index == 1 for info in driver.infos) >= 2)
    graph.until(lambda: graph.values('mujoco_bridge: simulation')['repeats'] != '0')


def test_an_answer_to_a_repeated_frame_is_an_echo_and_no_fault(graph):
    driver = Driver(graph, lockstep_timeout_s=0.1)
    graph.until(lambda: len(driver.images) >= 3)
    driver.send([0.5], 0)
    driver.send([0.5], 0)
    driver.send([0.5], 0)
    graph.until(lambda: graph.values('mujoco_bridge: simulation').get('echoes') == '2')
    assert driver.bridge.frame_index == 1 and driver.bridge.drops.total == 0


@pytest.mark.parametrize('fault, values', [
    ('wrong_size', []), ('wrong_size', [0.1, 0.2]), ('not_finite', [math.nan]),
    ('not_finite', [-math.inf])])
def test_a_bad_command_is_dropped_counted_and_waited_past(graph, fault, values):
    driver = Driver(graph)
    driver.send_raw(values)
    driver.wait_for_drop(fault)
    assert graph.values('mujoco_bridge: commands')['last'].startswith(fault)
    assert driver.bridge.frame_index == 0
    driver.send_raw([0.5])
    driver.wait_for_frame(1)


def test_duplicate_late_and_unknown_commands_change_nothing(graph):
    driver = Driver(graph, lockstep_timeout_s=600.0)
    for index in range(3):
        driver.send([0.5], index)
        driver.wait_for_frame(index + 1)
    assert driver.bridge.drops.total == 0
    driver.send([-1.0], 2)
    driver.wait_for_drop('duplicate')
    driver.send([-1.0], 0)
    driver.wait_for_drop('late')
    driver.send([-1.0], 17)
    driver.wait_for_drop('unknown_frame')
    assert driver.bridge.frame_index == 3
    driver.send([0.5], 3)
    driver.wait_for_frame(4)
    reference = SimEnv(TASK)
    reference.reset()
    for _ in range(4):
        expected = reference.step(np.array([0.5]))
    assert driver.infos[-1].reward == expected.reward
    graph.until(lambda: stamp_of(driver.images[-1]) == driver.infos[-1].stamp)
    assert np.array_equal(image_to_rgb(driver.images[-1]), expected.frame)


def test_after_the_last_step_any_command_begins_the_next_episode(graph):
    driver = Driver(graph, action_repeat=100)
    for index in range(11):
        driver.send([0.0], index)
        driver.wait_for_frame(index + 1)
    kinds = [info.step_type for info in driver.frames()]
    assert kinds == [0] + [1] * 9 + [2, 0]
    stamps = [info.stamp for info in driver.frames()]
    assert stamps == sorted(set(stamps))


def test_reset_service_begins_an_episode_and_late_answers_are_dropped(graph):
    driver = Driver(graph)
    driver.send([0.5], 0)
    driver.wait_for_frame(1)
    assert graph.call(Trigger, 'mujoco_bridge/reset', Trigger.Request()).success
    driver.wait_for_frame(2)
    assert driver.infos[-1].step_type == time_step.FIRST
    driver.send([0.5], 0)
    driver.wait_for_drop('late')
    driver.send([0.5], 2)
    driver.wait_for_frame(3)


def test_paused_the_bridge_keeps_one_command_until_it_runs_again(graph):
    driver = Driver(graph, lockstep_timeout_s=600.0)
    graph.call(SetBool, 'mujoco_bridge/set_paused', SetBool.Request(data=True))
    driver.send([0.5], 0)
    driver.send([0.7], 0)
    driver.wait_for_drop('duplicate')
    assert driver.bridge.frame_index == 0
    graph.call(SetBool, 'mujoco_bridge/set_paused', SetBool.Request(data=False))
    driver.wait_for_frame(1)


def test_a_diverged_simulation_is_reported_and_begins_a_new_episode(graph):
    driver = Driver(graph)
    driver.send([0.5], 0)
    driver.wait_for_frame(1)
    driver.bridge._env.data.qpos[:] = math.nan
    driver.send([0.5], 1)
    driver.wait_for_frame(2)
    assert driver.infos[-1].step_type == time_step.FIRST
    graph.until(lambda: graph.values('mujoco_bridge: simulation').get('diverged') == '1')
    driver.send([0.5], 2)
    driver.wait_for_frame(3)


def test_a_command_out_of_range_is_clipped_carried_out_and_named(graph):
    driver = Driver(graph)
    driver.send([7.5], 0)
    driver.wait_for_frame(1)
    driver.wait_for_drop('out_of_range')
    values = graph.values('mujoco_bridge: commands')
    assert values['last'] == 'out_of_range: value 0 of a command was 7.5; clipped to -1 to 1'
    assert values['dropped'] == '0'
    reference = SimEnv(TASK)
    reference.reset()
    assert driver.infos[-1].reward == reference.step(np.array([1.0])).reward
    reference.close()


def test_a_reset_drops_the_command_that_waits_and_that_which_comes_too_late(graph):
    driver = Driver(graph, lockstep_timeout_s=600.0)
    graph.call(SetBool, 'mujoco_bridge/set_paused', SetBool.Request(data=True))
    driver.send([0.5], 0)
    graph.until(lambda: driver.bridge._held)
    graph.call(Trigger, 'mujoco_bridge/reset', Trigger.Request())
    driver.wait_for_drop('reset')
    driver.send([0.5], 0)
    driver.wait_for_drop('late')
    graph.call(SetBool, 'mujoco_bridge/set_paused', SetBool.Request(data=False))
    graph.spin_for(0.1)
    assert [info.step_type for info in driver.frames()] == [time_step.FIRST] * 2
    driver.send([0.5], 1)
    driver.wait_for_frame(2)


def test_resets_amid_a_stream_of_commands_lose_no_frame(graph):
    driver = Driver(graph)
    client = graph.probe.create_client(Trigger, 'mujoco_bridge/reset')
    graph.until(client.service_is_ready)
    for _ in range(10):
        seen = driver.infos[-1].frame_index
        driver.send([0.5], seen)
        answer = client.call_async(Trigger.Request())  # with the command under way
        graph.until(answer.done)
        assert answer.result().success
        driver.wait_for_frame(driver.bridge.frame_index)
    indices = [info.frame_index for info in driver.frames()]
    assert indices == list(range(len(indices)))
    assert sum(info.step_type == time_step.FIRST for info in driver.frames()) == 11
    driver.send([0.5], indices[-1])
    driver.wait_for_frame(indices[-1] + 1)


def test_when_the_subscriber_is_gone_that_is_said_and_the_next_one_goes_on(graph):
    driver = Driver(graph, lockstep_timeout_s=0.2)
    driver.send([0.5], 0)
    driver.wait_for_frame(1)
    for subscription in list(graph.probe.subscriptions):
        if subscription.topic_name in ('/camera/image_raw', '/time_step'):
            graph.probe.destroy_subscription(subscription)
    graph.until(lambda: graph.said('mujoco_bridge: simulation')
                == "'camera/image_raw' has no subscriber; frame 1 waits for a command")
    images = graph.listen(Image, 'camera/image_raw')
    graph.until(lambda: images)
    driver.send([0.5], 1)
    graph.until(lambda: driver.bridge.frame_index == 2)
    graph.until(lambda: graph.said('mujoco_bridge: simulation') in (
        'running', 'frame 2 waits for a command'))


@pytest.mark.filterwarnings('ignore:the video')
def test_videos_at_fault_are_named_and_the_others_shown(graph, tmp_path):
    def write(name, length, size):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
        for _ in range(length):
            writer.write(np.full((size[1], size[0], 3), 200, dtype=np.uint8))
        writer.release()

    write('odd.mp4', 3, (65, 47))
    write('none.mp4', 0, (64, 48))
    write('cut.mp4', 30, (64, 48))
    (tmp_path / 'cut.mp4').write_bytes((tmp_path / 'cut.mp4').read_bytes()[:500])
    (tmp_path / 'text.mp4').write_text('not a video')
    driver = Driver(graph, setting='video_hard', videos=str(tmp_path))
    graph.until(lambda: graph.values('mujoco_bridge: videos'))
    assert graph.said('mujoco_bridge: videos') == '3 at fault: cut.mp4, none.mp4, text.mp4'
    assert all(said.startswith('left out')
               for said in graph.values('mujoco_bridge: videos').values())
    for index in range(5):
        driver.send([0.5], index)
        driver.wait_for_frame(index + 1)
    assert image_to_rgb(driver.images[-1])[0, 0].min() > 180


def test_realtime_runs_on_the_wall_clock_without_commands(graph):
    driver = Driver(graph, mode='realtime', rate_hz=50.0)
    began, start = time.monotonic(), len(driver.infos)
    graph.until(lambda: len(driver.infos) >= start + 30)
    assert time.monotonic() - began > 0.5  # a busy machine may be slower, none may be faster
    assert driver.infos[-1].stamp_sec > 1_000_000_000
    values = graph.values('mujoco_bridge: simulation')
    assert float(values['jitter_p95_ms']) > 0 and int(values['missed']) >= 0


def test_realtime_keeps_the_last_command(graph):
    driver = Driver(graph, mode='realtime', rate_hz=50.0)
    driver.send_raw([0.75])
    graph.until(lambda: driver.bridge._latest.tolist() == [0.75])
    graph.spin_for(0.2)
    assert driver.bridge._latest.tolist() == [0.75]


def test_the_arm_goes_to_the_joint_positions_of_one_command_and_stays_there(graph):
    joints = graph.listen(JointState, 'joint_states')
    driver = Driver(graph, 'forward_position_controller/commands', task='arm_reach',
                    control='position', mode='realtime', rate_hz=100.0, height=16, width=16)
    graph.until(lambda: len(joints) >= 10)
    assert joints[-1].name == [*(f'joint_{i}' for i in range(1, 7)),
                               *(f'finger_{i}' for i in range(1, 4))]
    start = np.array(joints[-1].position)
    assert np.abs(start - joints[0].position).max() < 0.005  # it rests until the first command
    target = start + [0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0, 0, 0]

    def error():
        return np.abs(target - joints[-1].position).max()

    driver.send_raw(target[:6])
    driver.wait_for_drop('wrong_size')
    driver.send_raw(target)
    graph.until(lambda: error() < 0.005)
    arrived = len(joints)
    graph.until(lambda: len(joints) >= arrived + 30)
    assert error() < 0.005


def test_a_new_episode_of_the_arm_begins_at_rest(graph):
    joints = graph.listen(JointState, 'joint_states')
    driver = Driver(graph, 'forward_position_controller/commands', task='arm_reach',
                    control='position', mode='realtime', rate_hz=100.0, height=16, width=16)
    graph.until(lambda: joints)
    start = np.array(joints[-1].position)
    driver.send_raw(start + 0.5)
    graph.until(lambda: np.abs(joints[-1].position - start).max() > 0.02)
    moving = driver.infos[-1].stamp
    graph.call(Trigger, 'mujoco_bridge/reset', Trigger.Request())
    begun = []
    graph.until(lambda: begun.extend(
        info.stamp for info in driver.infos
        if info.step_type == time_step.FIRST and info.stamp > moving) or begun)
    graph.until(lambda: sum(stamp_of(state) >= begun[0] for state in joints) >= 20)
    positions = [state.position for state in joints if stamp_of(state) >= begun[0]]
    assert np.abs(np.array(positions[-1]) - positions[0]).max() < 0.005


@pytest.mark.parametrize('parameters, said', [
    ({'task': 'cartpole_swingupp'}, 'cartpole_swingup'), ({'setting': 'video_hrd'}, 'video_hard'),
    ({'mode': 'lockstop'}, 'lockstep, realtime'), ({'height': 2}, 'height'),
    ({'rate_hz': 'fast'}, 'rate_hz'), ({'control': 'position'}, "no control 'position'"),
    ({'setting': 'video_hard', 'videos': '/nowhere/at/all'}, '/nowhere/at/all')])
def test_a_wrong_parameter_is_a_one_line_error_that_names_it(graph, parameters, said):
    with pytest.raises(SamgError, match=said) as caught:
        graph.add(MujocoBridge, parameters)
    assert '\n' not in str(caught.value)


def test_a_node_that_could_not_be_built_leaves_the_network_with_its_graph(open_graph):
    gc.disable()  # so that nothing but the end of the graph can remove the node
    try:
        with open_graph('sim_train.yaml') as graph, pytest.raises(SamgError, match='jpeg_quality'):
            graph.add(MujocoBridge, {'task': TASK, 'jpeg_quality': 900})
        with open_graph('sim_train.yaml') as graph:
            graph.spin_for(5.0)
            assert graph.probe.get_node_names() == ['probe']
    finally:
        gc.enable()


def test_lockstep_over_ros_equals_the_environment_bit_for_bit(graph):
    actions = np.random.default_rng(3).uniform(-1, 1, (100, 1))
    driver = Driver(graph, setting='video_hard', seed=5, action_repeat=15)
    truths = graph.listen(Image, 'camera/segmentation')
    graph.until(lambda: driver.bridge._cameras[0].truth_is_wanted)
    for index, action in enumerate(actions):
        driver.send(action, index)
        driver.wait_for_frame(index + 1)
    last = driver.infos[-1].stamp
    graph.until(lambda: stamp_of(driver.images[-1]) == last == stamp_of(truths[-1]))
    images = {stamp_of(image): image for image in driver.images}
    masks = {stamp_of(image): image for image in truths}
    env = SimEnv(TASK, 'video_hard', seed=5, action_repeat=15)
    expected = env.reset()
    assert any(info.step_type == time_step.LAST for info in driver.frames())
    for index, info in enumerate(driver.frames()):
        if index:
            expected = env.reset() if expected.last else env.step(actions[index - 1])
        assert (info.reward, info.discount, info.step_type, info.step_index, info.time_ns) == (
            expected.reward, expected.discount, expected.step_type, expected.step_index,
            expected.time_ns)
        assert np.array_equal(image_to_rgb(images[info.stamp]), expected.frame)
        if info.stamp in masks:
            assert np.array_equal(image_to_mask(masks[info.stamp]), expected.mask)
    assert len(masks) >= 100
