# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from dm_control import suite

from samg_ros.errors import CommandError, ConfigError, UnknownSettingError, UnknownTaskError
from samg_ros.masking.tracker import LONGEST_GAP_S
from samg_ros.sim.env import SimEnv
from samg_ros.sim.sim_step import SimStep
from samg_ros.sim.visual.settings import SETTINGS
from samg_ros.step_types import BETWEEN_EPISODES_NS, FIRST, LAST, MID


def rollout(env: SimEnv, steps: int = 6, seed: int = 7) -> list[SimStep]:
    rng = np.random.default_rng(seed)
    return [env.reset(), *(env.step(rng.uniform(*env.action_spec)) for _ in range(steps))]


def equal(one: SimStep, other: SimStep, but: tuple[str, ...] = ()) -> bool:
    names = {field.name for field in dataclasses.fields(SimStep)} - {'views', *but}
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names) and all(
        np.array_equal(image, image_of_other)
        for view, view_of_other in zip(one.views, other.views, strict=True)
        for image, image_of_other in zip(view, view_of_other, strict=True))


@pytest.mark.parametrize('setting', SETTINGS)
def test_same_seed_and_actions_give_the_same_bits(setting: str) -> None:
    runs = []
    for _ in range(2):
        env = SimEnv('walker_walk', setting, seed=3)
        runs.append(rollout(env) + rollout(env))
        env.close()
    assert all(equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.parametrize('setting', ['train', 'color_hard', 'video_hard'])
def test_reset_with_a_seed_is_a_new_environment_with_that_seed(setting: str) -> None:
    fresh = SimEnv('cheetah_run', setting, seed=5)
    used = SimEnv('cheetah_run', setting, seed=1)
    rollout(used)
    assert equal(fresh.reset(), used.reset(seed=5), but=('time_ns',))
    assert equal(fresh.reset(), used.reset(), but=('time_ns',))
    fresh.close()
    used.close()


def test_another_seed_gives_another_episode() -> None:
    one, other = SimEnv('walker_walk', seed=1), SimEnv('walker_walk', seed=2)
    assert not np.array_equal(one.reset().frame, other.reset().frame)
    one.close()
    other.close()


def test_rewards_are_the_suites_summed_over_the_action_repeat() -> None:
    env = SimEnv('walker_walk', seed=4, action_repeat=3)
    theirs = suite.load('walker', 'walk', task_kwargs={'random': 4})
    env.reset()
    theirs.reset()
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(*env.action_spec)
        assert env.step(action).reward == sum(theirs.step(action).reward for _ in range(3))
    assert np.array_equal(env.data.qpos, theirs.physics.data.qpos)
    env.close()


@pytest.mark.parametrize('action_repeat', [250, 300])
def test_an_episode_is_a_thousand_control_steps(action_repeat: int) -> None:
    env = SimEnv('cartpole_swingup', action_repeat=action_repeat, truth=False)
    assert env.reset().step_type == FIRST
    steps = [env.step([0.0])]
    while not steps[-1].last:
        steps.append(env.step([0.0]))
    assert len(steps) == -(-1000 // action_repeat)
    assert [step.step_index for step in steps] == list(range(1, len(steps) + 1))
    assert {step.step_type for step in steps[:-1]} == {MID}
    assert steps[-1].step_type == LAST
    assert steps[-1].discount == 1.0
    with pytest.raises(CommandError, match='call reset first'):
        env.step([0.0])
    env.close()


def test_time_goes_on_through_a_reset_and_leaves_a_gap_that_ends_the_memory_of_masks() -> None:
    env = SimEnv('walker_walk')
    first, second = ([step.time_ns for step in rollout(env, 3)] for _ in range(2))
    assert first[0] == env.control_period_ns == 50_000_000
    assert {*np.diff(first), *np.diff(second)} == {env.control_period_ns}
    assert second[0] - first[-1] == BETWEEN_EPISODES_NS > LONGEST_GAP_S * 1e9
    env.close()


def test_the_truth_is_the_same_in_every_setting() -> None:
    masks = []
    for setting in SETTINGS:
        env = SimEnv('walker_walk', setting, seed=2)
        masks.append(np.stack([step.mask for step in rollout(env, 3)]))
        env.close()
    assert masks[0].any()
    assert all(np.array_equal(masks[0], mask) for mask in masks[1:])


def test_parts_divide_the_object() -> None:
    env = SimEnv('ball_in_cup_catch')
    step = env.reset()
    assert step.mask is not None and step.parts is not None
    assert np.array_equal(step.parts > 0, step.mask)
    assert set(np.unique(step.parts)) == {0, 1, 2}
    env.close()


@pytest.mark.parametrize('setting', ['train', 'video_hard'])
def test_without_truth_the_frames_are_the_same(setting: str) -> None:
    env, bare = SimEnv('cheetah_run', setting), SimEnv('cheetah_run', setting, truth=False)
    for one, other in zip(rollout(env, 3), rollout(bare, 3), strict=True):
        assert np.array_equal(one.frame, other.frame)
        assert other.mask is None and other.parts is None
    env.close()
    bare.close()


def test_joints_come_with_their_names() -> None:
    env = SimEnv('cartpole_swingup')
    step = env.reset()
    assert step.joint_names == env.joint_names == ('slider', 'hinge_1')
    assert np.array_equal(step.joint_positions, env.data.qpos)
    env.close()


@pytest.mark.parametrize(('action', 'message'), [
    ([0.0, 0.0], r'shape \(1,\), got \(2,\)'),
    ([np.nan], 'must be finite'),
    (['left'], 'must be 1 numbers'),
])
def test_a_bad_action_is_refused_and_changes_nothing(action: list[object], message: str) -> None:
    env = SimEnv('cartpole_swingup')
    env.reset()
    state = env.data.qpos.copy()
    with pytest.raises(CommandError, match=message):
        env.step(action)  # type: ignore[arg-type]
    assert np.array_equal(env.data.qpos, state)
    assert env.step([0.5]).step_index == 1  # type: ignore[arg-type]
    env.close()


def test_an_action_out_of_range_is_clipped() -> None:
    steps = []
    for action in (1.0, 50.0):
        env = SimEnv('cartpole_swingup')
        env.reset()
        steps.append(env.step(np.array([action])))
        env.close()
    assert equal(*steps)


def test_wrong_names_are_told_before_anything_is_built() -> None:
    with pytest.raises(UnknownTaskError, match="'walker_fly'"):
        SimEnv('walker_fly')
    with pytest.raises(UnknownSettingError, match='did you mean video_hard'):
        SimEnv('walker_walk', 'video_hrad')
    with pytest.raises(ConfigError, match='action_repeat is 0'):
        SimEnv('walker_walk', action_repeat=0)


def test_further_cameras_show_the_same_moment_as_environments_of_their_own() -> None:
    both = SimEnv('quadruped_walk', 'video_hard', seed=3, more_cameras=(0, 'y'))
    assert both.camera_ids == (2, 0, 'y')
    for camera, shown in enumerate(rollout(both, 3)[-1].views):
        one = SimEnv('quadruped_walk', 'video_hard', seed=3, camera_id=both.camera_ids[camera])
        assert all(map(np.array_equal, shown, rollout(one, 3)[-1].views[0]))
        one.close()
    both.close()


def test_an_unknown_further_camera_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no camera 'nose'"):
        SimEnv('walker_walk', more_cameras=('nose',))
