# SPDX-License-Identifier: Apache-2.0
"""Training, evaluation and report on the real simulator, briefly."""

import argparse
import json
import signal

import numpy as np
import pytest

from samg_ros.arguments import parse_settings
from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.interruption import stop_on_signals
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.progress import duration, progress_line
from samg_ros.rl.commands import train_policy as train_command
from samg_ros.rl.evaluation.episodes import RANDOM_SHARE, evaluate_policy, evaluate_run
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training import direct as train
from samg_ros.sim.reference import render_reference


@pytest.fixture
def tiny(small):
    def make(**changes):
        values = {'steps': 40, 'observation': {'size': 24, 'source': 'truth'}}
        return small(**{**values, **changes})

    return make


@pytest.fixture
def trained(tmp_path, tiny):
    train.train_direct(tiny(), tmp_path / 'run')
    return tmp_path / 'run'


def test_a_stopped_run_is_saved_and_goes_on(tmp_path, tiny):
    calls = []
    progress = train.train_direct(
        tiny(), tmp_path, should_stop=lambda: len(calls) >= 25, on_progress=calls.append
    )
    assert (progress['done'], progress['step']) == (False, 25)
    again = train.train_direct(tiny(), tmp_path)
    assert (again['done'], again['step']) == (True, 40)


def test_masked_training_wants_a_masker(tmp_path, tiny):
    with pytest.raises(ConfigError, match='masker'):
        train.train_direct(tiny(observation={'source': 'masked', 'size': 24}), tmp_path)


def test_masked_training_wants_a_masker_that_a_checkpoint_can_carry(tmp_path, tiny):
    config = tiny(observation={'source': 'masked', 'size': 24})
    masker = Masker.load('mini', MaskerSettings(fit_weights=False, passes=1))
    masker.fit([render_reference(config.task, 32, 32, seed=seed) for seed in (0, 1)])
    with pytest.raises(ConfigError, match='fitted to 2, of object; fit it to one'):
        train.train_direct(config, tmp_path, masker=masker)
    assert not list(tmp_path.iterdir())


def test_a_run_is_evaluated_from_its_checkpoint(trained):
    evaluation = evaluate_run(trained, episodes=1, max_steps=20)
    assert list(evaluation.results) == ['train', 'video_hard']
    hard = evaluation.results['video_hard']
    assert len(hard.returns) == 1
    assert len(evaluation.random.returns) == RANDOM_SHARE
    assert len(hard.strip) == 6
    assert len(hard.video) == 21
    view = hard.strip[3]
    np.testing.assert_array_equal(view.masked[view.mask], view.frame[view.mask])
    assert not view.masked[~view.mask].any()
    assert (view.frame[~view.mask] > 0).mean() > 0.5
    figures = json.loads((trained / 'evaluation.json').read_text())
    assert figures['results']['video_hard']['mean_return'] == hard.mean_return
    assert figures['counters']['steps'] == 40


def test_the_same_seed_evaluates_to_the_same_returns(trained):
    policy = load_policy(trained)
    first, second = (
        evaluate_policy(policy, policy.task, 'video_hard', 1, seed=3, max_steps=15).returns
        for _ in range(2)
    )
    assert first == second


def test_a_policy_is_not_evaluated_on_another_task(trained):
    with pytest.raises(CheckpointError, match="'cartpole_swingup', not 'walker_walk'"):
        evaluate_policy(load_policy(trained), 'walker_walk', 'train')


def test_the_command_trains_and_ends_with_the_path_of_the_report(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    args = parser.parse_args(
        [
            *('--steps', '12', '--source', 'truth', '--run-dir', str(tmp_path), '--seed', '3'),
            *('--set', 'batch_size=4', '--set', 'random_steps=4', '--set', 'update_after=4'),
            *('--set', 'action_repeat=50', '--set', 'observation={"size": 24}'),
            *('--set', 'convolutions=[[4, 3, 2]]', '--episodes', '1'),
            *('--json', str(tmp_path / 'figures.json')),
        ]
    )
    assert train_command.run(args) == 0
    report = tmp_path / 'report.html'
    assert capsys.readouterr().out.splitlines()[-1] == str(report)
    assert 'cartpole_swingup' in report.read_text()
    policy = load_policy(tmp_path)
    assert (policy.config.seed, policy.config.batch_size, policy.spec.size) == (3, 4, 24)
    assert policy.spec.source == 'truth'
    assert json.loads((tmp_path / 'figures.json').read_text())['seed'] == 3


def test_ctrl_c_is_a_question_between_steps():
    with stop_on_signals() as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_settings_on_the_command_line_are_json_or_words():
    assert parse_settings(['seed=3', 'task=walker_walk', 'crop=[1, 2]']) == {
        'seed': 3, 'task': 'walker_walk', 'crop': [1, 2]
    }
    with pytest.raises(ConfigError, match='NAME=VALUE'):
        parse_settings(['seed'])


def test_the_progress_line_shows_return_iou_speed_and_time_left():
    progress = {
        'step': 300, 'steps': 1200, 'return': 123.4, 'mask_iou': 0.876, 'steps_per_s': 30.0,
        'seconds_left': 90.0,
    }
    line = progress_line(progress)
    for part in ('25%', '300/1200', 'return 123', 'IoU 0.88', '30.0 frames/s', '1:30 min'):
        assert part in line
    unknown = progress_line({**progress, 'return': None, 'mask_iou': None, 'seconds_left': None})
    assert 'return -' in unknown
    assert len(line) < 100
    assert [duration(s) for s in (42, 545, 12000)] == ['42 s', '9:05 min', '3:20 h']
