# SPDX-License-Identifier: Apache-2.0
"""Experts on the state: those that come with the package, files of others, and what is refused."""

import json
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from samg_ros.errors import ExpertError
from samg_ros.rl.experts import FOLDER, make_expert, shipped_experts
from samg_ros.rl.experts.advice import Advice
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.experts.trained import layout_of, visible_state
from samg_ros.sim.env import SimEnv

WANTED = {'ball_in_cup_catch': 950, 'cartpole_swingup': 850, 'cheetah_run': 600,
          'finger_spin': 950, 'hopper_stand': 800, 'quadruped_walk': 800, 'walker_stand': 940,
          'walker_walk': 900}
"""Returns of an episode, at least; what the students are to reach or more. The cheetah acts on less
than one with 812 did, which no student could follow."""


def environment(task, **options):
    return SimEnv(task, seed=5, height=16, width=16, truth=False, **{'action_repeat': 2, **options})


@pytest.mark.parametrize('task', sorted(WANTED))
def test_an_expert_of_the_package_knows_its_task(task):
    env = environment(task)
    expert = make_expert(env)
    step, total = env.reset(), 0.0
    while not step.last:
        step = env.step(expert.act())
        total += step.reward
    env.close()
    assert total >= WANTED[task]


def test_every_expert_of_the_package_is_small_and_says_what_it_reaches():
    assert set(shipped_experts()) == set(WANTED)
    for task in WANTED:
        path = FOLDER / f'{task}.npz'
        assert path.stat().st_size < 300_000
        policy = StatePolicy.load(path)
        assert policy.task == task and policy.facts['return'] >= WANTED[task]


def test_an_expert_does_not_act_on_which_end_of_the_spinner_is_which():
    """The mark on one end is hidden in this task, so no picture shows it."""
    env = environment('finger_spin')
    expert = make_expert(env)
    env.reset()
    for _ in range(5):
        env.step(expert.act())
    before = expert.act()
    tip = env.data.sensor('tip').data.copy()
    env.data.joint('hinge').qpos[0] += np.pi
    mujoco.mj_forward(env.model, env.data)
    assert not np.allclose(env.data.sensor('tip').data, tip, atol=0.1)
    assert np.allclose(before, expert.act(), atol=1e-4)
    env.close()


@pytest.mark.parametrize(('task', 'unseen'), [
    ('finger_spin', 'touch'), ('quadruped_walk', 'force_torque')])
def test_an_expert_does_not_feel_what_no_picture_shows(task, unseen):
    env = environment(task)
    assert unseen in env.simulation.state()
    assert unseen not in dict(layout_of(visible_state(env.spec, env.simulation)))
    assert unseen not in dict(StatePolicy.load(FOLDER / f'{task}.npz').state)
    env.close()


@pytest.mark.parametrize(('task', 'ends'), [('cheetah_run', 100), ('walker_walk', None)])
def test_a_cheetah_that_does_not_run_ends_the_episode_and_a_walker_does_not(task, ends):
    env = environment(task)
    advice = Advice(env)
    for _ in range(2):
        step, index = advice.on(env.reset())[0], 0
        while not step.last and index < 150:
            step, index = advice.on(env.step(np.zeros(env.action_spec[0].size)))[0], index + 1
        assert index == (ends or 150)
    env.close()


def given(states, actions, seed=0):
    """Arrays as DAPG's are."""
    rng = np.random.default_rng(seed)
    sizes = states, 32, 32, actions
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in (
        ('in_shift', states), ('in_scale', states), ('out_shift', actions), ('out_scale', actions))}
    for i in range(3):
        arrays[f'weight_{i}'] = rng.normal(size=(sizes[i + 1], sizes[i])).astype(np.float32)
        arrays[f'bias_{i}'] = rng.normal(size=sizes[i + 1]).astype(np.float32)
    return arrays


def test_given_arrays_are_read_as_their_readme_says(tmp_path):
    arrays = given(39, 28)
    np.savez(tmp_path / 'door.npz', **arrays)
    env = environment('adroit_door')
    expert = make_expert(env, tmp_path / 'door.npz')
    env.reset()
    x = (env.simulation.state()['observation'] - arrays['in_shift']) / (arrays['in_scale'] + 1e-8)
    for i in range(2):
        x = np.tanh(arrays[f'weight_{i}'] @ x + arrays[f'bias_{i}'])
    x = arrays['out_scale'] * (arrays['weight_2'] @ x + arrays['bias_2']) + arrays['out_shift']
    assert np.allclose(expert.act(), x.clip(-1, 1), atol=1e-4)
    env.close()
    hammer = environment('adroit_hammer')
    with pytest.raises(ExpertError, match="28 actions of 39 numbers, but 'adroit_hammer' has 26"):
        make_expert(hammer, tmp_path / 'door.npz')
    hammer.close()


def test_an_expert_of_something_else_is_refused_by_name(tmp_path):
    env = environment('cartpole_swingup')
    with pytest.raises(ExpertError, match="one of task 'walker_walk', not of 'cartpole_swingup'"):
        make_expert(env, FOLDER / 'walker_walk.npz')
    good = StatePolicy.load(FOLDER / 'cartpole_swingup.npz')
    path = tmp_path / 'expert.npz'
    replace(good, control='position').save(path)
    with pytest.raises(ExpertError, match="of control 'position', the environment's of 'action'"):
        make_expert(env, path)
    replace(good, state=(('position', 2), ('velocity', 3))).save(path)
    with pytest.raises(ExpertError, match=r'state position \(2\), velocity \(3\), but that of'):
        make_expert(env, path)
    with np.load(FOLDER / 'cartpole_swingup.npz') as file:
        arrays = dict(file)
    later = {**json.loads(str(arrays['description'])), 'version': 2}
    np.savez(path, **{**arrays, 'description': json.dumps(later)})
    with pytest.raises(ExpertError, match='version 2, this package reads 1'):
        make_expert(env, path)
    env.close()


def test_a_file_that_is_no_expert_is_refused(tmp_path):
    path = tmp_path / 'expert.npz'
    with pytest.raises(ExpertError, match='there is no expert'):
        StatePolicy.load(path)
    path.write_bytes(b'no archive')
    with pytest.raises(ExpertError, match='not an .npz file'):
        StatePolicy.load(path)
    np.savez(path, weight_0=np.array([{'code': 1}], dtype=object))
    with pytest.raises(ExpertError, match='plain arrays'):
        StatePolicy.load(path)
    arrays = given(39, 28)
    np.savez(path, **{**arrays, 'weight_1': arrays['weight_1'][:, :-1]})
    with pytest.raises(ExpertError, match='do not fit one another'):
        StatePolicy.load(path)


def test_a_task_without_an_expert_says_which_have_one():
    env = environment('reacher_easy')
    with pytest.raises(ExpertError, match="no expert for task 'reacher_easy'.*walker_walk"):
        make_expert(env)
    env.close()
