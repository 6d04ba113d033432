# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu_learning.py at small sizes and without a GPU, so that every line of it has run.

SAMG_DRQV2_SRC names a checkout of facebookresearch/drqv2; without it, what needs it is skipped.
"""

import json
import os
from pathlib import Path

import pytest
from gpu_learning import REPORTED, carry_out, main, parse, run_config, table

from samg_ros.interruption import EXIT_INTERRUPTED
from samg_ros.rl.evaluation.episodes import SETTINGS

SOURCE = Path(os.environ.get('SAMG_DRQV2_SRC', '/nowhere'))
EPISODE = 10
"""Agent steps of an episode at this action repeat."""
SMALL = ['--device', 'cpu', '--frames', '2000', '--speed-frames', '500', '--warm-up', '4',
         '--workers', '1', '--episodes', '1', *(word for setting in (
             'action_repeat=100', f'update_after={EPISODE}', f'random_steps={EPISODE}',
             'batch_size=4', 'hidden_dim=32') for word in ('--set', setting))]


@pytest.fixture
def command(tmp_path):
    def with_code(repo):
        return ['--repo', str(repo), '--run-dir', str(tmp_path / 'run'), *SMALL]

    return with_code


def test_a_training_that_ran_out_of_time_goes_on_and_is_evaluated(command, tmp_path):
    (tmp_path / 'drqv2.py').touch()  # what is timed already needs no official code any more
    args = parse(command(tmp_path))
    config = run_config(args)
    figures = {'device': 'CPU', 'frames_per_s': {'official': 10.0, 'raw': 25.0}}
    saved = []
    asked = iter([False] * 8 + [True])
    assert not carry_out(args, config, figures, lambda: saved.append(1), lambda: next(asked))
    assert figures['training']['step'] == 7 and 'returns' not in figures

    assert carry_out(args, config, figures, lambda: saved.append(1), lambda: False)
    assert figures['training']['step'] == config.steps == 2 * EPISODE
    assert figures['training']['updates'] == EPISODE // 2 + 1
    assert list(figures['returns']) == list(SETTINGS)
    assert len(saved) == 4
    text = table(config, figures)
    assert 'ours, raw: 25.0 frames/s, 2.50 times' in text and '2000 of 2000 frames' in text
    assert f'MaDi {REPORTED["walker_walk"]["MaDi"]}' in text


def test_without_the_official_code_it_says_what_is_missing(command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(command(tmp_path))
    assert 'give a checkout of facebookresearch/drqv2' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not SOURCE.is_dir(), reason='SAMG_DRQV2_SRC may name the official DrQ-v2')
def test_one_command_times_trains_and_evaluates(command, capsys):
    command = command(SOURCE)
    assert main([*command, '--minutes', '0']) == EXIT_INTERRUPTED
    path = Path(command[3]) / 'figures.json'
    rates = json.loads(path.read_text())['frames_per_s']
    assert list(rates) == ['official', 'raw', 'masked'] and min(rates.values()) > 0

    assert main(command) == 0
    figures = json.loads(path.read_text())
    assert figures['frames_per_s'] == rates and figures['training']['done']
    assert 'return in video_hard' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='other settings'):
        main([*command, '--set', 'seed=1'])
