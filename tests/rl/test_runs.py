# SPDX-License-Identifier: Apache-2.0
"""Many runs: what is planned, what is done again, what is said of failures, and Ray."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError, MissingDependencyError, UnknownSettingError, WeightsError
from samg_ros.rl.evaluation.trials import Trials
from samg_ros.rl.sweeps.cluster import LOCAL, NO_RAY, connect
from samg_ros.rl.sweeps.pool import LOG_NAME, Spread, _take_cores, carry_out
from samg_ros.rl.sweeps.runs import plan_runs
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME

TINY = {
    'steps': 12, 'random_steps': 4, 'update_after': 6, 'batch_size': 4, 'hidden_dim': 8,
    'feature_dim': 4, 'convolutions': [[4, 3, 2]], 'action_repeat': 100, 'checkpoint_every': 5,
    'observation': {'size': 16},
}
# Not by importing it: it reads its environment then, which `connect` has to set before.
needs_ray = pytest.mark.skipif(importlib.util.find_spec('ray') is None,
                               reason='Ray is not installed: pip install ray')
TRIALS = Trials(('train',), episodes=1, max_steps=2)


def plan(root, trials=TRIALS, **changes):
    choices = {'tasks': ['cartpole_swingup'], 'seeds': [0], 'sources': ['truth'],
               'overrides': TINY, **changes}
    return plan_runs(root, trials, **choices)


def test_every_combination_is_a_run_in_a_folder_of_its_own(tmp_path):
    runs = plan(tmp_path, tasks=['cartpole_swingup', 'finger_spin'], seeds=[0, 3],
                sources=['raw', 'truth'], settings=['train', 'color_easy'])
    assert len({run.folder for run in runs}) == len(runs) == 16
    last = runs[-1]
    assert last.folder.name == 'finger_spin-quick-truth-color_easy-3'
    config = last.config
    assert (config.task, config.seed, config.setting, config.observation.source) == (
        'finger_spin', 3, 'color_easy', 'truth')
    assert (config.batch_size, config.observation.size) == (4, 16)
    with pytest.raises(ConfigError, match='named twice'):
        plan(tmp_path, seeds=[1, 1])


def test_clones_of_several_sources_stand_side_by_side(tmp_path, capsys):
    tiny = [f'--set={name}={json.dumps(value)}' for name, value in TINY.items() if name != 'steps']
    assert cli.main(['train', 'clone', '--task', 'cartpole_swingup', '--source', 'raw,truth',
                     '--steps', '12', '--episodes', '1', '--eval-setting', 'train', '--ray', NO_RAY,
                     '--run-dir', str(tmp_path), *tiny]) == 0
    assert sorted(path.name for path in tmp_path.glob('*/checkpoint.pt')) == ['checkpoint.pt'] * 2
    assert (tmp_path / 'cartpole_swingup-clone-raw-0').is_dir()
    table = capsys.readouterr().out
    assert 'raw' in table and 'truth' in table


@pytest.mark.parametrize(('options', 'error', 'message'), [
    ({'settings': ('fog',)}, UnknownSettingError, "'fog'"),
    ({'seeds': ()}, ConfigError, 'no seeds'),
    ({'episodes': 0}, ConfigError, 'episodes must be at least 1'),
])
def test_trials_that_cannot_be_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        Trials(**options)


def test_a_run_is_masked_with_the_weights_that_are_given(tmp_path):
    run, = plan(tmp_path, sources=['masked'], weights=str(tmp_path / 'own.safetensors'))
    with pytest.raises(WeightsError, match='own.safetensors'):
        run.carry_out()


def test_finished_runs_are_left_alone_and_others_go_on(tmp_path, capsys):
    first, second = plan(tmp_path, seeds=[0, 1])
    assert carry_out([first], Spread(NO_RAY)) == []
    written = (first.folder / CHECKPOINT_NAME).stat().st_mtime_ns
    assert carry_out([first, second], Spread(NO_RAY)) == []
    said = capsys.readouterr().err
    assert '1 of 2 runs are finished already' in said and 'finished (2 of 2)' in said
    assert (first.folder / CHECKPOINT_NAME).stat().st_mtime_ns == written
    (one,), (other,) = first.scores(), second.scores()
    assert one.config.seed == 0 and other.config.seed == 1
    assert len(one.result.strip) == 3
    # Other trials of the same training: it is tried again, not trained again.
    more, = plan(tmp_path, Trials(('train', 'color_easy'), episodes=1, max_steps=2))
    assert more.scores() is None
    carry_out([more], Spread(NO_RAY))
    assert len(more.scores()) == 2
    assert (first.folder / CHECKPOINT_NAME).stat().st_mtime_ns == written


def test_a_failure_is_tried_again_reported_and_does_not_stop_the_others(tmp_path, capsys):
    bad, good = plan(tmp_path, seeds=[0, 1])
    bad.folder.mkdir(parents=True)
    (bad.folder / CHECKPOINT_NAME).write_bytes(b'cut short')
    failure, = carry_out([bad, good], Spread(NO_RAY, retries=2))
    assert failure.run == bad and failure.attempts == 3
    assert 'CheckpointError' in failure.last_lines and 'cut short' in failure.last_lines
    assert (bad.folder / LOG_NAME).read_text().count('\nsamg_ros.errors.CheckpointError') == 3
    assert capsys.readouterr().err.count('is started again') == 2
    assert bad.scores() is None and good.scores() is not None


def test_the_command_ends_with_one_table_and_says_what_failed(tmp_path, capsys):
    (tmp_path / 'cartpole_swingup-quick-raw-1').mkdir()
    (tmp_path / 'cartpole_swingup-quick-raw-1' / CHECKPOINT_NAME).write_bytes(b'cut short')
    sizes = [part for name, value in TINY.items() if name not in ('steps', 'observation')
             for part in ('--set', f'{name}={value}')]
    status = cli.main(['train', 'policy', '--source', 'truth,raw', '--seed', '1', '--steps', '6',
                       '--run-dir', str(tmp_path), '--ray', 'none', '--retries', '0', *sizes,
                       '--episodes', '1', '--eval-setting', 'train'])
    shown = capsys.readouterr()
    assert status == 1
    assert 'cartpole_swingup  truth  train' in shown.out
    assert shown.out.splitlines()[-1] == str(tmp_path / 'runs.html')
    assert 'cartpole_swingup-quick-raw-1: failed 1 times' in shown.err
    assert shown.err.splitlines()[-1].startswith('samg: 1 of 2 runs failed')


@pytest.mark.parametrize(('options', 'message'), [
    (['--ray', '127.0.0.1:1'], "nothing answers at '127.0.0.1:1'"),
    (['--cores', '100000'], 'a run is to have 100000 cores'),
    (['--cores', '0'], "--cores: '0': expected a whole number of at least 1"),
    (['--source', 'xray'], 'source must be one of'),
])
@needs_ray
def test_what_cannot_be_spread_is_one_line_and_status_2(options, message, tmp_path, capsys):
    assert cli.main(['train', 'policy', '--seed', '0,1', '--run-dir', str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def holders(path: Path) -> list[int]:
    """Return the processes that have a file open, but this one."""
    found = []
    for process in Path('/proc').iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                links = [os.readlink(link) for link in (process / 'fd').iterdir()]
            except OSError:
                continue
            if str(path) in links:
                found.append(int(process.name))
    return found


def processes_below(parent: int) -> set[int]:
    """Return the processes that a process has started, and what they have."""
    found = {parent}
    for status in sorted(Path('/proc').glob('[0-9]*/stat'), key=lambda path: int(path.parts[2])):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if int(text.rpartition(')')[2].split()[1]) in found:
                found.add(int(status.parts[2]))
    return found - {parent}


def addresses_listened_on(processes: set[int]) -> list[str]:
    """Return the kernel's hexadecimal addresses of their listening TCP sockets."""
    sockets = set()
    for process in processes:
        for link in Path(f'/proc/{process}/fd').iterdir():
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(link))
    lines = [line.split() for kind in ('tcp', 'tcp6')
             for line in Path(f'/proc/net/{kind}').read_text().splitlines()[1:]]
    return [line[1].partition(':')[0] for line in lines
            if line[3] == '0A' and f'socket:[{line[9]}]' in sockets]


@needs_ray
@pytest.mark.ray
def test_ray_listens_on_loopback_alone_and_refuses_a_wrong_token():
    ray = connect(LOCAL, 1, 0)
    try:
        found = addresses_listened_on(processes_below(os.getpid()))
        assert len(found) >= 3
        assert {address[-8:] for address in found} == {'0100007F'}
        stranger = subprocess.run(
            [sys.executable, '-c', 'import ray, sys; ray.init(address=sys.argv[1])',
             ray.get_runtime_context().gcs_address], capture_output=True, text=True, timeout=300,
            env={**os.environ, 'RAY_AUTH_TOKEN': 'f' * 64}, check=False)
        assert stranger.returncode != 0 and 'oken' in stranger.stderr
    finally:
        ray.shutdown()


def test_a_ray_that_asks_for_no_token_is_refused(monkeypatch):
    old = types.ModuleType('ray')
    old.__version__ = '2.51.1'
    monkeypatch.setitem(sys.modules, 'ray', old)
    with pytest.raises(MissingDependencyError, match='Ray 2.51.1 .* install .ray>=2.52'):
        connect(LOCAL, 1, 0)


@needs_ray
@pytest.mark.ray
def test_many_runs_end_in_good_order_on_a_request_to_end(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-m', 'samg_ros', 'train', 'policy', '--task', 'cartpole_swingup',
         '--source', 'raw', '--seed', '0,1', '--cores', '1', '--run-dir', str(tmp_path)],
        stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if 'step' in line or '%' in line:
            break
    started = processes_below(process.pid)
    process.terminate()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and said.splitlines()[-1] == 'samg: interrupted'
    deadline = time.monotonic() + 30
    while any(Path(f'/proc/{each}').exists() for each in started):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_lock_of_another_user_does_not_stop_a_sweep(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    before = os.sched_getaffinity(0)
    for core in before:  # a folder cannot be opened for writing, not even by root
        (tmp_path / f'samg-core-{core}.lock').mkdir()
    try:
        assert _take_cores(1) == [] and os.sched_getaffinity(0) == before
    finally:
        os.sched_setaffinity(0, before)


@needs_ray
@pytest.mark.ray
def test_ray_starts_a_run_again_whose_process_was_killed(tmp_path, capsys):
    run, = plan(tmp_path)
    killed = []

    def kill():
        for _ in range(1200):
            time.sleep(0.1)
            for process in holders(run.folder / LOG_NAME):
                os.kill(process, signal.SIGKILL)
                killed.append(process)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        failures = carry_out([run], Spread(LOCAL, cores=1))
    finally:
        killer.join()
    assert failures == [] and len(killed) == 1
    said = capsys.readouterr().err
    assert 'its process died' in said and 'is started again' in said
    assert 'finished (1 of 1)' in said
    assert len(run.scores()) == 1


def test_a_run_says_how_far_it_is(tmp_path):
    run, = plan(tmp_path)
    assert run.share_done == 0
    run.carry_out()
    assert run.share_done > 0.5
