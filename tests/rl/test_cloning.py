# SPDX-License-Identifier: Apache-2.0
"""Cloning on the real simulated arm, briefly."""

import argparse
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samg_ros import cli
from samg_ros.errors import CheckpointError, ConfigError, ExpertError
from samg_ros.interruption import EXIT_INTERRUPTED
from samg_ros.masking import Masker, MaskerSettings, apply_mask
from samg_ros.masking.tracker import Tracker
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.commands import train_clone as clone_command
from samg_ros.rl.data.replay import Batch
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.experts import FOLDER, early_end
from samg_ros.rl.experts.early_end import LOW_REWARD_STEPS
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.presets import clone_config
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.direct import train_direct
from samg_ros.rl.training.imperfect_masks import show_imperfectly
from samg_ros.rl.training.rollout import Rollout
from samg_ros.sim.env import SimEnv
from samg_ros.sim.reference import render_reference
from samg_ros.sim.tasks import get_task


@pytest.fixture(scope='module')
def masker():
    return Masker.load('mini', MaskerSettings(fit_weights=False, passes=1)).fit(
        render_reference('arm_reach', 32, 32)
    )


@pytest.fixture(scope='module')
def with_memory():
    return Masker.load('mini', MaskerSettings(temporal='prior')).fit(
        render_reference('arm_reach', 32, 32))


def clone(config, run_dir, masker, masks='truth', **options):
    return train_direct(config, run_dir, masker=masker, masks=masks, **options)


def settings(**changes):
    values = {'steps': 84, 'update_after': 40, 'batch_size': 8, 'checkpoint_every': 20,
              'replay_capacity': 100, 'camera_size': 32, 'hidden_dim': 16, 'feature_dim': 8,
              'action_repeat': 1, 'convolutions': [[4, 3, 2]], 'observation': {'size': 16}}
    return clone_config('arm_reach', **{**values, **changes})


@pytest.mark.parametrize(('name', 'masks'), [('masker', 'truth'), ('with_memory', 'masker')])
def test_an_interrupted_run_ends_with_the_weights_of_one_left_alone(
        tmp_path, name, masks, request):
    masker = request.getfixturevalue(name)
    whole = clone(settings(), tmp_path / 'whole', masker, masks)
    asked = []
    # In the middle of an episode of 20 steps.
    parts = clone(settings(), tmp_path / 'parts', masker, masks, on_progress=asked.append,
                  should_stop=lambda: len(asked) == 53)
    assert not parts['done'] and parts['step'] == 51
    parts = clone(settings(), tmp_path / 'parts', masker, masks)
    assert parts['done'] and parts['episode'] == whole['episode'] == 4
    ours, theirs = (load_checkpoint(tmp_path / name) for name in ('whole', 'parts'))
    for network in ('encoder', 'actor'):
        for name, weights in ours.agent[network].items():
            assert torch.equal(weights, theirs.agent[network][name])
    assert ours.replay == theirs.replay


def test_a_run_goes_on_in_the_next_episode_where_its_own_ends_earlier_now(
        tmp_path, masker, monkeypatch):
    """As a checkpoint of before episodes ended early."""
    asked = []
    clone(settings(), tmp_path, masker, on_progress=asked.append,
          should_stop=lambda: len(asked) == 53)
    before = load_checkpoint(tmp_path)
    assert before.counters['steps'] == 51
    monkeypatch.setitem(LOW_REWARD_STEPS, get_task('arm_reach').domain, 3)
    monkeypatch.setattr(early_end, '_LOW_REWARD', np.inf)
    begun, reset = [], Rollout._reset
    monkeypatch.setattr(Rollout, '_reset', lambda self: begun.append(1) or reset(self))
    after = clone(settings(), tmp_path, masker)
    own, more = 2, (84 - 51) // 3  # before and after the one that ends earlier now
    assert after['done'] and after['episode'] == own + more
    assert len(begun) == 1 + more + 1  # with the next one, in which nothing is done


def test_frames_are_masked_with_the_memory_of_their_own_episode():
    masker = Masker.load('mini', MaskerSettings(temporal='prior')).fit(
        render_reference('cartpole_swingup', 84, 84))
    config = clone_config('cartpole_swingup', action_repeat=25, observation={'size': 84})
    env, same = (SimEnv('cartpole_swingup', action_repeat=25) for _ in range(2))
    learner = SimpleNamespace(continue_episode=lambda: [], episodes_begun=0, steps=0)
    rollout, rest = Rollout(env, config, masker), np.zeros(1)
    seen = [rollout.begin(learner), *(rollout.answer(rest) for _ in range(45))]
    step, episodes, by_memory = None, 0, 0
    for time_step in seen:
        step = same.step(rest) if step is not None and not step.last else same.reset()
        if step.first:
            tracker, episodes = Tracker(masker), episodes + 1
        mask = tracker.mask(step.frame, step.time_ns)
        by_memory += not np.array_equal(mask, masker(step.frame[None])[0])
        shown = time_step.observation['pixels'][-3:].transpose(1, 2, 0)
        assert np.array_equal(shown, apply_mask(step.frame, mask))
    assert episodes == 2 and by_memory


def test_the_command_makes_a_policy_on_masked_frames_and_ends_with_its_report(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    clone_command.add_arguments(parser)
    args = parser.parse_args([
        *('--run-dir', str(tmp_path), '--masks', 'masker', '--steps', '12', '--episodes', '1'),
        *('--set', 'camera_size=32', '--set', 'action_repeat=50', '--set', 'update_after=4'),
        *('--set', 'batch_size=4', '--set', 'observation={"size": 16}'),
        *('--set', 'convolutions=[[4, 3, 2]]', '--set', 'replay_capacity=100'),
    ])
    assert clone_command.run(args) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / 'report.html')
    assert 'arm_reach' in (tmp_path / 'report.html').read_text()
    policy = load_policy(tmp_path)
    assert policy.spec.source == 'masked' and policy.spec.proprioception[0] == 'joint_1'
    assert len(policy.reference.parts) == 2
    assert policy.masker().describe() == policy.masker_description
    assert policy.counters['masks'] == 'masker'


def test_a_clone_goes_on_by_reward_from_its_own_weights(tmp_path, capsys):
    """At first its critic alone learns, so that what it can do is not unlearned."""
    parser = argparse.ArgumentParser()
    clone_command.add_arguments(parser)
    command = [
        *('--run-dir', str(tmp_path), '--steps', '12', '--episodes', '0', '--finetune', '10'),
        *('--set', 'camera_size=32', '--set', 'action_repeat=50', '--set', 'update_after=4'),
        *('--set', 'batch_size=4', '--set', 'observation={"size": 16}'),
        *('--set', 'convolutions=[[4, 3, 2]]', '--set', 'replay_capacity=100')]
    assert clone_command.run(parser.parse_args(command)) == 0
    clone, tuned = (load_checkpoint(path) for path in (tmp_path, tmp_path / 'finetuned'))
    assert tuned.config.agent == 'drqv2' and tuned.config.observation == clone.config.observation
    assert tuned.counters['steps'] == 10 and tuned.config.critic_first > 10
    for network in ('encoder', 'actor'):
        for name, weights in clone.agent[network].items():
            assert torch.equal(weights, tuned.agent[network][name])
    with pytest.raises(ConfigError, match='goes on with one run'):
        clone_command.run(parser.parse_args([*command, '--seed', '0,1']))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('finetune', [0, 10])
def test_a_run_that_is_stopped_before_its_first_frame_is_saved_and_goes_on(
        tmp_path, capsys, monkeypatch, number, finetune):
    command = [
        'train', 'clone', '--run-dir', str(tmp_path / 'run'), '--steps', '12', '--episodes', '0',
        '--masks', 'truth', '--finetune', str(finetune),
        *('--set', 'camera_size=32', '--set', 'action_repeat=50', '--set', 'update_after=4'),
        *('--set', 'batch_size=4', '--set', 'observation={"size": 16}'),
        *('--set', 'convolutions=[[4, 3, 2]]', '--set', 'replay_capacity=100')]
    begin, stops = Rollout.begin, [number, *([0, number] if finetune else [0]), 0]

    def stopped(rollout, learner):
        if stop := stops.pop(0):
            signal.raise_signal(stop)
        return begin(rollout, learner)

    monkeypatch.setattr(Rollout, 'begin', stopped)
    for _ in range(2 if finetune else 1):
        assert cli.main(command) == EXIT_INTERRUPTED
        printed = capsys.readouterr()
        assert 'at step 0; the same command goes on.' in printed.out
        assert '0%  step 0/' in printed.err and 'Traceback' not in printed.err
    assert cli.main(command) == 0
    last = tmp_path / 'run' / 'finetuned' if finetune else tmp_path / 'run'
    assert load_checkpoint(last).counters['done']


def test_imitation_comes_closer_to_the_experts_actions():
    config = settings(learning_rate=3e-3)
    imitator = Imitator(config, 9)
    batch = Batch(
        torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8), torch.rand(16, 6),
        torch.rand(16, 9) - 0.5, torch.zeros(16, 1), torch.zeros(16, 1),
        torch.zeros(16, 3, 16, 16, dtype=torch.uint8), torch.zeros(16, 6))
    losses = [float(imitator.update(batch, 0)['imitation_loss']) for _ in range(150)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_run_does_not_go_on_with_other_settings(tmp_path, masker):
    clone(settings(steps=20), tmp_path, masker)
    before = (tmp_path / 'checkpoint.pt').read_bytes()
    with pytest.raises(CheckpointError, match='learning_rate'):
        clone(settings(learning_rate=0.5), tmp_path, masker)
    with pytest.raises(CheckpointError, match="masks 'truth', not 'masker'"):
        clone(settings(), tmp_path, masker, masks='masker')
    assert (tmp_path / 'checkpoint.pt').read_bytes() == before
    assert load_checkpoint(tmp_path).counters['masks'] == 'truth'


def test_a_clone_of_a_trained_expert_sees_three_frames_and_ends_behind_the_masker(tmp_path):
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1)).fit(
        render_reference('cartpole_swingup', 32, 32))
    asked = []

    class Counted:
        reference, objects, describe = masker.reference, masker.objects, masker.describe
        settings = masker.settings

        def predict(self, frames):
            asked.append(len(frames))
            return masker.predict(frames)

    config = clone_config(
        'cartpole_swingup', steps=60, update_after=20, batch_size=8, checkpoint_every=20,
        camera_size=32, hidden_dim=16, feature_dim=8, action_repeat=100,
        convolutions=[[4, 3, 2]], observation={'size': 16})
    progress = clone(config, tmp_path, Counted(), masks='both')
    assert progress['done'] and load_policy(tmp_path).spec.frame_stack == 3
    # Episodes of 11 frames: those that begin before step 40 are masked by the truth. The simulator
    # shows one frame more than the learner needs.
    assert sum(asked) == 2 * 11 + 1
    own = FOLDER / 'cartpole_swingup.npz'
    other = tmp_path / 'other.npz'
    replace(StatePolicy.load(own), facts={}).save(other)
    with pytest.raises(CheckpointError, match='expert'):
        clone(config, tmp_path, masker, masks='both', expert=other)


def test_an_agent_that_would_not_learn_it_is_refused():
    with pytest.raises(ConfigError, match='leave the agent out'):
        settings(agent='pieg')
    assert settings(agent='imitation') == settings()


def test_a_masker_that_a_checkpoint_cannot_carry_is_refused(tmp_path):
    reference = render_reference('arm_reach', 32, 32)
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1))
    masker.fit({'arm': reference, 'goal': reference})
    with pytest.raises(ConfigError, match='fitted to 2, of arm, goal'):
        clone(settings(), tmp_path, masker)
    assert not list(tmp_path.iterdir())


def test_a_task_without_an_expert_is_refused(tmp_path, masker):
    config = clone_config('reacher_easy')
    with pytest.raises(ExpertError, match="'reacher_easy'"):
        clone(config, tmp_path, masker)
    assert not tmp_path.joinpath('replay').exists()


def test_an_imperfect_mask_shows_most_of_the_object_and_nothing_of_the_background():
    rng = np.random.default_rng(0)
    frame = np.full((84, 84, 3), 250, np.uint8)
    mask = np.zeros((84, 84), bool)
    mask[20:60, 30:70] = True
    frame[mask] = 100, 0, 0
    kept, wrong = [], 0
    for _ in range(50):
        shown = show_imperfectly(frame, mask, (0, 0, 0), rng)
        kept.append((shown[mask] == (100, 0, 0)).all(axis=1).mean())
        wrong += int((shown[~mask] > 0).any())
        assert (shown[~mask] == 250).all(axis=1).mean() < 0.01
    assert 0.5 < np.mean(kept) < 1.0 and min(kept) < 0.97
    assert wrong > 25
