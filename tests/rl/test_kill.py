# SPDX-License-Identifier: Apache-2.0
"""A training that is killed at random moments ends as one that was left alone, bit for bit.

The trainings are forked from one process that has imported everything, so that most of their time
is training; this file is that process too.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from samg_ros.rl.presets import preset
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.direct import train_direct
from samg_ros.rl.training.metrics import read_metrics
from samg_ros.sim.env import SimEnv

pytestmark = pytest.mark.slow

KILLS, EVERY = 5, 10
CONFIG = preset(
    'quick', 'cartpole_swingup', steps=130, random_steps=15, update_after=15, batch_size=8,
    hidden_dim=16, feature_dim=8, convolutions=[[4, 3, 2], [4, 3, 2]], checkpoint_every=EVERY,
    action_repeat=10, replay_capacity=60, observation={'size': 16, 'source': 'truth'},
)


def test_killed_five_times_at_random_a_run_ends_as_if_left_alone(tmp_path):
    seed = random.randrange(10**6)
    print('seed', seed)  # a failure shows it
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(seed)], capture_output=True, text=True,
        check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert len(kills) == KILLS
    for kill in kills:  # no more than one checkpoint interval is lost
        assert kill['saved'] >= kill['reached'] // EVERY * EVERY

    whole, killed = (load_checkpoint(tmp_path / name) for name in ('whole', 'killed'))
    assert killed.counters['steps'] == CONFIG.steps
    assert killed.counters['done']
    for checkpoint in (whole, killed):
        del checkpoint.counters['seconds']
    assert killed.counters == whole.counters
    assert killed.replay == whole.replay
    ours, theirs = (dict(tensors(checkpoint.agent)) for checkpoint in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert_replays_equal(tmp_path, killed.replay['count'])
    rows = [
        [(row['step'], row['episode_return']) for row in read_metrics(tmp_path / name)]
        for name in ('killed', 'whole')
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1


def assert_replays_equal(folder, count):
    """Every time step that is drawn from is there, once, in its slot, and the same."""
    for name in ('steps', 'frames'):
        ours, theirs = (
            np.load(folder / run / 'replay' / f'{name}.npy') for run in ('killed', 'whole')
        )
        slots = np.arange(count - CONFIG.replay_capacity, count) % len(ours)
        assert ours[slots].tobytes() == theirs[slots].tobytes()
        if name == 'steps':
            np.testing.assert_array_equal(
                ours['number'][slots], np.arange(count - CONFIG.replay_capacity, count)
            )


def tensors(state, name=''):
    """Names and tensors of a nested state."""
    if isinstance(state, torch.Tensor):
        yield name, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f'{name}.{key}')


def start(run_dir):
    """Train in a process of its own; returns its id and a file that tells each step it took."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        train_direct(
            CONFIG, run_dir, on_progress=lambda p: os.write(writer, b'%d\n' % p['step'])
        )
        os._exit(0)
    os.close(writer)
    return child, os.fdopen(reader)


def main(folder, seed):
    """Train once in peace and once with kills; print what the kills found as JSON."""
    # Imports what the children need; renders nothing, so that they can.
    SimEnv(CONFIG.task).close()
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]).step()
    chance = random.Random(seed)
    child, _ = start(folder / 'whole')
    assert os.waitpid(child, 0)[1] == 0
    kills, saved = [], 0
    for index in range(KILLS):
        begin = time.monotonic()
        child, told = start(folder / 'killed')
        target, step = saved + chance.randrange(3 * EVERY) if index else -1, 0
        while step < target:
            begin, step = time.monotonic(), int(told.readline())
        # Somewhere in the step after that one, or the first time while things are set up.
        time.sleep(chance.uniform(0, 0.5 if not index else time.monotonic() - begin))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), 'it was done before it was killed'
        reached = [int(line) for line in told.read().split()[-1:]] or [step]
        there = (folder / 'killed' / 'checkpoint.pt').exists()
        saved = load_checkpoint(folder / 'killed').counters['steps'] if there else 0
        kills.append({'reached': reached[0], 'saved': saved})
    child, _ = start(folder / 'killed')
    assert os.waitpid(child, 0)[1] == 0
    print(json.dumps(kills))


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]))
