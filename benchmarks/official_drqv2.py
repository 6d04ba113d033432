# SPDX-License-Identifier: Apache-2.0
"""The official DrQ-v2 (facebookresearch/drqv2) from a checkout, set up as one of our runs is.

It runs from there, as it is but for two lines that newer libraries no longer take (`_mend`). Two
libraries that it imports are no part of what it computes, and stand-ins take their places: Hydra,
which reads its settings and builds the agent of them, and termcolor, which paints its log.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import sys
import types
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from samg_ros.rl.config import TrainConfig


def checkout(path: str) -> Path:
    """Return the folder that --repo names.

    Raises:
        argparse.ArgumentTypeError: if it has no official DrQ-v2 in it.
    """
    if not Path(path, 'drqv2.py').is_file():
        raise argparse.ArgumentTypeError(
            f"'{path}' has no drqv2.py in it; give a checkout of facebookresearch/drqv2")
    return Path(path).resolve()


def official_module(repo: Path, name: str) -> ModuleType:
    """Import one of its modules, such as `drqv2` or `train`."""
    for library, content in _stand_ins().items():
        sys.modules.setdefault(library, types.ModuleType(library)).__dict__.update(content)
    if str(repo) not in sys.path:
        sys.path.insert(0, str(repo))
    return importlib.import_module(name)


def agent_settings(config: TrainConfig, device: str) -> dict[str, Any]:
    """Return the arguments of its agent that are not shapes."""
    return {
        'device': device, 'lr': config.learning_rate, 'feature_dim': config.feature_dim,
        'hidden_dim': config.hidden_dim, 'critic_target_tau': config.target_rate,
        'num_expl_steps': config.random_steps, 'update_every_steps': config.update_every,
        'stddev_schedule': f'linear({config.noise_start},{config.noise_end},{config.noise_steps})',
        'stddev_clip': config.noise_clip, 'use_tb': False,
    }


def official_workspace(repo: Path, config: TrainConfig, folder: Path, workers: int,
                       device: str) -> Any:
    """Return its `train.Workspace`: environment, agent, replay and loop.

    Nothing of it is left out but what takes time beside the training: it is not evaluated on the
    way, writes no videos and no snapshots, and nothing for TensorBoard (whose figures make it wait
    for the GPU at every update). To be called once in a process.

    Args:
        repo: from `checkout`.
        config: a run of ours; task, sizes, schedules and seed are taken from it.
        folder: for replay and log; it becomes the working directory, as under Hydra.
        workers: processes of its replay. Each wants an episode among those before the first update.
        device: torch device.
    """
    train = official_module(repo, 'train')
    _mend(official_module(repo, 'dmc'), official_module(repo, 'replay_buffer'))
    multiprocessing.set_start_method('fork', force=True)  # how its loader starts from a terminal
    os.chdir(folder)
    return train.Workspace(SimpleNamespace(
        task_name=config.task, seed=config.seed, device=device,
        frame_stack=config.observation.frame_stack, action_repeat=config.action_repeat,
        discount=config.discount, nstep=config.n_step, batch_size=config.batch_size,
        num_train_frames=0, num_seed_frames=config.update_after * config.action_repeat,
        replay_buffer_size=config.replay_capacity, replay_buffer_num_workers=workers,
        eval_every_frames=None, num_eval_episodes=0, save_snapshot=False, save_video=False,
        save_train_video=False, use_tb=False,
        agent=SimpleNamespace(**agent_settings(config, device)),
    ))


def _mend(dmc: ModuleType, replay_buffer: ModuleType) -> None:
    """Do in two places what the code did with the libraries of its time."""
    make = dmc.make

    def make_in_single_precision(*given: Any) -> Any:
        # dm_control's action_scale makes commands float64 by now; agent and replay want float32,
        # for which the code has a wrapper, only further inside.
        return dmc.ExtendedTimeStepWrapper(dmc.ActionDTypeWrapper(make(*given)._env, np.float32))

    def seed_worker(worker: int) -> None:
        seed = int(np.random.get_state()[1][0]) + worker  # numpy's integers seed `random` no more
        np.random.seed(seed)
        random.seed(seed)

    dmc.make, replay_buffer._worker_init_fn = make_in_single_precision, seed_worker


def _stand_ins() -> dict[str, dict[str, Any]]:
    """Return what the modules use of the two libraries."""
    def instantiate(settings: SimpleNamespace) -> Any:
        return importlib.import_module('drqv2').DrQV2Agent(**vars(settings))

    return {
        'hydra': {'main': lambda **_: lambda function: function,
                  'utils': SimpleNamespace(instantiate=instantiate)},
        'omegaconf': {'OmegaConf': None},
        'termcolor': {'colored': lambda text, *_: text},
    }
