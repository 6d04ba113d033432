# SPDX-License-Identifier: Apache-2.0
"""The Jaco as dm_control has it, in our settings, by velocities and by positions."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import samg_ros.sim.gym_env  # noqa: F401  # registers
from samg_ros.errors import ConfigError, SamgError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.reference import render_reference
from samg_ros.sim.render import Renderer
from samg_ros.sim.tasks import get_task, load_simulation, task_names

TASKS = {'arm_lift': 'lift_brick_features', 'arm_reach': 'reach_site_features',
         'arm_reach_brick': 'reach_duplo_features'}
"""Ours, and dm_control's name for the same."""

JOINTS = tuple(f'joint_{i}' for i in range(1, 7)) + tuple(f'finger_{i}' for i in range(1, 4))


def test_the_tasks_are_there() -> None:
    assert [name for name in task_names() if name.startswith('arm_')] == list(TASKS)


@pytest.mark.parametrize('task', TASKS)
def test_paper_frames_rewards_and_states_are_dm_controls_own(task: str) -> None:
    from dm_control import manipulation

    spec = get_task(task)
    ours, own = load_simulation(spec, seed=1), manipulation.load(TASKS[task], seed=1)
    rng = np.random.default_rng(0)
    ours.reset()
    own.reset()
    for _ in range(4):
        action = rng.uniform(ours.action_low, ours.action_high)
        assert ours.step(action)[0] == own.step(action).reward
        assert np.array_equal(ours.data.qpos, own.physics.data.qpos)
    renderer = Renderer(ours.model, ours.data, camera_id=spec.camera_id, height=84, width=84,
                        quality='paper')
    theirs = own.physics.render(84, 84, camera_id='front_close')
    assert np.array_equal(renderer.render().frame, theirs)
    renderer.close()
    own.close()
    ours.close()


DIGEST = """
import hashlib
import numpy as np
from samg_ros.sim.env import SimEnv
env = SimEnv('arm_reach', 'color_hard', seed=4)
rng = np.random.default_rng(0)
seen = hashlib.sha256()
actions = [rng.uniform(*env.action_spec) for _ in range(4)]
for step in (env.reset(), *map(env.step, actions), env.reset()):
    seen.update(step.frame.tobytes() + step.parts.tobytes() + step.joint_positions.tobytes())
    seen.update(repr(step.reward).encode())
env.close()
"""


def test_a_seed_gives_the_same_trajectory_in_another_process() -> None:
    here: dict[str, Any] = {}
    exec(DIGEST, here)
    there = subprocess.run([sys.executable, '-c', f'{DIGEST}print(seen.hexdigest())'], check=True,
                           capture_output=True, text=True)
    assert there.stdout.strip() == here['seen'].hexdigest()


@pytest.mark.parametrize('task', TASKS)
def test_a_seed_begins_the_same_episode_after_any_other(task: str) -> None:
    simulation = load_simulation(get_task(task), seed=4)
    simulation.reset()
    model, states = simulation.model, []
    for seed in (4, 5, 4):
        simulation.seed(seed)
        simulation.reset()
        simulation.step(simulation.action_high)
        states.append(np.concatenate([simulation.data.qpos, simulation.data.qvel,
                                      simulation.data.site_xpos.ravel()]))
    assert np.array_equal(states[0], states[2])
    assert not np.array_equal(states[0], states[1])
    assert simulation.model is model  # a new one would cost a new OpenGL context
    simulation.close()


@pytest.mark.parametrize('task', TASKS)
def test_a_video_is_behind_arm_and_target_and_nowhere_else(task: str) -> None:
    plain, video = SimEnv(task, seed=2), SimEnv(task, 'video_hard', seed=2)
    before, after = plain.reset(), video.reset()
    assert after.parts is not None and after.mask is not None
    assert np.array_equal(before.parts, after.parts)
    assert set(np.unique(after.parts)) == {0, 1, 2}
    same = (before.frame == after.frame).all(axis=2)
    assert same[after.mask].all()
    assert same[~after.mask].mean() < 0.05
    plain.close()
    video.close()


def test_colours_change_arm_floor_and_sky_but_not_the_target() -> None:
    plain, coloured = SimEnv('arm_reach_brick', seed=2), SimEnv('arm_reach_brick', 'color_hard',
                                                                seed=2)
    before, after = plain.reset(), coloured.reset()
    assert before.parts is not None
    changed = (before.frame != after.frame).any(axis=2)
    assert changed[before.parts == 1].mean() > 0.9
    assert changed[before.parts == 0].mean() > 0.9
    assert changed[:5][before.parts[:5] == 0].mean() > 0.9  # the sky is above the floor's edge
    assert not changed[before.parts == 2].any()
    plain.close()
    coloured.close()


def test_a_reference_shows_arm_and_target() -> None:
    reference = render_reference('arm_reach')
    assert [int(part.sum()) > 40 for part in reference.parts] == [True, True]
    assert 0.05 < reference.mask.mean() < 0.4


def test_reach_succeeds_where_the_hand_is_within_5_cm_of_the_target() -> None:
    env = SimEnv('arm_reach', seed=1, truth=False)
    assert env.reset().success is False
    hand = env.data.site('jaco_arm/jaco_hand/pinchsite').xpos
    for away, success in ((0.04, True), (0.06, False)):
        env.model.site('target_site').pos = hand + [0, 0, away]
        step = env.step(np.zeros(9))
        assert step.success is success
        assert (step.reward == 1.0) is success
    env.close()


def test_joints_have_the_names_of_a_robot_description_and_actions_are_their_velocities() -> None:
    env = SimEnv('arm_lift', seed=0, truth=False)
    start = env.reset().joint_positions
    assert env.joint_names == JOINTS
    velocities = np.array([0.3, -0.3, 0.3, -0.5, 0.5, -0.5, 0.2, 0.2, 0.2])
    for _ in range(25):  # one second
        step = env.step(velocities)
    assert np.allclose((step.joint_positions - start)[:6], velocities[:6], atol=0.05)
    env.close()


def drive(env: SimEnv, target: np.ndarray, steps: int) -> np.ndarray:
    """Send joint positions again and again; returns where the joints were, (steps, 9)."""
    return np.array([env.step(target).joint_positions for _ in range(steps)])


def test_by_positions_every_joint_goes_there_within_its_speed_and_stays() -> None:
    env = SimEnv('arm_reach', seed=3, truth=False, control='position')
    start = env.reset().joint_positions
    target = start + [0.4, -0.3, 0.3, -0.5, 0.5, -0.6, 0, 0, 0]
    target[6:] = 0.4, 0.8, 1.2
    path = drive(env, target, 75)
    fastest = np.abs(np.diff(path, axis=0)).max(axis=0)[:6] / 0.04
    assert (fastest <= np.deg2rad([36] * 3 + [48] * 3) * 1.02).all()  # the Jaco's data sheet
    assert np.abs(path[-25:] - target).max() < 0.005  # rad, in the last second
    past = (path - target) * np.sign(target - start)
    assert past.max() < 0.005
    env.close()


def test_by_positions_the_resting_action_is_where_the_arm_is() -> None:
    env = SimEnv('arm_reach', seed=3, truth=False, control='position')
    start = env.reset().joint_positions
    assert np.array_equal(env.resting_action, start)
    assert np.abs(drive(env, env.resting_action, 25)[-1] - start).max() < 0.005
    low, high = env.action_spec
    assert (low[:6] < start[:6]).all() and (start[:6] < high[:6]).all()
    assert np.allclose((low[6:], high[6:]), [[0.15] * 3, [1.35] * 3])
    env.close()


def test_only_the_arm_takes_positions() -> None:
    assert get_task('arm_reach').command_topic == 'command'
    assert get_task('arm_reach').controlled_by('position').command_topic == (
        'forward_position_controller/commands')
    with pytest.raises(ConfigError, match="'walker_walk' has no control 'position'; it has action"):
        SimEnv('walker_walk', control='position')


def test_an_episode_ends_after_ten_seconds() -> None:
    env = SimEnv('arm_reach', seed=0, truth=False, height=16, width=16, action_repeat=50)
    step: Any = env.reset()
    count = 0
    while not step.last:
        step = env.step(np.zeros(9))
        count += 1
    assert count == 5 and step.discount == 1.0
    env.close()


@pytest.mark.parametrize('control', ['action', 'position'])
def test_a_state_that_diverges_is_named_and_a_reset_goes_on(control: str) -> None:
    env = SimEnv('arm_reach', seed=0, control=control)
    env.reset()
    env.data.qpos[0] = np.nan
    with pytest.raises(SamgError, match="'arm_reach' diverged"):
        env.step(np.ones(9))
    assert np.isfinite(env.reset().joint_positions).all()
    env.close()


def test_the_green_screen_is_refused() -> None:
    with pytest.raises(ConfigError, match="'arm_reach' has no green screen"):
        SimEnv('arm_reach', 'video_hard', composite='chroma_key')


def test_gymnasium_accepts_it() -> None:
    env = gymnasium.make('samg_ros/arm_reach-v0', height=32, width=32)
    check_env(env.unwrapped, skip_render_check=True)
    _, info = env.reset(seed=1)
    assert info['success'] is False
    env.close()
