# SPDX-License-Identifier: Apache-2.0
import dataclasses

import mujoco
import numpy as np
import pytest

from samg_ros.errors import ConfigError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import FIRST_PART, Renderer, scene_labels
from samg_ros.sim.sim_step import SimStep
from samg_ros.sim.visual.nuisances import Nuisances
from samg_ros.sim.visual.solid_texture import points_on_geoms

KINDS = [field.name for field in dataclasses.fields(Nuisances)]


def steps(nuisances: dict[str, float], task: str = 'walker_walk', seed: int = 4, count: int = 4,
          **options: object) -> list[SimStep]:
    env = SimEnv(task, seed=seed, nuisances=nuisances, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    found = [env.reset(), *(env.step(rng.uniform(*env.action_spec)) for _ in range(count))]
    env.close()
    return found


@pytest.mark.parametrize('kind', KINDS)
def test_changes_the_picture_and_leaves_the_physics(kind: str) -> None:
    plain, changed = steps({}), steps({kind: 0.5})
    assert not any(np.array_equal(one.frame, other.frame)
                   for one, other in zip(plain, changed, strict=True))
    assert all(one.reward == other.reward
               and np.array_equal(one.joint_positions, other.joint_positions)
               for one, other in zip(plain, changed, strict=True))


@pytest.mark.parametrize('kind', KINDS)
def test_a_stronger_nuisance_changes_more(kind: str) -> None:
    plain = steps({}, count=0)[0].frame.astype(int)
    by_strength = [np.abs(steps({kind: strength}, count=0)[0].frame - plain).mean()
                   for strength in (0.1, 0.3, 1.0)]
    assert 0 < by_strength[0] < by_strength[1] < by_strength[2]


def test_strength_zero_is_the_undisturbed_picture() -> None:
    assert all(np.array_equal(one.frame, other.frame) for one, other in zip(
        steps({}), steps(dict.fromkeys(KINDS, 0.0)), strict=True))


def test_the_same_seed_gives_the_same_bits_and_a_reset_draws_anew() -> None:
    everything = dict.fromkeys(KINDS, 0.5)
    env = SimEnv('finger_spin', 'video_hard', seed=9, nuisances=everything)
    first, second = env.reset().frame, env.reset().frame
    assert not np.array_equal(first, second)
    assert np.array_equal(first, env.reset(seed=9).frame)
    assert np.array_equal(second, env.reset().frame)
    env.close()


@pytest.mark.parametrize('kind', [
    'light', 'body_texture', 'sensor_noise', 'motion_blur', 'body_colour'])
def test_the_truth_stays_where_only_looks_change(kind: str) -> None:
    for plain, changed in zip(steps({}), steps({kind: 1.0}), strict=True):
        assert np.array_equal(plain.mask, changed.mask)


def test_camera_and_distractors_change_the_truth_with_the_picture() -> None:
    plain, turned, covered = (steps(which, count=0)[0].mask for which in (
        {}, {'camera': 1.0}, {'distractors': 1.0}))
    assert plain is not None and turned is not None and covered is not None
    assert not np.array_equal(plain, turned) and turned.any()
    assert covered.sum() <= plain.sum() and not (covered & ~plain).any()


def test_truth_is_the_resized_object_what_is_not_covered_and_no_double() -> None:
    plain, resized, doubled, covered = (steps(which, 'adroit_pen', count=0)[0].mask for which in (
        {}, {'body_size': 0.5}, {'double': 1.0}, {'cover': 0.7}))
    assert plain is not None and resized is not None and doubled is not None and covered is not None
    # 1.6 to the power of 0.5 either way, less what leaves the picture.
    assert 0.5 < resized.sum() / plain.sum() < 0.75 or 1.2 < resized.sum() / plain.sum() < 1.8
    assert not (doubled & ~plain).any() and doubled.sum() > 0.7 * plain.sum()
    assert not (covered & ~plain).any() and 0.1 < covered.sum() / plain.sum() < 0.9


def test_a_double_looks_like_the_object_and_stands_beside_it() -> None:
    plain, doubled = steps({}, count=0)[0], steps({'double': 1.0}, count=0)[0]
    assert plain.mask is not None
    new = (plain.frame != doubled.frame).any(axis=2) & ~plain.mask
    assert 0.4 < new.sum() / plain.mask.sum() < 1.1  # part of it may be out of the picture
    colour = [frame[where].mean(axis=0) for frame, where in (
        (plain.frame, plain.mask), (doubled.frame, new))]
    assert np.abs(colour[0] - colour[1]).max() < 30


def test_distractors_are_no_part_of_the_object_wherever_the_scene_puts_them() -> None:
    env = SimEnv('walker_walk', seed=4, nuisances={'distractors': 1.0})
    truth = env.reset(seed=4).mask
    assert env._renderer is not None
    for geom in env._renderer.scene.geoms[:100]:  # as if other geoms had been there
        geom.objtype, geom.objid = mujoco.mjtObj.mjOBJ_SITE, 99
    assert np.array_equal(env.reset(seed=4).mask, truth)
    env.close()


def test_a_texture_is_on_the_body_alone() -> None:
    plain, painted = steps({}, count=0)[0], steps({'body_texture': 1.0}, count=0)[0]
    assert plain.mask is not None
    assert np.array_equal(plain.frame[~plain.mask], painted.frame[~plain.mask])
    assert len(np.unique(painted.frame[plain.mask], axis=0)) > 20


def test_is_the_same_without_truth() -> None:
    everything = dict.fromkeys(KINDS, 0.5)
    for one, other in zip(steps(everything), steps(everything, truth=False), strict=True):
        assert np.array_equal(one.frame, other.frame) and other.mask is None


def test_points_on_geoms_lie_on_their_surfaces() -> None:
    env = SimEnv('ball_in_cup_catch', seed=1)
    env.reset()
    renderer = Renderer(env.model, env.data, camera_id=0, height=240, width=320)
    labels = scene_labels(env.model, env.spec)
    shown = renderer.render(labels, surface=True)
    assert shown.labels is not None and shown.geoms is not None and shown.depth is not None
    ball = shown.labels == FIRST_PART
    assert ball.sum() > 20
    points = points_on_geoms(renderer.scene, shown.geoms, shown.depth, ball)
    radius = env.model.geom_size[mujoco.mj_name2id(
        env.model, mujoco.mjtObj.mjOBJ_GEOM, 'ball'), 0]
    assert np.abs(np.linalg.norm(points, axis=1) - radius).max() < 0.05 * radius
    renderer.close()
    env.close()


@pytest.mark.parametrize(('strengths', 'message'), [
    ({'light': 1.5}, 'nuisance light is 1.5'), ({'camera': -0.1}, 'from 0 to 1'),
    ({'light': float('nan')}, 'nuisance light is nan'), ({'light': 'much'}, "'much'"),
    ({'fog': 0.5}, "no nuisance is called 'fog'; known: light, camera")])
def test_bad_strengths_are_errors(strengths: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimEnv('walker_walk', nuisances=strengths)
