# SPDX-License-Identifier: Apache-2.0
"""The replay gives what a plain loop over all that was seen would give, before and after a crash.

Frame number i of these tests is filled with the value i, so that every drawn observation tells
which time steps it shows.
"""

import resource

import numpy as np
import pytest

from samg_ros.errors import CheckpointError, InvalidInputError
from samg_ros.observation import ObservationSpec
from samg_ros.rl.data.replay import Replay

SPEC = ObservationSpec(size=8, frame_stack=3, proprioception=('hinge',))


def make(folder, capacity=100, slack=20, count=None, spec=SPEC):
    return Replay(folder, spec, 2, capacity, slack, seed=0, count=count)


def fill(replay, count, lengths=(5, 1, 9, 12), start=0):
    """Add time steps; returns (episode, action, reward, discount) of each."""
    rng = np.random.default_rng(start)
    seen = []
    episode, left = 0, 0
    for number in range(start, start + count):
        first = left == 0
        if first:
            left = lengths[episode % len(lengths)]
            episode += 1
        else:
            left -= 1
        action = None if first else rng.uniform(-1, 1, 2).astype(np.float32)
        reward = 0.0 if first else float(rng.normal())
        # Every third episode ends in a terminal state.
        discount = 0.0 if left == 0 and episode % 3 == 0 else 1.0
        frame = np.full((9, 8, 8), number % 256, np.uint8)
        replay.add(frame, np.array([number], np.float32), action, reward, discount)
        seen.append((episode, action, reward, discount))
    return seen


def numbers_of(pixels):
    """Numbers of the stacked time steps, (N, stack), from the frames' values."""
    values = pixels.numpy().reshape(len(pixels), 3, -1)
    assert (values == values[..., :1]).all()
    return values[..., 0]


def test_returns_equal_a_plain_loop(tmp_path):
    replay = make(tmp_path)
    seen = fill(replay, 80)
    n_step, gamma = 3, 0.9
    batch = replay.sample(600, n_step, gamma)
    now, after = numbers_of(batch.pixels)[:, -1], numbers_of(batch.next_pixels)[:, -1]
    for row, (first, last) in enumerate(zip(now, after, strict=True)):
        episode = seen[first][0]
        reward, factor, number = 0.0, 1.0, int(first)
        while number < first + n_step and number + 1 < 80 and seen[number + 1][0] == episode:
            number += 1
            reward += factor * seen[number][2]
            factor *= gamma * seen[number][3]
        assert last == number
        np.testing.assert_allclose(batch.reward[row, 0], reward, atol=1e-6)
        np.testing.assert_allclose(batch.discount[row, 0], factor, atol=1e-6)
        np.testing.assert_array_equal(batch.action[row], seen[first + 1][1])
        assert batch.joints[row, 0] == first
        assert batch.next_joints[row, 0] == last


def test_every_transition_is_drawn_and_no_episode_is_crossed(tmp_path):
    replay = make(tmp_path)
    seen = fill(replay, 80)
    batch = replay.sample(4000, 1, 0.9)
    drawn = set(numbers_of(batch.pixels)[:, -1].tolist())
    assert drawn == {i for i in range(79) if seen[i][0] == seen[i + 1][0]}


def test_stacks_start_with_copies_of_an_episodes_first_frame(tmp_path):
    replay = make(tmp_path)
    seen = fill(replay, 80)
    starts = [next(j for j in range(80) if seen[j][0] == seen[i][0]) for i in range(80)]
    for stack in numbers_of(replay.sample(500, 3, 0.9).next_pixels):
        last = int(stack[-1])
        assert stack.tolist() == [max(last - back, starts[last]) for back in (2, 1, 0)]


def test_old_time_steps_are_forgotten(tmp_path):
    replay = make(tmp_path, capacity=40)
    fill(replay, 250)
    assert replay.oldest == 210
    drawn = numbers_of(replay.sample(2000, 1, 0.9).pixels)[:, -1]
    assert drawn.min() in (210, 211)  # 210 may be an episode's last
    assert drawn.max() <= 248


@pytest.mark.parametrize('count', [30, 250])
def test_steps_written_after_a_checkpoint_do_not_show_after_a_crash(tmp_path, count):
    replay = make(tmp_path, capacity=40, slack=20)
    fill(replay, count)
    state = replay.state_dict()
    replay.flush()
    expected = replay.sample(64, 3, 0.9)
    fill(replay, 20, start=count)  # and then the process is killed
    replay.close()
    again = make(tmp_path, count=state['count'])
    again.load_rng(state['rng'])
    batch = again.sample(64, 3, 0.9)
    assert again.count == count
    for name in ('pixels', 'joints', 'action', 'reward', 'discount', 'next_pixels'):
        assert getattr(batch, name).equal(getattr(expected, name)), name


def test_a_replay_that_lost_what_the_checkpoint_draws_from_is_refused(tmp_path):
    replay = make(tmp_path, capacity=40, slack=20)
    fill(replay, 250)
    fill(replay, 30, start=250)
    replay.close()
    with pytest.raises(CheckpointError, match='lacks time steps'):
        make(tmp_path, count=250)


@pytest.mark.parametrize('interrupted', [False, True])
def test_a_replay_that_has_forgotten_nothing_grows(tmp_path, interrupted):
    replay = make(tmp_path, capacity=40)
    fill(replay, 60)
    replay.close()
    if interrupted:  # between the two files
        steps = (tmp_path / 'steps.npy').read_bytes()
        make(tmp_path, capacity=200, count=60).close()
        (tmp_path / 'steps.npy').write_bytes(steps)
    again = make(tmp_path, capacity=200, count=60)
    assert again.oldest == 0
    fill(again, 240, start=60)
    assert again.oldest == 100
    joints = again.sample(4000, 1, 0.9).joints
    assert joints.min() in (100, 101) and joints.max() <= 298  # 100 may be an episode's last
    again.close()
    assert make(tmp_path, capacity=200, count=300).oldest == 100


def test_a_replay_that_has_begun_to_forget_goes_on_as_it_was(tmp_path):
    replay = make(tmp_path, capacity=40)
    fill(replay, 100)
    replay.close()
    before = (tmp_path / 'steps.npy').read_bytes()
    again = make(tmp_path, capacity=200, count=100)
    assert again.oldest == 60
    assert (tmp_path / 'steps.npy').read_bytes() == before


def test_a_replay_is_one_processs_until_it_is_closed(tmp_path):
    replay = make(tmp_path)
    fill(replay, 30)
    for count in (None, 30):
        with pytest.raises(CheckpointError, match='is being trained by another process'):
            make(tmp_path, count=count)
    assert replay.sample(4, 3, 0.9).pixels.any()
    replay.close()
    with pytest.raises(CheckpointError, match='lacks time steps') as caught:
        make(tmp_path, count=40)
    make(tmp_path, count=30)  # also while that error, which knows the replay, is still held
    assert caught


def test_files_that_cannot_be_read_are_named(tmp_path):
    replay = make(tmp_path)
    fill(replay, 30)
    replay.close()
    with pytest.raises(CheckpointError, match='other observations'):
        make(tmp_path, count=30, spec=ObservationSpec(size=10, proprioception=('hinge',)))
    frames = tmp_path / 'frames.npy'
    frames.write_bytes(frames.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r'frames\.npy'):
        make(tmp_path, count=30)
    frames.unlink()
    with pytest.raises(CheckpointError, match=r'frames\.npy'):
        make(tmp_path, count=30)


def test_no_room_is_an_error_at_the_start(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match='free some room'):
            make(tmp_path, capacity=10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / 'frames.npy').exists()


def test_drawing_from_nothing_is_an_error(tmp_path):
    replay = make(tmp_path)
    with pytest.raises(InvalidInputError, match='no transition'):
        replay.sample(4, 3, 0.9)
    fill(replay, 1)
    with pytest.raises(InvalidInputError, match='no transition'):
        replay.sample(4, 3, 0.9)


def test_frames_are_stored_once(tmp_path):
    make(tmp_path, capacity=1000)
    assert (tmp_path / 'frames.npy').stat().st_size < 1.05 * 1000 * 3 * 8 * 8
