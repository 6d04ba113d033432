# SPDX-License-Identifier: Apache-2.0
"""`samg eval bag` with a policy of two cameras: which frames it is shown, and what it does."""

import numpy as np
import pytest
import torch

from samg_ros.bags.bag import open_bag
from samg_ros.bags.evaluate import evaluate_bag
from samg_ros.bags.topics import find_topics
from samg_ros.cli import main
from samg_ros.errors import BagError, ConfigError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.chunk_network import ChunkNetwork, ChunkSettings
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint

from .conftest import COUNT, LATE_NS, PERIOD_NS, SIDE, compressed, image, scene, stamps, write

CAMERAS = ('front', 'side')
FRONT, BESIDE = '/camera/image_raw', '/side/image_raw'
APART_NS = 7_000_000
"""By which the second camera's stamps are behind the first one's."""


def beside(index):
    """What the second camera sees of it: the picture upside down."""
    return np.ascontiguousarray(scene(index)[0][::-1])


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, reference):
    """An untrained policy with a reference for each of its cameras."""
    settings = ChunkSettings(CAMERAS, 0, 2, chunk=2, period_s=0.05, channels=(4, 4), hidden_dim=8,
                             pixels=(3, 16, 16))
    torch.manual_seed(0)
    other = Reference(beside(4), np.ascontiguousarray(scene(4)[1][::-1]))
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1, second_look=False))
    path = tmp_path_factory.mktemp('run') / 'checkpoint.pt'
    save_checkpoint(path, Checkpoint(
        TrainConfig(task='arm_reach', camera_size=SIDE, observation=ObservationSpec(
            size=16, frame_stack=1)), np.full(2, -0.5), np.full(2, 0.5),
        {CHUNKS: settings.to_json(), NETWORK: ChunkNetwork(settings).state_dict()},
        reference=reference, more_references={'side': other}, masker=masker.describe()))
    return path


def session(late_ns=LATE_NS, without=(), make=image, name=BESIDE):
    """Topic, log time and message of both cameras' frames, but for some of the second one's."""
    messages = []
    for i, stamp in enumerate([*stamps(), stamps()[-1] + PERIOD_NS]):
        if i < COUNT:
            messages.append((FRONT, stamp + LATE_NS, *image(stamp, scene(i)[0])))
        if i not in without:
            messages.append((name, stamp + late_ns, *make(stamp - APART_NS, beside(i))))
    return sorted(messages, key=lambda each: each[1])


def expected(checkpoint, pairs):
    """The actions on pairs of frames by index, of each camera."""
    policy = load_policy(checkpoint)
    front, side = policy.masker(), policy.more_maskers()['side']
    observer = policy.observer()
    actions = []
    for place, (i, j) in enumerate(pairs):
        frame, other = scene(i)[0], beside(j)
        see = observer.push if place else observer.reset
        seen = see(apply_mask(frame, front(frame[None])[0]),
                   more={'side': apply_mask(other, side(other[None])[0])})
        actions.append(policy.act(seen, stamps()[i] // 10**9 + stamps()[i] % 10**9 * 1e-9,
                                  not place))
    return actions


def acted(bag, checkpoint):
    """What was made of each frame of a bag, and the figures."""
    policy, made = load_policy(checkpoint), []
    topics = find_topics(bag, more_cameras=policy.more_cameras)
    result = evaluate_bag(bag, topics, policy.masker(), policy, made.append,
                          more_maskers=policy.more_maskers())
    assert [each.log_time_ns for each in made] == [stamp + LATE_NS for stamp in stamps()]
    return [each.action for each in made], result


@pytest.mark.parametrize('late_ns', [LATE_NS, 4 * PERIOD_NS])
def test_actions_are_those_on_the_nearest_frames_however_late(tmp_path, checkpoint, late_ns):
    """The second camera's stamps are 7 ms behind: only its next frame says which is nearest."""
    bag = open_bag(write(tmp_path / 'bag', session(late_ns)))
    actions, result = acted(bag, checkpoint)
    wanted = expected(checkpoint, [(i, i) for i in range(COUNT)])
    assert np.array_equal(actions, wanted) and len(np.unique(wanted, axis=0)) == COUNT
    assert result.actions == COUNT and not result.no_action


def test_of_frames_that_are_complete_together_the_newest_counts(tmp_path, checkpoint):
    """As in the running policy: a camera at half the rate completes two frames at once."""
    gone = range(1, COUNT, 2)
    bag = open_bag(write(tmp_path / 'bag', session(without=gone)))
    actions, result = acted(bag, checkpoint)
    # Frame i is complete when the second camera's frame after it has come, stamped 7 ms before
    # i + 1 or i + 2; it is 7 ms or 43 ms away, so within 50 ms.
    pairs = [(i, i + 1) for i in gone]
    wanted = expected(checkpoint, pairs)
    assert [i for i, action in enumerate(actions) if action is not None] == [*gone]
    assert np.array_equal([action for action in actions if action is not None], wanted)
    assert result.no_action == {'unpaired': COUNT - len(pairs)}


def test_frames_without_a_partner_get_no_action(tmp_path, checkpoint):
    gone = (5, 6, 7)
    actions, result = acted(open_bag(write(tmp_path / 'bag', session(without=gone))), checkpoint)
    idle = {i for i, action in enumerate(actions) if action is None}
    assert {6} < idle <= {4, 5, 6, 7} and result.no_action == {'unpaired': len(idle)}


def test_a_clock_that_is_set_back_begins_anew(tmp_path, checkpoint):
    once = session()
    length_ns = (COUNT + 2) * PERIOD_NS
    bag = open_bag(write(tmp_path / 'bag', once + [
        (topic, at + length_ns, *rest) for topic, at, *rest in once]))
    policy, made = load_policy(checkpoint), []
    evaluate_bag(bag, find_topics(bag, more_cameras=policy.more_cameras), policy.masker(), policy,
                 made.append, more_maskers=policy.more_maskers())
    wanted = expected(checkpoint, [(i, i) for i in range(COUNT)])
    assert np.array_equal([each.action for each in made], wanted + wanted)


def test_further_frames_that_cannot_be_used_are_counted(tmp_path, checkpoint):
    messages = session()
    odd = next(each for each in messages if each[0] == BESIDE)
    odd[3].encoding = 'secret'
    _, result = acted(open_bag(write(tmp_path / 'bag', messages)), checkpoint)
    assert sum(result.unusable.values()) == 1 and next(iter(result.unusable)).startswith(BESIDE)


def test_a_further_camera_of_another_size_is_refused_by_name(tmp_path, checkpoint):
    wide = [(topic, at, *image(stamps()[0], np.zeros((SIDE, 2 * SIDE, 3), np.uint8)))
            if topic == BESIDE else (topic, at, kind, message)
            for topic, at, kind, message in session()]
    with pytest.raises(BagError, match='side: frames are 96 x 48 pixels'):
        acted(open_bag(write(tmp_path / 'bag', wide)), checkpoint)


@pytest.mark.parametrize('make, name', [(image, BESIDE), (compressed, f'{BESIDE}/compressed')])
def test_command_shows_both_cameras(tmp_path, capsys, checkpoint, make, name):
    source = write(tmp_path / 'bag', session(make=make, name=name))
    assert main(['eval', 'bag', str(source), '--checkpoint', str(checkpoint), '--out',
                 str(tmp_path / 'out')]) == 0
    assert f'actions {COUNT}' in ' '.join(capsys.readouterr().out.split())
    assert open_bag(tmp_path / 'out' / 'masks').counts['/command'] == COUNT
    assert name in (tmp_path / 'out' / 'bag.html').read_text()


def test_what_is_missing_is_named_in_one_line(tmp_path, capsys, checkpoint):
    alone = write(tmp_path / 'alone', [each for each in session() if each[0] == FRONT])
    for command in (['eval', 'bag'], ['run', 'bag_eval', '--policy', str(checkpoint), '--bag']):
        more = [] if 'run' in command else ['--checkpoint', str(checkpoint)]
        assert main([*command, str(alone), *more]) == 2
        said = capsys.readouterr().err
        assert 'sees the camera' in said and 'side' in said and said.count('\n') == 1
    bag = open_bag(alone)
    policy = load_policy(checkpoint)
    with pytest.raises(BagError, match="also sees the camera 'side', and the bag has no "
                                       "'/side/image_raw'; it has /camera/image_raw"):
        evaluate_bag(bag, find_topics(bag), policy.masker(), policy)
    bag = open_bag(write(tmp_path / 'bag', session()))
    topics = find_topics(bag, more_cameras=policy.more_cameras)
    with pytest.raises(ConfigError, match='frames of the camera side are masked too'):
        evaluate_bag(bag, topics, policy.masker(), policy)
    with pytest.raises(BagError, match="is of the policy's further camera 'side'; name that"):
        evaluate_bag(bag, find_topics(bag, BESIDE), policy.masker(), policy)
