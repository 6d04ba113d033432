# SPDX-License-Identifier: Apache-2.0
"""Training an expert on states, briefly."""

import argparse
import json

import numpy as np
import pytest

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.rl.commands import train_expert
from samg_ros.rl.experts import make_expert
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.experts.state_replay import StateReplay
from samg_ros.rl.experts.stumbles import Stumbles
from samg_ros.rl.experts.training import ExpertRun, expert_config
from samg_ros.sim.env import SimEnv


def settings(**changes):
    return expert_config('cartpole_swingup', **{
        'steps': 100, 'action_repeat': 50, 'random_episodes': 2, 'test_every': 2,
        'test_episodes': 1, **changes})


def finished(run_dir, **changes):
    run = ExpertRun(settings(**changes), run_dir)
    while not run.done:
        run.episode()
    weights = run.policy().weights
    run.close()
    return weights


def test_an_interrupted_run_ends_with_the_weights_of_one_left_alone(tmp_path):
    whole = finished(tmp_path / 'whole')
    finished(tmp_path / 'parts', steps=40)
    parts = finished(tmp_path / 'parts')
    assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_disturbed_run_learns_the_same_actions_from_other_states(tmp_path):
    """What is remembered is what the agent chose; what happened is what the noise made of it."""
    runs = [ExpertRun(settings(disturbance=each), tmp_path / str(each)) for each in (0.0, 0.5)]
    for run in runs:
        run.episode()
    (calm, rough) = (run._replay.state_dict() for run in runs)
    assert not np.array_equal(calm['replay_next_state'], rough['replay_next_state'])
    assert np.array_equal(calm['replay_state'][0], rough['replay_state'][0])
    assert np.array_equal(calm['replay_action'][0], rough['replay_action'][0])
    for run in runs:
        run.close()


def test_an_expert_says_what_it_reaches_with_and_without_disturbance(tmp_path):
    run = ExpertRun(settings(disturbance=1.0, steps=40), tmp_path)
    while not run.done:
        run.episode()
    run.close()
    facts = StatePolicy.load(tmp_path / 'expert.npz').facts
    assert facts['disturbance'] == 1.0 and facts['disturbed_return'] == round(run.best, 1)
    assert facts['return'] != facts['disturbed_return']


def test_a_stumble_moves_the_body_whatever_the_policy_wants_and_is_remembered(tmp_path):
    """Unlike a disturbance: what follows a stumble is learned as what follows its action."""
    run = ExpertRun(settings(action_repeat=2, stumble_every=30), tmp_path)
    act, rng = run._explore(None), np.random.default_rng(0)
    states, actions, _ = run._act_out(run._simulation, act, rng)
    wanted = np.stack([act(state) for state in states[:-1]])
    stumbling = (actions != wanted).any(-1)
    assert 0.2 < stumbling.mean() < 0.8
    both = stumbling[1:] & stumbling[:-1]
    assert (actions[1:] == actions[:-1])[both].mean() > 0.9
    _, calm, _ = run._act_out(run._simulation, lambda state: act(state) * 0, rng, calm=True)
    assert not calm.any()
    run.close()


def test_stumbles_come_as_often_as_asked_and_none_where_none_are_wanted():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    none = Stumbles(0, 2, rng)
    assert all(none() is None for _ in range(100)) and rng.bit_generator.state == before
    stumble = Stumbles(100, 2, rng)
    actions = [stumble() for _ in range(20_000)]
    begun = sum(a is not None and b is None for a, b in zip(actions[1:], actions, strict=False))
    assert begun == pytest.approx(20_000 / (100 + 22.5), rel=0.2)
    taken = np.stack([a for a in actions if a is not None])
    assert taken.shape[1] == 2 and np.abs(taken).max() <= 1


def test_a_training_episode_ends_early_and_a_test_does_not(tmp_path):
    config = expert_config('cheetah_run', steps=150, random_episodes=2, test_every=2,
                           test_episodes=1)
    run = ExpertRun(config, tmp_path)
    tested = []
    act_out = run._act_out
    run._act_out = lambda *args, **options: tested.append(act_out(*args, **options)) or tested[-1]
    run.episode()
    run.episode()
    lengths = [len(rewards) for _, _, rewards in tested]
    assert lengths[:2] == [100, 100] and run.steps == 200 and set(lengths[2:]) == {500}
    run.close()


def test_a_run_from_before_a_setting_existed_goes_on(tmp_path):
    finished(tmp_path, steps=40)
    with np.load(tmp_path / 'run.npz') as file:
        values = dict(file)
    config = json.loads(str(values['config']))
    del config['stumble_every'], config['end_after']
    np.savez(tmp_path / 'run.npz', **{**values, 'config': np.array(json.dumps(config))})
    ExpertRun(settings(), tmp_path).close()
    with pytest.raises(CheckpointError, match='stumble_every 0, not 9'):
        ExpertRun(settings(stumble_every=9), tmp_path)


def test_other_settings_and_damaged_runs_are_refused(tmp_path):
    finished(tmp_path, steps=40)
    with pytest.raises(CheckpointError, match='n_step 3, not 1'):
        ExpertRun(settings(n_step=1), tmp_path)
    (tmp_path / 'run.npz').write_bytes((tmp_path / 'run.npz').read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='is not an .npz file of plain arrays'):
        ExpertRun(settings(), tmp_path)


def test_the_command_writes_an_expert_that_acts(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    train_expert.add_arguments(parser)
    args = parser.parse_args(['--task', 'cartpole_swingup', '--steps', '500', '--run-dir',
                              str(tmp_path)])
    assert train_expert.run(args) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / 'expert.npz')
    env = SimEnv('cartpole_swingup', height=16, width=16)
    expert = make_expert(env, tmp_path / 'expert.npz')
    env.reset()
    assert expert.act().shape == (1,)
    env.close()


def test_adroit_is_not_trained_here():
    with pytest.raises(ConfigError, match='DMControl'):
        expert_config('adroit_door')


def test_returns_of_n_steps_end_with_their_episode():
    replay = StateReplay(1, 1, 100, 3, 0.5)
    states = np.arange(5, dtype=np.float32)[:, None]
    replay.add(states, np.zeros((4, 1), np.float32), np.array([1, 2, 4, 8], np.float32))
    held = replay.state_dict()
    assert held['replay_reward'].tolist() == [3.0, 6.0, 8.0, 8.0]
    assert held['replay_discount'].tolist() == [0.125, 0.125, 0.25, 0.5]
    assert held['replay_next_state'][:, 0].tolist() == [3, 4, 4, 4]
    assert np.isclose(replay.mean[0], 2) and np.isclose(replay.deviation[0], np.sqrt(2))
