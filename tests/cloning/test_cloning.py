# SPDX-License-Identifier: Apache-2.0
"""From a data set on disk to a policy: what it learns, and that interruptions change nothing."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from samg_ros import cli
from samg_ros.arguments import check_outputs
from samg_ros.cli import build_parser
from samg_ros.cloning import runs
from samg_ros.cloning.batches import Samples
from samg_ros.cloning.command import _settings
from samg_ros.cloning.runs import CloneChoices, _action_limits, begin
from samg_ros.cloning.samples import LearnedEpisode, learned_actions
from samg_ros.cloning.training import TRAINING_NAME, Cloning
from samg_ros.demonstrations.masked_export import export_masked
from samg_ros.errors import (
    CheckpointError,
    ConfigError,
    DemonstrationError,
    InvalidInputError,
)
from samg_ros.interruption import EXIT_INTERRUPTED
from samg_ros.masking import Masker, MaskerSettings, Reference
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.perception.references import load_reference
from samg_ros.rl.agents.chunk_network import AS_RECORDED, VELOCITIES, ChunkSettings
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.policy import load_policy

from .conftest import JOINTS, PERIOD_S, SPEED, episode, picture

SMALL = ('--set', 'observation={"size": 32}', '--set', 'batch_size=16', '--set', 'hidden_dim=64',
         '--set', 'checkpoint_every=20', '--chunk', '4')


def clone(dataset, run_dir, *more):
    """Run the command; return its exit status."""
    words = ['train', 'clone', '--demonstrations', str(dataset), '--run-dir', str(run_dir), *SMALL,
             *more]
    args = build_parser(('train', 'clone')).parse_args(words)
    check_outputs(args)
    return args.samg_run(args)


@pytest.fixture(scope='module')
def learned(dataset, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp('learned') / 'run'
    assert clone(dataset, run_dir, '--source', 'raw', '--camera', 'front', '--steps', '600',
                 '--set', 'learning_rate=0.003', '--json', str(run_dir.parent / 'found.json')) == 0
    return run_dir


def test_the_policy_moves_towards_what_it_sees(learned):
    policy = load_policy(learned)
    assert policy.task == 'go to the disc' and policy.spec.proprioception == JOINTS
    observer = Observer(policy.spec)
    right = 0
    for seed in range(100, 120):  # goals that were not demonstrated
        rng = np.random.default_rng(seed)
        goal, joints = rng.uniform(-0.9, 0.9, (2, 2))
        action = policy.act(observer.reset(picture(goal), joints), 0.0, True)
        far = np.abs(goal - joints) > 0.2
        right += int((np.sign(action) == np.sign(goal - joints))[far].all())
        assert np.abs(action).max() < 2 * SPEED
    assert right >= 17


def test_figures_show_the_held_out_loss_and_the_error_of_each_joint(learned, capsys):
    found = json.loads((learned / 'cloning.json').read_text())
    assert found['held_out'] == 1 and found['episodes'] == 12 and found['learned'] == VELOCITIES
    losses = [each['loss'] for each in found['history']]
    assert found['best']['loss'] == min(losses) < 0.5 * losses[0]
    assert set(found['best']['action_error']) == set(JOINTS)
    assert found['period_s'] == pytest.approx(PERIOD_S)


def test_two_cameras_and_their_masks_are_learned_from(dataset, reference, tmp_path):
    assert clone(dataset, tmp_path, '--steps', '20', '--reference', str(reference),
                 '--camera-reference', f'side={reference}') == 0
    policy = load_policy(tmp_path)
    assert policy.more_cameras == ('side',) and policy.spec.source == 'masked'
    assert policy.masker().describe() == policy.masker_description
    side = load_reference(tmp_path / 'side')
    assert np.array_equal(side.mask, Reference.load(reference).mask)
    with pytest.raises(CheckpointError, match="no reference for a camera 'left'; it has side"):
        load_reference(tmp_path / 'left')
    frame = picture((0, 0))
    with pytest.raises(InvalidInputError, match='the policy also sees the camera side'):
        policy.observer().reset(frame, (0.0, 0.0))
    action = policy.act(policy.observer().reset(frame, (0.0, 0.0), {'side': frame}), 0.0, True)
    assert action.shape == (2,) and np.isfinite(action).all()


def test_a_masked_data_set_brings_its_masker_along(dataset, reference, tmp_path):
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1)).fit(
        Reference.load(reference))
    export_masked(dataset, tmp_path / 'masked', masker)
    assert clone(tmp_path / 'masked', tmp_path / 'run', '--steps', '20') == 0
    policy = load_policy(tmp_path / 'run')
    assert policy.masker_description == masker.describe()
    assert np.array_equal(policy.reference.image, masker.reference.image)


def test_a_training_that_loses_its_last_steps_five_times_ends_with_the_same_weights():
    episodes = [_seen(episode(seed)) for seed in range(4)]
    config = TrainConfig(steps=60, batch_size=4, checkpoint_every=10, shift_pad=1,
                         learning_rate=1e-3, observation=ObservationSpec(size=32, frame_stack=1))
    settings = ChunkSettings(('front',), 2, 2, 3, PERIOD_S, channels=(4, 4), hidden_dim=8,
                             pixels=(3, 32, 32))

    def state(run_dir, *stops):
        run_dir.mkdir()
        for stop in (*stops, 60):
            cloning = Cloning(config, settings, episodes, run_dir)
            cloning.run(should_stop=lambda at=stop, own=cloning: own.step >= at)  # saves nothing
        return torch.load(run_dir / TRAINING_NAME, weights_only=True)

    with tempfile.TemporaryDirectory() as folder:
        whole = state(Path(folder) / 'whole')
        again = state(Path(folder) / 'again', 4, 17, 23, 38, 51)
    for name in ('network', 'average', 'best'):
        for key, weights in whole[name].items():
            assert torch.equal(weights, again[name][key])
    assert whole['history'] == again['history'] and whole['step'] == again['step'] == 60


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_before_its_first_step_goes_on(dataset, tmp_path, monkeypatch,
                                                                  capsys, number):
    words = ('--source', 'raw', '--camera', 'front', '--steps', '20')
    prepare = runs.prepare

    def stopped(*arguments):
        signal.raise_signal(number)
        return prepare(*arguments)

    monkeypatch.setattr(runs, 'prepare', stopped)
    assert clone(dataset, tmp_path / 'run', *words) == EXIT_INTERRUPTED
    assert 'at step 0; the same command goes on.' in capsys.readouterr().out
    monkeypatch.setattr(runs, 'prepare', prepare)
    assert clone(dataset, tmp_path / 'run', *words) == 0
    assert _step(tmp_path / 'run') == 20


def _seen(shown):
    """An episode as the learner reads it, of one camera."""
    return LearnedEpisode({'front': shown.frames['front'].transpose(0, 3, 1, 2).copy()},
                          shown.joints.astype(np.float32), learned_actions(shown, VELOCITIES),
                          PERIOD_S)


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(dataset, tmp_path):
    words = ('--source', 'raw', '--camera', 'front', '--steps', '100')
    assert clone(dataset, tmp_path / 'whole', *words) == 0
    command = [sys.executable, '-m', 'samg_ros', 'train', 'clone', '--demonstrations',
               str(dataset), '--run-dir', str(tmp_path / 'killed'), *SMALL, *words]
    killed = 0
    while killed < 5:  # before the first checkpoint, and after each of the others
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={
            **os.environ, 'OMP_NUM_THREADS': '1'})
        until = time.monotonic() + 120
        while _step(tmp_path / 'killed') < 20 * killed and process.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert clone(dataset, tmp_path / 'killed', *words) == 0
    whole, again = (torch.load(tmp_path / name / TRAINING_NAME, weights_only=True)
                    for name in ('whole', 'killed'))
    assert again['step'] == 100
    for name, weights in whole['network'].items():
        assert torch.equal(weights, again['network'][name])
    assert whole['history'] == again['history']


def _step(run_dir):
    """Steps of the newest checkpoint of a training."""
    path = run_dir / TRAINING_NAME
    return torch.load(path, weights_only=True)['step'] if path.exists() else -1


def test_a_joint_that_never_moves_has_limits_that_a_checkpoint_can_hold():
    still = LearnedEpisode({}, np.zeros((3, 0), np.float32),
                           np.array([[0.1, 0.0], [-0.2, 0.0], [0.3, 0.0]]), 0.1)
    low, high = _action_limits([still])
    assert (low < high).all() and low == pytest.approx([-0.325, 0.0])
    assert high == pytest.approx([0.425, 0.0])


def test_velocities_are_the_changes_until_the_next_sample():
    shown = episode(3)
    velocities = learned_actions(shown, VELOCITIES)
    assert velocities.shape == shown.actions.shape
    assert np.allclose(velocities[:-1] * PERIOD_S, np.diff(shown.actions, axis=0))
    assert np.array_equal(velocities[-1], velocities[-2])
    assert learned_actions(shown, AS_RECORDED) is shown.actions


def test_chunks_do_not_go_on_into_the_next_episode():
    episodes = [LearnedEpisode({'a': np.zeros((5, 3, 8, 8), np.uint8)},
                               np.zeros((5, 1), np.float32), np.full((5, 1), float(value)), 0.1)
                for value in (1, 2)]
    samples = Samples(episodes, ('a',), 3, ObservationSpec(size=8), 0)
    batch = samples.at(np.arange(10))
    assert batch.valid[3].tolist() == [1, 1, 0] and batch.valid[4].tolist() == [1, 0, 0]
    assert set(batch.actions[:5].flatten().tolist()) == {1.0}


def test_augmentation_changes_the_object_and_leaves_what_is_masked_out():
    pixels = np.zeros((1, 3, 32, 32), np.uint8)
    pixels[:, :, 8:24, 8:24] = 120
    samples = Samples([LearnedEpisode({'a': pixels}, np.zeros((1, 1), np.float32),
                                      np.zeros((1, 1)), 0.1)], ('a',), 1,
                      ObservationSpec(size=32, frame_stack=1), 0)
    seen = torch.cat([samples.random(8, 0, step).pixels[0] for step in range(8)]).numpy()
    inside = seen[:, :, 12:20, 12:20].reshape(64, -1)
    assert len({tuple(each) for each in inside}) > 40  # colours and masks differ
    assert (seen[:, :, 0, 0] == 0).all(axis=1).mean() > 0.7
    again = torch.cat([samples.random(8, 0, step).pixels[0] for step in range(8)]).numpy()
    assert np.array_equal(seen, again)


@pytest.mark.parametrize('more, error, words', [
    ((), ConfigError, "camera 'front' needs a reference"),
    (('--camera', 'left'), ConfigError, "no camera 'left'; they have front, side"),
    (('--set', 'noise_start=1'), ConfigError, "'noise_start' means nothing"),
    (('--source', 'truth'), ConfigError, 'masked by a masker'),
    (('--every', '9'), ConfigError, 'leaves frames without an action'),
    (('--camera-reference', 'top=x'), ConfigError, "the camera 'top'; the .* have front, side"),
    (('--source', 'raw', '--reference', 'x'), ConfigError, 'leave out the references')])
def test_what_cannot_be_learned_is_named_before_the_work(dataset, tmp_path, more, error, words):
    with pytest.raises(error, match=words):
        clone(dataset, tmp_path / 'run', *more)
    assert not (tmp_path / 'run' / 'frames').exists()


def test_a_folder_without_demonstrations_is_named(tmp_path):
    with pytest.raises(DemonstrationError, match='neither a LeRobot data set nor'):
        clone(tmp_path, tmp_path / 'run')


def test_a_run_does_not_go_on_with_other_settings(dataset, learned):
    with pytest.raises(CheckpointError, match='other settings or'):
        clone(dataset, learned, '--source', 'raw', '--camera', 'front', '--steps', '700')


def test_the_steps_of_an_expert_s_clone_are_not_those_of_demonstrations(dataset, tmp_path):
    args = build_parser(('train', 'clone')).parse_args(['train', 'clone', '--demonstrations',
                                                        str(dataset)])
    run = begin(CloneChoices(dataset, tmp_path, None, {}, ('front',), 'raw', 'mini', None, 'cpu',
                             8, 1, None, 0, _settings(args)))
    assert run.cloning.config.steps == 6000


@pytest.mark.parametrize('option', [['--task', 'walker_walk'], ['--expert', 'a.npz'],
                                    ['--finetune', '5'], ['--episodes', '3'],
                                    ['--masks', 'both'], ['--videos', 'v'], ['--ray', 'none']])
def test_options_of_experts_are_refused_beside_demonstrations(option, capsys):
    assert cli.main(['train', 'clone', '--demonstrations', 'cups', *option]) == 2
    assert f'{option[0]} is for cloning an expert' in capsys.readouterr().err
