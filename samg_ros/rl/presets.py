# SPDX-License-Identifier: Apache-2.0
"""The presets of a training run: `paper` has the paper's sizes, `quick` suits two CPU cores."""

from typing import Any

from samg_ros.errors import ConfigError
from samg_ros.files.schema import parse_json
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import PRESETS, TrainConfig, override
from samg_ros.sim.tasks import get_task
from samg_ros.sim.visual.settings import get_setting

DEFAULT_EPISODES = 5
"""Episodes per visual setting in the report."""

_SLOW_TASKS = ('cheetah_run', 'hopper_hop', 'quadruped_walk')
"""Tasks that DrQ-v2 gives 3.1M frames and a noise schedule over 500k of them."""

_QUICK_REPEAT = {
    'cartpole': 8,
    'cheetah': 4,
    'walker': 2,
    'ball_in_cup': 4,
    'finger': 2,
    'reacher': 4,
    'hopper': 4,
    'quadruped': 4,
}
"""Control steps per action by domain; the first five are those of the PlaNet benchmark."""

_HAND_JOINTS = tuple(
    f'{group}J{index}'
    for group, count in (('WR', 2), ('FF', 4), ('MF', 4), ('RF', 4), ('LF', 5), ('TH', 5))
    for index in reversed(range(count))
)
"""The 24 of the Adroit hand, wrist first, each finger from its base to its tip."""


def uses_colour_rules(task: str) -> bool:
    """Return whether masks of a task use the colour rules of `mini`.

    Their constants were found on these robots: DMControl, and Adroit without relocate, whose ball
    they lose.
    """
    spec = get_task(task)
    return spec.family == 'dmcontrol' or task in ('adroit_door', 'adroit_hammer', 'adroit_pen')


def preset(name: str, task: str, **overrides: Any) -> TrainConfig:
    """Return a preset's configuration for a task.

    Args:
        name: one of PRESETS.
        task: task name; schedules, action repeat and proprioception depend on it.
        overrides: fields of TrainConfig that replace the preset's; fields of ObservationSpec
            as `observation={...}`.

    Raises:
        ConfigError: if there is no such preset or field, or a value is out of range.
    """
    if name == 'paper':
        config = _paper(task)
    elif name == 'quick':
        config = _quick(task)
    else:
        raise ConfigError(f"unknown preset '{name}'; known are {', '.join(PRESETS)}")
    return override(config, overrides)


def make_config(task: str, preset_name: str = 'quick', setting: str = 'train', seed: int = 0,
                steps: int = 0, overrides: str = '') -> TrainConfig:
    """Return the configuration of a training run.

    Args:
        task: task name.
        preset_name: 'quick' or 'paper'.
        setting: visual setting to train in.
        seed: of everything random.
        steps: agent steps; 0 takes the preset's.
        overrides: other fields of TrainConfig as a JSON object; empty for none.

    Raises:
        UnknownTaskError: if there is no such task.
        UnknownSettingError: if there is no such setting.
        ConfigError: if the preset, a field or a value is not usable.
    """
    get_task(task)
    get_setting(setting)
    values: dict[str, Any] = {}
    if overrides:
        values.update(parse_json(overrides, dict[str, Any], 'overrides', ConfigError))
    if steps:
        values['steps'] = steps
    return preset(preset_name, task, **{**values, 'setting': setting, 'seed': seed})


def _paper(task: str) -> TrainConfig:
    """SAM-G's DMControl setting: DrQ-v2's (arXiv 2107.09645, table 2) with longer schedules."""
    slow = task in _SLOW_TASKS
    walker = task.startswith('walker')
    return TrainConfig(
        task=task,
        preset='paper',
        observation=ObservationSpec(proprioception=_proprioception(task)),
        steps=1_550_000 if slow else 550_000,
        noise_steps=250_000 if slow else 50_000,
        batch_size=512 if walker else 256,
        n_step=1 if walker else 3,
    )


def _quick(task: str) -> TrainConfig:
    """Figures found by trial on two CPU cores."""
    repeat = next((r for d, r in _QUICK_REPEAT.items() if task.startswith(d)), 4)
    return TrainConfig(
        task=task,
        preset='quick',
        observation=ObservationSpec(size=32, proprioception=_proprioception(task)),
        action_repeat=repeat,
        steps=12_000,
        random_steps=500,
        update_after=500,
        update_every=1,
        replay_capacity=100_000,
        batch_size=96,
        discount=0.97,
        reward_scale=1 / repeat,
        learning_rate=1e-3,
        noise_steps=6_000,
        squash_penalty=1e-3,
        shift_pad=2,
        pixel_offset=0.0,
        convolutions=((16, 3, 2), (32, 3, 2), (32, 3, 1)),
        hidden_dim=128,
        checkpoint_every=1_000,
    )


def _proprioception(task: str) -> tuple[str, ...]:
    return _HAND_JOINTS if task.startswith('adroit') else ()
