# SPDX-License-Identifier: Apache-2.0
"""Adroit as gymnasium-robotics has it, in our settings."""

import subprocess
import sys
from collections.abc import Mapping

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import samg_ros.sim.gym_env  # noqa: F401  # registers
from samg_ros.errors import CommandError, ConfigError, InvalidInputError, SamgError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import FLOOR
from samg_ros.sim.tasks import get_task, task_names

TASKS = [name for name in task_names() if name.startswith('adroit_')]


def test_the_four_tasks_are_there() -> None:
    assert TASKS == ['adroit_door', 'adroit_hammer', 'adroit_pen', 'adroit_relocate']


OWN = """
import sys
import numpy as np
import gymnasium_robotics.envs.adroit_hand as adroit
kept = {}
for task in ('door', 'hammer', 'pen', 'relocate'):
    own = getattr(adroit, f'AdroitHand{task.capitalize()}Env')(
        render_mode='rgb_array', width=84, height=84, camera_name='vil_camera')
    own.reset(seed=1)
    rng = np.random.default_rng(0)
    frames, rewards, positions = [own.render()], [], []
    for _ in range(5):
        action = rng.uniform(-1, 1, own.action_space.shape).astype(np.float32)
        steps = [own.step(action) for _ in range(2)]
        frames.append(own.render())
        rewards.append([sum(float(np.squeeze(s[1])) for s in steps), bool(steps[1][4]['success'])])
        positions.append(own.data.qpos.copy())
    kept |= {f'{task}_frames': frames, f'{task}_rewards': rewards, f'{task}_positions': positions}
np.savez(sys.argv[1], **kept)
"""


@pytest.fixture(scope='module')
def own(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, np.ndarray]:
    """What gymnasium-robotics shows; in a process of its own, as its renderer ends EGL for all."""
    path = tmp_path_factory.mktemp('own') / 'own.npz'
    subprocess.run([sys.executable, '-c', OWN, str(path)], check=True, capture_output=True)
    return dict(np.load(path))


@pytest.mark.parametrize('task', TASKS)
def test_paper_frames_rewards_and_states_are_gymnasium_robotics_own(
        task: str, own: Mapping[str, np.ndarray]) -> None:
    env = SimEnv(task, seed=1, quality='paper', camera_id='vil_camera')
    kind = task.removeprefix('adroit_')
    assert np.array_equal(env.reset().frame, own[f'{kind}_frames'][0])
    rng = np.random.default_rng(0)
    for index in range(5):
        step = env.step(rng.uniform(-1, 1, env.action_spec[0].shape).astype(np.float32))
        assert np.array_equal(step.frame, own[f'{kind}_frames'][index + 1])
        assert [step.reward, step.success] == own[f'{kind}_rewards'][index].tolist()
        assert np.array_equal(env.data.qpos, own[f'{kind}_positions'][index])
    env.close()


@pytest.mark.parametrize('task', TASKS)
def test_a_video_is_behind_hand_and_object_and_nowhere_else(task: str) -> None:
    plain, video = SimEnv(task, seed=2), SimEnv(task, 'video_hard', seed=2)
    before, after = plain.reset(), video.reset()
    assert before.mask is not None and after.mask is not None
    assert np.array_equal(before.mask, after.mask)
    same = (before.frame == after.frame).all(axis=2)
    assert same[after.mask].all()
    assert same[~after.mask].mean() < 0.25  # relocate's target is no floor and stays
    assert video._labels.geom[video.model.geom('ground').id] == FLOOR
    plain.close()
    video.close()


def test_the_hand_has_24_joints_and_the_camera_is_named() -> None:
    env = SimEnv('adroit_pen', seed=0)
    assert sum(name[:2] in ('WR', 'FF', 'MF', 'RF', 'LF', 'TH') for name in env.joint_names) == 24
    assert get_task('adroit_pen').camera_id == 'fixed'
    env.close()


def test_colours_change_hand_table_and_ground() -> None:
    plain, coloured = SimEnv('adroit_pen', seed=2, camera_id='vil_camera'), \
        SimEnv('adroit_pen', 'color_hard', seed=2, camera_id='vil_camera')
    before, after = plain.reset(), coloured.reset()
    assert before.parts is not None
    for where in (before.parts == 1, before.parts == 0):
        assert (before.frame[where] != after.frame[where]).any(axis=1).mean() > 0.3
    assert np.array_equal(before.mask, after.mask)
    plain.close()
    coloured.close()


def test_an_episode_ends_after_200_control_steps() -> None:
    env = SimEnv('adroit_hammer', seed=0, truth=False, height=16, width=16, action_repeat=8)
    step = env.reset()
    count = 0
    while not step.last:
        step = env.step(np.zeros(26))
        count += 1
    assert count == 25 and step.discount == 1.0
    env.close()


def test_a_state_that_diverges_is_named_and_a_reset_goes_on() -> None:
    env = SimEnv('adroit_door', seed=0)
    env.reset()
    env.data.qpos[0] = np.nan
    with pytest.raises(SamgError, match="'adroit_door' diverged"):
        env.step(np.zeros(28))
    assert np.isfinite(env.reset().joint_positions).all()
    env.close()


@pytest.mark.parametrize('task', TASKS)
def test_recorded_states_are_shown_as_they_were(task: str) -> None:
    env = SimEnv(task, seed=3, height=48, width=48)
    rng = np.random.default_rng(0)
    steps, states = [env.reset()], [env.simulation._env.get_env_state()]
    for _ in range(4):
        steps.append(env.step(rng.uniform(-1, 1, env.action_spec[0].shape)))
        states.append(env.simulation._env.get_env_state())
    env.reset()  # elsewhere
    for step, state in zip(steps, states, strict=True):
        shown = env.show({**states[0], 'qpos': state['qpos'], 'qvel': state['qvel']})
        assert np.array_equal(shown.frame, step.frame)
        assert np.array_equal(shown.parts, step.parts)
        assert np.array_equal(shown.joint_positions, step.joint_positions)
    with pytest.raises(CommandError, match='reset'):
        env.step(env.action_spec[0])
    for bad, said in (({'qpos': np.zeros(3)}, 'qpos'), ({'qvel': [np.nan] * env.model.nv}, 'qvel')):
        with pytest.raises(InvalidInputError, match=said):
            env.show({**states[0], **bad})
    env.close()


def test_states_of_other_families_are_refused() -> None:
    env = SimEnv('cartpole_swingup', truth=False)
    with pytest.raises(ConfigError, match="'cartpole_swingup' cannot be shown"):
        env.show({'qpos': np.zeros(2), 'qvel': np.zeros(2)})
    env.close()


def test_the_green_screen_is_refused() -> None:
    with pytest.raises(ConfigError, match="'adroit_pen' has no green screen"):
        SimEnv('adroit_pen', 'video_hard', composite='chroma_key')


def test_gymnasium_accepts_it() -> None:
    env = gymnasium.make('samg_ros/adroit_relocate-v0', height=32, width=32)
    check_env(env.unwrapped, skip_render_check=True)
    _, info = env.reset(seed=0)
    assert info['success'] is False
    env.close()
