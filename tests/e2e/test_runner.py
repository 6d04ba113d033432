# SPDX-License-Identifier: Apache-2.0
"""`samg run sim_train` as a user starts it: a process of its own, and Ctrl-C."""

import time
from pathlib import Path

import pytest
import rclpy
from busy_machine import limit_s
from processes import Command

from samg_ros import cli
from samg_ros.bags.bag import open_bag
from samg_ros.errors import CheckpointError
from samg_ros.files.share import parameter_file
from samg_ros.graphs.one_process import OneProcess
from samg_ros.graphs.sim_train import PARAMETER_FILE, make_plan
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.ros.domain import choose_domain
from samg_ros.ros.signals import StopSignal

TINY = ('{"batch_size": 8, "hidden_dim": 16, "random_steps": 20, "update_after": 30, '
        '"update_every": 10, "action_repeat": 100, "checkpoint_every": 1000}')


def arguments(tmp_path, *more):
    return ('run', 'sim_train', '--method', 'rl', '--run-dir', str(tmp_path / 'run'),
            '--overrides', TINY, '--episodes', '1', *more)


def test_ctrl_c_saves_and_the_same_command_resumes_to_the_report(tmp_path):
    command = Command(tmp_path, *arguments(tmp_path, '--steps', '5000'))
    command.wait_for('[trainer]: training', 300)
    time.sleep(limit_s(2.0))
    limit = limit_s(5.0)
    assert command.interrupt() < limit
    assert command.process.returncode == 130, command.text()
    assert 'Traceback' not in command.text() and 'saved' in command.text()
    reached = load_checkpoint(tmp_path / 'run').counters['steps']
    assert reached > 0

    command = Command(tmp_path, *arguments(tmp_path, '--steps', str(reached + 10)))
    assert command.process.wait(300) == 0, command.text()
    lines = command.text().splitlines()
    assert f'from step {reached} of' in command.text()
    assert lines[-1] == str((tmp_path / 'run' / 'report.html').resolve())
    assert Path(lines[-1]).stat().st_size > 10_000
    assert 'Traceback' not in command.text()


def test_a_run_that_cannot_be_saved_at_the_end_is_an_error_and_all_the_rest_is_closed(tmp_path):
    plan = make_plan('cartpole_swingup', overrides='{"observation": {"source": "truth"}}',
                     run_dir=tmp_path / 'run', method='rl')
    parameters, recording = parameter_file('', PARAMETER_FILE), tmp_path / 'session.mcap'
    recording.write_text('a session of before, which --overwrite gave up')
    choose_domain()
    with StopSignal() as stop_signal, pytest.raises(CheckpointError, match='checkpoint.pt'), \
            OneProcess(plan.nodes, parameters, stop_signal, recording) as graph:
        graph.spin(lambda: graph['trainer'].answers > 5)
        (plan.run_dir / 'checkpoint.pt').mkdir()  # which no file can replace
    assert not rclpy.ok()
    bag = open_bag(recording)
    assert bag.counts['/command'] and not bag.losses


@pytest.mark.parametrize('moment', ['', 'graph in', 'reference:'])
def test_ctrl_c_while_it_starts_ends_it_without_a_traceback(tmp_path, moment):
    command = Command(tmp_path, *arguments(tmp_path))
    command.wait_for(moment)
    time.sleep(1.5 if moment == '' else 0.3)
    limit = limit_s(5.0)
    assert command.interrupt() < limit
    assert command.process.returncode == 130
    assert 'Traceback' not in command.text()


@pytest.mark.parametrize('wrong, said', [
    (['--task', 'cartpole_swing'], 'cartpole_swingup'),
    (['--reference', '/no/such/folder'], '/no/such/folder'),
    (['--videos', '/no/videos'], '/no/videos'),
    (['--params-file', '/no/file.yaml'], '/no/file.yaml'),
    (['--overrides', '{"observation": {"source": "blurred"}}'], 'masked, raw, truth')])
def test_a_wrong_argument_is_one_line_and_exit_status_2(tmp_path, capsys, wrong, said):
    assert cli.main([*arguments(tmp_path), *wrong]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('samg: error') and said in line


def test_a_mask_model_of_the_parameter_file_is_not_overridden(tmp_path):
    plan = make_plan('cartpole_swingup', run_dir=tmp_path)
    assert 'model' not in plan.parameters('perception')
    assert plan.parameters('perception')['second_look'] is False
    own = tmp_path / 'own.yaml'
    own.write_text('/**/perception: {ros__parameters: {second_look: true}}\n')
    plan = make_plan('cartpole_swingup', run_dir=tmp_path, params_file=str(own))
    assert 'second_look' not in plan.parameters('perception')
    plan = make_plan('cartpole_swingup', run_dir=tmp_path, model='dinov2-s+sam-vit-b')
    assert plan.parameters('perception')['model'] == 'dinov2-s+sam-vit-b'
