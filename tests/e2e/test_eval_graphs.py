# SPDX-License-Identifier: Apache-2.0
"""`samg run sim_eval` and `samg run bag_eval`: the graphs give what is computed without them."""

import json

import numpy as np
import pytest
from processes import Command
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from samg_ros import cli
from samg_ros.bags.bag import open_bag
from samg_ros.bags.live import LiveSession
from samg_ros.bags.recording import Recording
from samg_ros.bags.topics import find_topics, frame_of, stamp_ns
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.episodes import evaluate_policy
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.sim.env import SimEnv

TASK = 'cartpole_swingup'
FRAMES = 12
PERIOD_NS = 50_000_000


def save_policy(folder, config, low, high, reference, masker):
    """An untrained policy: what it does means nothing, but is the same every time."""
    agent = DrQv2Agent(config, len(low)).state_dict()
    folder.mkdir(exist_ok=True)
    save_checkpoint(folder / 'checkpoint.pt', Checkpoint(
        config, low, high, agent, reference=reference, masker=masker.describe()))
    return folder


@pytest.fixture(scope='module')
def env_facts():
    env = SimEnv(TASK, seed=1)
    step = env.reset()
    reference = Reference(step.frame, np.array(step.mask))
    limits = env.action_spec
    env.close()
    settings = MaskerSettings(fit_weights=False, passes=1)
    return reference, limits, Masker.load('mini', settings).fit(reference)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory, env_facts):
    reference, (low, high), masker = env_facts
    config = TrainConfig(task=TASK, hidden_dim=16, action_repeat=100)
    return save_policy(tmp_path_factory.mktemp('run'), config, low, high, reference, masker)


def test_returns_over_topics_are_those_of_the_direct_evaluation(tmp_path, run_dir):
    command = Command(tmp_path, 'run', 'sim_eval', '--policy', str(run_dir), '--setting',
                      'video_hard', '--episodes', '2', '--seed', '3', '--json', 'figures.json')
    assert command.process.wait(300) == 0, command.text()
    figures = json.loads((tmp_path / 'figures.json').read_text())
    expected = evaluate_policy(load_policy(run_dir), TASK, 'video_hard', 2, 3)
    assert tuple(figures['returns']) == expected.returns and len(expected.returns) == 2
    assert command.text().count('return') == 3 and 'Traceback' not in command.text()


@pytest.mark.parametrize('wrong, said', [
    (['sim_eval'], 'name the policy'), (['sim_eval', '--policy', '/none'], "checkpoint '/none'"),
    (['bag_eval', '--bag', '/none'], "no bag at '/none'"),
    (['bag_eval'], 'name the bag')])
def test_a_wrong_argument_is_one_line_and_exit_status_2(capsys, wrong, said):
    assert cli.main(['run', *wrong]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('samg: error') and said in line


def write_bag(path, frames):
    """Frames and joint states of an arm, as a recorder gets them."""
    from builtin_interfaces.msg import Time
    from rclpy.serialization import serialize_message

    from samg_ros.ros.messages.images import array_to_image

    recording = Recording(path)
    for index, frame in enumerate(frames):
        at = index * PERIOD_NS
        header = Header(stamp=Time(sec=100 + at // 10**9, nanosec=at % 10**9), frame_id='optical')
        joints = JointState(header=header, name=['cart'], position=[0.1 * index])
        recording.add('/joint_states', 'sensor_msgs/msg/JointState', at, serialize_message(joints))
        recording.add('/camera/image_raw', 'sensor_msgs/msg/Image', at + 1,
                      serialize_message(array_to_image(frame, header)))
    recording.close()


def test_a_bag_is_masked_and_acted_on_as_it_is_offline(tmp_path, env_facts):
    reference, (low, high), masker = env_facts
    config = TrainConfig(task=TASK, hidden_dim=16, observation=ObservationSpec(
        proprioception=('cart',)))
    run_dir = save_policy(tmp_path / 'run', config, low, high, reference, masker)
    env = SimEnv(TASK, seed=1)
    frames = [env.reset().frame.copy(),
              *(env.step(high).frame.copy() for _ in range(FRAMES - 1))]
    env.close()
    write_bag(tmp_path / 'bag.mcap', frames)
    parameters = tmp_path / 'parameters.yaml'
    parameters.write_text('/**/policy:\n  ros__parameters:\n    timeout_s: 60.0\n')
    command = Command(tmp_path, 'run', 'bag_eval', '--bag', 'bag.mcap', '--policy', str(run_dir),
                      '--rate', '0.1', '--out', 'out', '--params-file', str(parameters))
    assert command.process.wait(300) == 0, command.text()
    text = command.text()
    assert f'frames {FRAMES},' in text and 'latency, ms' in text and 'Traceback' not in text
    assert text.splitlines()[-1] == str(tmp_path / 'out' / 'bag.html')
    assert (tmp_path / 'out' / 'masked.webm').stat().st_size > 1000
    figures = json.loads((tmp_path / 'out' / 'bag.json').read_text())
    assert figures['frames'] == FRAMES and figures['latency_ms']['median'] > 0

    bag, session = open_bag(tmp_path / 'bag.mcap'), open_bag(tmp_path / 'out' / 'session.mcap')
    policy = load_policy(run_dir)
    live = LiveSession(bag, find_topics(bag), session, policy)
    observer, acted, masked = Observer(policy.spec), 0, 0
    for index, (_, _, message) in enumerate(bag.messages(['/camera/image_raw'])):
        stamp, frame = stamp_ns(message), frame_of(message)
        seen = live.see(stamp, frame)
        if seen is None:
            continue  # overtaken on a busy machine
        mask = masker(frame[None])[0]
        assert np.array_equal(seen.mask, mask)
        masked += 1
        live.show(stamp, None)
        action = live.actions.pop()
        if action is None:
            continue  # not enabled yet
        see = observer.push if acted else observer.reset
        joints = policy.spec.select_joints(['cart'], [0.1 * index])
        assert np.array_equal(action, policy.act(see(apply_mask(frame, mask), joints)))
        acted += 1
    assert masked + figures['unmasked'] == FRAMES
    assert acted == figures['policy']['actions'] and acted >= FRAMES // 2
