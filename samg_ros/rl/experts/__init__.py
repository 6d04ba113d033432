# SPDX-License-Identifier: Apache-2.0
"""Experts that read the simulator's state: scripted, trained, or given as arrays."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from samg_ros.errors import ExpertError
from samg_ros.rl.experts.state_policy import StatePolicy
from samg_ros.rl.experts.trained import TrainedExpert
from samg_ros.sim.tasks.experts import SCRIPTED, Expert, has_scripted_expert, make_scripted_expert

if TYPE_CHECKING:
    from samg_ros.sim.env import SimEnv

FOLDER = Path(__file__).parent / 'weights'
"""Holds TASK.npz, the trained experts that come with the package."""


def shipped_experts() -> tuple[str, ...]:
    """Return the tasks that the package has a trained expert for, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob('*.npz')))


def has_expert(task: str) -> bool:
    """Return whether the package has an expert for a task."""
    return task in shipped_experts() or task in SCRIPTED


def make_expert(env: SimEnv, file: Path | str | None = None) -> Expert:
    """Return an expert for an environment.

    Args:
        env: of the task; the expert reads its state.
        file: of a trained or given expert; None takes the task's scripted expert, else the trained
            one that comes with the package.

    Raises:
        ExpertError: if there is none, or it is one of another task, of other actions, or of
            another version.
    """
    if not file:
        if has_scripted_expert(env):
            return make_scripted_expert(env)
        file = FOLDER / f'{env.spec.name}.npz'
        if not file.exists():
            raise ExpertError(
                f"there is no expert for task '{env.spec.name}' with control '{env.spec.control}'; "
                f'train one with `samg train expert --task {env.spec.name}` and give its file, or '
                f'take a task that has one: {", ".join(shipped_experts())}')
    return TrainedExpert(env, StatePolicy.load(file))


def expert_source(env: SimEnv, file: Path | str | None = None) -> str:
    """Return what `make_expert` takes: 'scripted', or the SHA-256 of the file."""
    if not file:
        if has_scripted_expert(env):
            return 'scripted'
        file = FOLDER / f'{env.spec.name}.npz'
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
