# SPDX-License-Identifier: Apache-2.0
"""What a task is, and the list of all of them.

A task family (dm_control, Adroit, the arm) is one file that holds its task entries and knows how to
build their simulations. This module knows only what every family has in common, so a new task is
one entry in its family's file, and a new family is one file and its name in `FAMILIES`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from samg_ros.errors import ConfigError, UnknownTaskError
from samg_ros.sim.tasks.colours import Colour, Colours

FAMILIES = ('dmcontrol', 'adroit', 'arm')
"""Modules of `samg_ros.sim`, each with a `TASKS` tuple and a `load(spec, seed)` function."""

COMMAND_TOPICS = {'action': 'command', 'position': 'forward_position_controller/commands'}
"""What a command may mean, and the topic that it comes on: the task's own action, or joint
positions as for ros2_control's forward_command_controller."""


@dataclass(frozen=True)
class Part:
    """One thing that a policy must see: a group of the model's bodies, geoms and sites.

    Names are those of the MuJoCo model, with shell wildcards (`*_foot`). A body stands for the
    geoms and sites attached to it and to every body below it.
    """

    name: str
    bodies: tuple[str, ...] = ()
    geoms: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskSpec:
    """One task: where it comes from, which camera looks at it, and what the object is."""

    name: str
    """Unique name, `<domain>_<task>`."""
    family: str
    """Module of `samg_ros.sim` that builds it."""
    domain: str
    """The family's name for the robot."""
    task: str
    """The family's name for what is rewarded."""
    parts: tuple[Part, ...]
    """The object, as one part or several; label `i` of a part image is `parts[i - 1]`."""
    floor_geoms: tuple[str, ...] = ('floor', 'ground')
    """Geoms that `video_hard` replaces together with the sky."""
    floor_bodies: tuple[str, ...] = ()
    """Bodies that it replaces as well."""
    camera_id: int | str = 0
    """Camera of the model, by index or name."""
    action_repeat: int = 2
    """Control steps per agent step in the paper."""
    episode_steps: int = 1000
    """Control steps per episode."""
    success_steps: int = 0
    """An episode solves the task if the goal holds for more control steps than these."""
    upright_body: str | None = None
    """Body whose z axis points up in the pose that people draw; references show that pose."""
    points: tuple[tuple[float, float], ...] = field(default=())
    """Clicked points of the public reference, (x, y) in pixels of an 84 x 84 frame."""
    controls: tuple[str, ...] = ('action',)
    """What its commands may mean, of `COMMAND_TOPICS`."""
    control: str = 'action'
    """What they mean."""

    @property
    def command_topic(self) -> str:
        """Topic that commands come on."""
        return COMMAND_TOPICS[self.control]

    def controlled_by(self, control: str) -> TaskSpec:
        """Return the same task with another meaning of its commands.

        Args:
            control: one of `controls`, such as 'action' or 'position'.

        Raises:
            ConfigError: if the task does not have this control.
        """
        if control not in self.controls:
            raise ConfigError(f"task '{self.name}' has no control '{control}'; "
                              f'it has {", ".join(self.controls)}')
        return replace(self, control=control)


class Simulation(Protocol):
    """A running task, as a family's `load` returns it.

    `model` and `data` are plain `mujoco` objects. They may be replaced by `reset` (some tasks
    compile a new scene for each episode), so they must be read anew after it.
    """

    success: bool | None
    """Whether the task is solved in the present state; None where no such thing is defined."""

    @property
    def model(self) -> Any: ...

    @property
    def data(self) -> Any: ...

    @property
    def action_low(self) -> np.ndarray: ...

    @property
    def action_high(self) -> np.ndarray: ...

    @property
    def resting_action(self) -> np.ndarray:
        """The action that asks for no movement in the present state."""

    @property
    def control_timestep_ns(self) -> int: ...

    def seed(self, seed: int) -> None:
        """Reset the random generator of the task."""

    def reset(self) -> None:
        """Begin an episode."""

    def step(self, action: np.ndarray) -> tuple[float, float, bool]:
        """Advance one control step; returns reward, discount and whether the episode is over."""

    def state(self) -> dict[str, np.ndarray]:
        """Return what the task's own observations are, by name, each (n,) float64.

        Raises:
            ConfigError: if the family has none.
        """

    def recolour(self, colours: Colours) -> None:
        """Give robot, floor and sky other colours in `model`; the caller uploads textures."""

    def paint_screen(self, colour: Colour, floor: bool) -> None:
        """Give the sky, with `floor` the floor too, one plain colour in `model`; as above."""

    def close(self) -> None:
        """Free what the simulation holds."""


@functools.cache
def _registry() -> dict[str, TaskSpec]:
    return {spec.name: spec
            for family in FAMILIES
            for spec in importlib.import_module(f'samg_ros.sim.tasks.{family}').TASKS}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted."""
    return tuple(sorted(_registry()))


def get_task(name: str) -> TaskSpec:
    """Return the task of this name.

    Raises:
        UnknownTaskError: if there is none; the message names the closest ones.
    """
    known = _registry()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f'did you mean {" or ".join(close)}?' if close else f'known: {", ".join(sorted(known))}'
    raise UnknownTaskError(f"no task is called '{name}'; {hint}")


def load_simulation(spec: TaskSpec, seed: int) -> Simulation:
    """Build the simulation of a task with its family's `load`."""
    family = importlib.import_module(f'samg_ros.sim.tasks.{spec.family}')
    simulation: Simulation = family.load(spec, seed)
    return simulation
