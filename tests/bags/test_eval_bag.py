# SPDX-License-Identifier: Apache-2.0
"""`samg eval bag`: the figures are those of the frames, and what is written can be read."""

import json

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader

from samg_ros.bags.bag import open_bag
from samg_ros.bags.evaluate import evaluate_bag
from samg_ros.bags.result import BagResult
from samg_ros.bags.topics import find_topics, frame_of, stamp_ns
from samg_ros.cli import main
from samg_ros.errors import BagError, ConfigError
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import apply_mask
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.step_types import BETWEEN_EPISODES_NS

from .conftest import (
    COUNT,
    LATE_NS,
    PERIOD_NS,
    SIDE,
    array,
    joint_state,
    scene,
    session,
    stamps,
    write,
)

JOINTS = ('shoulder', 'elbow')
CONFIG = TrainConfig(
    task='arm_reach', camera_size=SIDE, convolutions=((4, 3, 2),), feature_dim=8, hidden_dim=16,
    observation=ObservationSpec(size=16, proprioception=JOINTS))


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, reference, masker):
    """An untrained policy that carries its masker and reference, as training writes it."""
    path = tmp_path_factory.mktemp('run') / 'checkpoint.pt'
    save_checkpoint(path, Checkpoint(
        CONFIG, np.full(2, -0.5), np.full(2, 0.5), DrQv2Agent(CONFIG, 2).state_dict(),
        reference=reference, masker=masker.describe()))
    return path


@pytest.fixture(scope='module')
def reference_folder(tmp_path_factory, reference):
    folder = tmp_path_factory.mktemp('reference')
    reference.save(folder)
    return folder


@pytest.fixture(scope='module')
def masks(masker):
    return [masker.predict(scene(i)[0][None]).masks[0].numpy() for i in range(COUNT)]


def positions(index):
    return 0.01 * index, -0.02 * index


def expected_actions(path, masks):
    policy = load_policy(path)
    observer = Observer(policy.spec)
    actions = []
    for i, mask in enumerate(masks):
        see = observer.push if i else observer.reset
        seen = policy.spec.select_joints(JOINTS, positions(i))
        actions.append(policy.act(see(apply_mask(scene(i)[0], mask), seen)))
    return np.array(actions)


def recording(actions):
    """A session of an arm: joint states 1 ms before each frame, a command 10 ms after it."""
    messages = session()
    for i, stamp in enumerate(stamps()):
        messages.append(('/joint_states', stamp + LATE_NS - 1,
                         *joint_state(stamp - 1_000_000, JOINTS, positions(i))))
        messages.append(('/command', stamp + LATE_NS + 10_000_000,
                         *array(actions[i], [('action', 2)])))
    return sorted(messages, key=lambda each: each[1])


def test_figures_are_those_of_the_masks(tmp_path, masker, masks):
    bag = open_bag(write(tmp_path / 'bag', session()))
    result = evaluate_bag(bag, find_topics(bag), masker)
    truths = [scene(i)[1] for i in range(COUNT)]
    assert result.coverage == [mask.mean() for mask in masks]
    assert result.truth_iou == list(mask_iou(np.stack(masks), np.stack(truths)))
    assert result.temporal_iou[1:] == list(mask_iou(np.stack(masks[1:]), np.stack(masks[:-1])))
    assert np.isnan(result.temporal_iou[0])
    assert [bad.score for bad in result.worst] == sorted(result.truth_iou)[:8]
    figures = result.summary()
    assert figures['frames'] == COUNT and figures['missing_frames'] == 0
    assert figures['truth_iou']['mean'] > 0.5  # an orange disc over blue is not hard
    assert 0 < figures['latency_ms']['median'] <= figures['latency_ms']['p95']


def test_missing_repeated_and_set_back_stamps_are_counted(tmp_path, masker):
    whole = session(truth=False)
    kept = [whole[i] for i in (0, 1, 2, 5, 6, 6, 8, 3)]
    bag = open_bag(write(tmp_path / 'bag', [
        (topic, i * PERIOD_NS, kind, message) for i, (topic, _, kind, message) in enumerate(kept)]))
    drops = evaluate_bag(bag, find_topics(bag), masker).drops()
    assert drops == {'missing_frames': 3, 'gaps': 2, 'longest_gap_s': 0.15, 'repeated_stamps': 1,
                     'set_back': 1, 'rate_hz': 20.0}


def test_the_time_that_a_reset_takes_is_no_gap():
    stamps = np.arange(6) * PERIOD_NS
    stamps[3:] += BETWEEN_EPISODES_NS - PERIOD_NS
    assert BagResult(stamps_ns=stamps.tolist()).drops()['missing_frames'] == 0
    stamps[3:] += 1
    assert BagResult(stamps_ns=stamps.tolist()).drops()['missing_frames'] == 39


def test_frames_that_cannot_be_used_are_counted(tmp_path, masker):
    messages = session(truth=False)
    messages[3][3].encoding = 'secret'
    messages[7][3].step = 5
    bag = open_bag(write(tmp_path / 'bag', messages))
    result = evaluate_bag(bag, find_topics(bag), masker)
    assert len(result.coverage) == COUNT - 2
    assert len(result.unusable) == 2 and sum(result.unusable.values()) == 2
    truths = session()[1::2]
    truths[2][3].height //= 2  # so the step fits, and half of the mask is not there
    bag = open_bag(write(tmp_path / 'half', session(truth=False) + truths))
    result = evaluate_bag(bag, find_topics(bag), masker)
    assert np.isnan(result.truth_iou).sum() == sum(result.unusable.values()) == 1
    for message in messages:
        message[3].encoding = 'secret'
    bag = open_bag(write(tmp_path / 'secret', messages))
    with pytest.raises(BagError, match='no frame.*secret'):
        evaluate_bag(bag, find_topics(bag), masker)


def test_actions_are_those_of_the_policy_to_the_bit(tmp_path, checkpoint, masks, masker):
    actions = expected_actions(checkpoint, masks)
    changed = actions.copy()
    changed[4] += 0.25
    bag = open_bag(write(tmp_path / 'bag', recording(changed)))
    acted = []
    result = evaluate_bag(bag, find_topics(bag), masker, load_policy(checkpoint),
                          sink=lambda made: acted.append(made.action))
    assert np.array_equal(acted, actions)
    figures = result.summary()['policy']
    assert (figures['actions'], figures['compared']) == (COUNT, COUNT)
    assert figures['equal_to_the_bit'] == COUNT - 1
    assert result.action_error[4] == pytest.approx(0.25)


def test_frame_without_joints_gets_no_action(tmp_path, checkpoint, masks, masker):
    messages = [each for each in recording(expected_actions(checkpoint, masks))
                if each[0] != '/joint_states' or stamp_ns(each[3]) < stamps()[5] - 2_000_000]
    bag = open_bag(write(tmp_path / 'bag', messages))
    result = evaluate_bag(bag, find_topics(bag), masker, load_policy(checkpoint))
    assert result.no_action['unpaired'] == COUNT - 5
    bag = open_bag(write(tmp_path / 'none', session()))
    with pytest.raises(BagError, match='no joint_states'):
        evaluate_bag(bag, find_topics(bag), masker, load_policy(checkpoint))


def test_waiting_simulator_is_followed_by_its_time_steps(tmp_path, checkpoint, masks, masker):
    """Episodes begin where the time steps say, and commands name the frame that they answer."""
    policy = load_policy(checkpoint)
    observer = Observer(policy.spec)
    labels = ('stamp_sec', 'stamp_nanosec', 'step_type', 'frame_index')
    messages = session()
    for i, stamp in enumerate(stamps()):
        see = observer.push if i % 6 else observer.reset
        seen = policy.spec.select_joints(JOINTS, positions(i))
        action = policy.act(see(apply_mask(scene(i)[0], masks[i]), seen))
        values = (stamp // 10**9, stamp % 10**9, 1 if i % 6 else 0, 100 + i)
        messages += [
            ('/joint_states', stamp, *joint_state(stamp, JOINTS, positions(i))),
            ('/time_step', stamp, *array(values, [(label, 1) for label in labels])),
            ('/command', stamp + 5 * PERIOD_NS,
             *array([*action, 100 + i], [('action', 2), ('frame_index', 1)]))]
    bag = open_bag(write(tmp_path / 'bag', messages))
    figures = evaluate_bag(bag, find_topics(bag), masker, policy).summary()['policy']
    assert figures['equal_to_the_bit'] == figures['compared'] == COUNT


def test_command_writes_page_video_figures_and_a_bag_of_masks(
        tmp_path, capsys, checkpoint, masks):
    source = write(tmp_path / 'bag', recording(expected_actions(checkpoint, masks)), 'sqlite3')
    out = tmp_path / 'out'
    assert main(['eval', 'bag', str(source), '--checkpoint', str(checkpoint), '--out', str(out),
                 '--json', str(tmp_path / 'figures.json')]) == 0
    shown = capsys.readouterr().out
    assert f'equal to the bit {COUNT}' in shown and 'IoU with the recorded truth' in shown
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures == json.loads((out / 'bag.json').read_text())
    assert figures['policy']['equal_to_the_bit'] == COUNT
    page = (out / 'bag.html').read_text()
    assert page.count('<img') >= 3 + 2 * 8 and 'src="masked.webm"' in page
    video = cv2.VideoCapture(str(out / 'masked.webm'))
    assert sum(1 for _ in iter(lambda: video.read()[0], False)) == COUNT

    made = open_bag(out / 'masks')
    assert made.counts == {'/masked/mask': COUNT, '/masked/image_raw': COUNT, '/command': COUNT}
    frames = list(open_bag(source).messages(['/camera/image_raw']))
    written = list(made.messages(['/masked/mask']))
    assert [(each.log_time_ns, each.message.header) for each in written] == \
        [(each.log_time_ns, each.message.header) for each in frames]
    assert all(np.array_equal(frame_of(each.message)[..., 0] > 0, mask)
               for each, mask in zip(written, masks, strict=True))
    with (out / 'masks' / 'masks.mcap').open('rb') as file:
        topics = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert topics.count('/masked/mask') == COUNT


def test_command_says_what_a_damaged_bag_has_lost(tmp_path, capsys, checkpoint, reference_folder):
    source = write(tmp_path / 'bag', recording(np.zeros((COUNT, 2))), 'mcap', 'none', 1 << 14)
    (file,) = source.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    command = ['eval', 'bag', str(file), '--checkpoint', str(checkpoint),
               '--reference', str(reference_folder)]
    assert main(command) == 0
    assert 'lost: bag.mcap: no whole record' in capsys.readouterr().out
    file.write_bytes(b'nothing')
    assert main(command) == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_reference_or_checkpoint_is_needed(tmp_path, capsys, masker):
    source = write(tmp_path / 'bag', session())
    assert main(['eval', 'bag', str(source)]) == 2
    assert '--reference' in capsys.readouterr().err
    bag = open_bag(source)
    with pytest.raises(ConfigError):
        evaluate_bag(bag, find_topics(bag), None)
