# SPDX-License-Identifier: Apache-2.0
"""What was recorded comes into the replay as the run would have met it itself."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import CheckpointError, DemonstrationError
from samg_ros.masking import apply_mask
from samg_ros.observation import ObservationSpec
from samg_ros.rl.commands.demonstrations import import_recordings
from samg_ros.rl.data.demonstrations import DemonstratedSteps, Demonstrations
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.direct import train_direct
from samg_ros.sim.env import SimEnv
from samg_ros.step_types import FIRST, LAST, MID

SIZE, COUNT = 32, 7
JOINTS = ('WRJ1', 'THJ0')


@pytest.fixture(scope='module')
def lived():
    """Two short episodes of the door task as the simulator shows them, and its states."""
    env = SimEnv('adroit_door', seed=5, height=SIZE, width=SIZE, action_repeat=1)
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(2):
        steps, states, actions = [env.reset()], [env.simulation._env.get_env_state()], []
        for _ in range(COUNT):
            actions.append(rng.uniform(*env.action_spec))
            steps.append(env.step(actions[-1]))
            states.append(env.simulation._env.get_env_state())
        episodes.append((steps, np.array(actions), states))
    limits = env.action_spec
    env.close()
    return episodes, limits


@pytest.fixture(scope='module')
def minari(tmp_path_factory, lived):
    """The same as the folder of a Minari data set."""
    folder = tmp_path_factory.mktemp('minari')
    path = folder / 'data' / 'main_data.hdf5'
    path.parent.mkdir(parents=True)
    (path.parent / 'metadata.json').write_text(
        json.dumps({'env_spec': json.dumps({'id': 'AdroitHandDoor-v1'})}))
    with h5py.File(path, 'w') as file:
        for index, (steps, actions, states) in enumerate(lived[0]):
            group = file.create_group(f'episode_{index}')
            group['observations'] = np.zeros((COUNT + 1, 39))
            group['actions'] = actions
            group['rewards'] = [step.reward for step in steps[1:]]
            group['terminations'] = [False] * (COUNT - 1) + [index == 1]
            group['truncations'] = [False] * (COUNT - 1) + [index == 0]
            for key in states[0]:
                group[f'state/{key}'] = np.stack([state[key] for state in states])
    return folder


@pytest.fixture(scope='module')
def imported(tmp_path_factory, minari):
    """The same as a folder of demonstrations."""
    folder = tmp_path_factory.mktemp('imported')
    figures = import_recordings(minari, 'adroit_door', folder, camera_size=SIZE)
    assert (figures['episodes'], figures['actions']) == (2, 2 * COUNT)
    return folder


@pytest.fixture
def config(small):
    return small(
        task='adroit_door', steps=12, camera_size=SIZE, action_repeat=2, update_after=4,
        checkpoint_every=6,
        observation={'size': 16, 'source': 'truth', 'proprioception': list(JOINTS)})


def steps_of(folder, config, limits):
    return list(DemonstratedSteps(Demonstrations(folder), config, *limits))


def test_rendered_states_are_the_frames_that_the_simulator_had_shown(imported, lived):
    for episode, (steps, actions, _) in zip(
            Demonstrations(imported).episodes(), lived[0], strict=True):
        for index, step in enumerate(steps):
            np.testing.assert_array_equal(episode.frames[index], step.frame)
            np.testing.assert_array_equal(episode.masks[index], step.mask)
            np.testing.assert_array_equal(episode.joint_positions[index], step.joint_positions)
        np.testing.assert_array_equal(episode.actions, actions)
        np.testing.assert_array_equal(episode.rewards, [step.reward for step in steps[1:]])


def test_a_run_is_given_what_it_would_have_met_itself(imported, lived, config):
    episodes, limits = lived
    once = replace(config, action_repeat=1)
    given = steps_of(imported, once, limits)
    assert len(given) == 2 * (COUNT + 1)
    assert [step.step_type for step, _ in given[: COUNT + 1]] == [FIRST, *[MID] * (COUNT - 1), LAST]
    assert [given[COUNT][0].discount, given[-1][0].discount] == [1.0, 0.0]
    names = episodes[0][0][0].joint_names
    for index, step in enumerate(episodes[1][0]):
        seen, action = given[COUNT + 1 + index]
        np.testing.assert_array_equal(
            seen.observation['proprioception'],
            once.observation.select_joints(names, step.joint_positions))
        assert seen.reward == step.reward
        if index:
            np.testing.assert_allclose(action, episodes[1][1][index - 1], atol=1e-6)
    plain = replace(once, observation=ObservationSpec(size=SIZE, source='truth', frame_stack=2))
    second = steps_of(imported, plain, limits)[1][0].observation['pixels']
    for half, step in zip((second[:3], second[3:]), episodes[0][0][:2], strict=True):
        np.testing.assert_array_equal(half.transpose(1, 2, 0), apply_mask(step.frame, step.mask))


def test_one_repeated_action_stands_for_several(imported, lived, config):
    episodes, limits = lived
    steps, actions, _ = episodes[0]
    given = steps_of(imported, replace(config, action_repeat=3), limits)
    assert len(given) == 2 * 4  # moments 0, 3, 6 and 7
    rewards = np.array([step.reward for step in steps[1:]])
    assert [step.reward for step, _ in given[:4]] == pytest.approx(
        [0, rewards[:3].sum(), rewards[3:6].sum(), rewards[6]])
    assert given[0][1] is None
    for (_, action), part in zip(given[1:4], (actions[:3], actions[3:6], actions[6:]), strict=True):
        np.testing.assert_allclose(action, part.mean(axis=0), atol=1e-6)


def test_d4rls_table_is_cut_into_its_episodes(tmp_path, lived):
    path = tmp_path / 'door-human.hdf5'
    with h5py.File(path, 'w') as file:
        rows = [row for episode in lived[0] for row in episode[2][:-1]]
        file['observations'] = np.zeros((2 * COUNT, 39), np.float32)
        file['actions'] = np.concatenate([episode[1] for episode in lived[0]])
        file['rewards'] = np.arange(2 * COUNT, dtype=np.float32)
        file['terminals'] = np.zeros(2 * COUNT, bool)
        file['timeouts'] = np.arange(2 * COUNT) % COUNT == COUNT - 1
        for key in rows[0]:
            file[f'infos/{key}'] = np.stack([row[key] for row in rows])
    figures = import_recordings(path, 'adroit_door', tmp_path / 'out', camera_size=SIZE)
    assert figures['actions'] == 2 * (COUNT - 1)  # what the last ones led to is not recorded
    first, second = Demonstrations(tmp_path / 'out').episodes()
    np.testing.assert_array_equal(first.frames[-1], lived[0][0][0][COUNT - 1].frame)
    np.testing.assert_array_equal(second.frames[0], lived[0][1][0][0].frame)
    np.testing.assert_array_equal(second.rewards, np.arange(COUNT, 2 * COUNT - 1))


def test_pictures_are_taken_as_they_are_and_have_no_truth(tmp_path, small):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    path = tmp_path / 'pictures.hdf5'
    with h5py.File(path, 'w') as file:
        group = file.create_group('episode_0')
        group['observations/image'] = pictures
        group['observations/state'] = np.zeros((4, 5))
        group['actions'] = [[0.5], [3.0], [-0.5]]
        group['rewards'] = [1.0, 2.0, 3.0]
        group['terminations'] = group['truncations'] = [False, False, True]
    arguments = ['demonstrations', 'import', str(path), '--task', 'cartpole_swingup', '--out',
                 str(tmp_path / 'out'), '--action-repeat', '8']
    assert cli.main(arguments) == 0
    assert cli.main(arguments) == 2  # and what is there stays
    (episode,) = Demonstrations(tmp_path / 'out').episodes()
    np.testing.assert_array_equal(episode.frames, pictures)
    assert episode.actions.tolist() == [[0.5], [1.0], [-0.5]]  # clipped as the simulator would
    limits = [-1.0], [1.0]
    raw = small(camera_size=24, observation={'size': 24, 'source': 'raw'})
    assert [step.reward for step, _ in steps_of(tmp_path / 'out', raw, limits)] == [0, 1, 2, 3]
    with pytest.raises(DemonstrationError, match='no true masks'):
        steps_of(tmp_path / 'out', small(camera_size=24), limits)


def test_a_run_begins_with_them_and_a_resumed_one_has_them(tmp_path, imported, config):
    run = tmp_path / 'run'
    calls = []
    train_direct(config, run, demonstrations=imported, on_progress=calls.append,
                 should_stop=lambda: len(calls) >= 8)
    steps = np.load(run / 'replay' / 'steps.npy')
    assert load_checkpoint(run).counters['demonstrated'] == 10
    assert steps['start'][:11].tolist() == [0] * 5 + [5] * 5 + [10]
    before = steps[:10].tobytes()
    fewer = tmp_path / 'fewer'
    fewer.mkdir()
    shutil.copy(imported / 'episode_00000.npz', fewer)
    info = json.loads((imported / 'demonstrations.json').read_text())
    (fewer / 'demonstrations.json').write_text(json.dumps({**info, 'lengths': info['lengths'][:1]}))
    with pytest.raises(CheckpointError, match='10 demonstrated time steps, not 5'):
        train_direct(config, run, demonstrations=fewer)
    progress = train_direct(config, run)
    assert (progress['done'], progress['step']) == (True, 12)
    assert np.load(run / 'replay' / 'steps.npy')[:10].tobytes() == before


@pytest.mark.parametrize(('break_it', 'said'), [
    (lambda file: file.pop('episode_1/actions'), "episode_1: there is no 'actions'"),
    (lambda file: file.pop('episode_0/state'), 'neither pictures'),
    (lambda file: file.pop('episode_0/state/door_body_pos'), 'lacks door_body_pos'),
    (lambda file: swap(file, 'episode_0/actions', np.zeros((COUNT, 24))), '28 numbers, got 24'),
    (lambda file: swap(file, 'episode_0/actions', np.full((COUNT, 28), np.nan)), 'finite'),
    (lambda file: swap(file, 'episode_0/rewards', np.zeros(3)), 'rewards'),
    (lambda file: swap(file, 'episode_0/state/qpos', np.zeros((COUNT + 1, 31))), r'shape \(30,\)'),
    (lambda file: swap(file, 'episode_0/state/qvel', np.zeros((2, 30))), f'{COUNT + 1} qvel'),
    (lambda file: [file.pop(name) for name in list(file)], "no 'actions'"),
])
def test_what_does_not_fit_is_named_and_leaves_no_demonstrations(tmp_path, minari, break_it, said):
    path = shutil.copy(minari / 'data' / 'main_data.hdf5', tmp_path)
    with h5py.File(path, 'r+') as file:
        break_it(file)
    with pytest.raises(DemonstrationError, match=said) as caught:
        import_recordings(path, 'adroit_door', tmp_path / 'out', camera_size=SIZE)
    assert '\n' not in str(caught.value)
    with pytest.raises(DemonstrationError, match='no demonstrations'):
        Demonstrations(tmp_path / 'out')


def swap(file, key, values):
    del file[key]
    file[key] = values


def test_another_task_and_files_that_are_none_are_named(tmp_path, minari):
    with pytest.raises(DemonstrationError, match="'AdroitHandDoor-v1', not of task 'adroit_pen'"):
        import_recordings(minari, 'adroit_pen', tmp_path / 'out')
    with pytest.raises(DemonstrationError, match='there is no file'):
        import_recordings(tmp_path / 'nowhere', 'adroit_door', tmp_path / 'out')
    cut = tmp_path / 'cut.hdf5'
    cut.write_bytes((minari / 'data' / 'main_data.hdf5').read_bytes()[:3000])
    with pytest.raises(DemonstrationError, match='as HDF5'):
        import_recordings(cut, 'adroit_door', tmp_path / 'out')


def test_demonstrations_that_do_not_fit_a_run_are_refused(
        tmp_path, minari, imported, lived, config, small):
    folder, limits = tmp_path / 'out', lived[1]
    shutil.copytree(imported, folder)
    info = json.loads((folder / 'demonstrations.json').read_text())
    (folder / 'demonstrations.json').write_text(json.dumps({**info, 'action_repeat': 2}))
    with pytest.raises(DemonstrationError, match="'adroit_door', not 'cartpole_swingup'"):
        steps_of(folder, small(), limits)
    for changes, said in (({'action_repeat': 3}, 'divide'), ({'camera_size': 40}, '32 x 32')):
        with pytest.raises(DemonstrationError, match=said):
            steps_of(folder, replace(config, **changes), limits)
    joints = replace(config.observation, proprioception=('elbow',))
    with pytest.raises(DemonstrationError, match="joint 'elbow'"):
        steps_of(folder, replace(config, observation=joints), limits)
    with pytest.raises(DemonstrationError, match='action limits'):
        steps_of(folder, config, ([-1.0], [1.0]))
    episode = folder / 'episode_00000.npz'
    whole = episode.read_bytes()
    for damaged in (whole[:500], whole[:-200], b''):
        episode.write_bytes(damaged)
        with pytest.raises(DemonstrationError, match='not an .npz file'):
            steps_of(folder, config, limits)
    shutil.copy(minari / 'data' / 'metadata.json', folder / 'demonstrations.json')
    with pytest.raises(DemonstrationError, match='is not of format'):
        Demonstrations(folder)
