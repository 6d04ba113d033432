# SPDX-License-Identifier: Apache-2.0
"""The presets of a training run: `quick` and `evening` for two CPU cores, `paper` the paper's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from samg_ros.errors import ConfigError
from samg_ros.files.schema import parse_json
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import IMITATION, PRESETS, TrainConfig, override
from samg_ros.sim.tasks import get_task
from samg_ros.sim.tasks.experts import EXPERT_JOINTS
from samg_ros.sim.visual.settings import get_setting

METHODS = ('clone', 'rl')
"""How a policy can be trained: from an expert's actions, or from reward."""

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

TRAINING_MASKS: dict[str, Any] = {'second_look': False}
"""Settings of the masker that policies are trained behind: a training masks each frame of its
simulator, whose pictures are as small as what the network sees at once (docs/mini.md)."""

TEMPORAL_MASKS: dict[str, dict[str, Any]] = {
    'off': {}, 'prior': {'second_look': True, 'temporal': 'prior'}}
"""What `--temporal` of a training changes in TRAINING_MASKS. A look where the object was in the
frame before replaces one at the frame, so it costs a training nothing."""

_CLONE_STEPS = {'quick': 14_000, 'evening': 120_000}
"""Of a clone by preset; quick: what two cores do over ROS, with the evaluation, in ten minutes."""

_HAND_JOINTS = tuple(
    f'{group}J{index}'
    for group, count in (('WR', 2), ('FF', 4), ('MF', 4), ('RF', 4), ('LF', 5), ('TH', 5))
    for index in reversed(range(count))
)
"""The 24 of the Adroit hand, wrist first, each finger from its base to its tip."""


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
    elif name == 'evening':
        config = _evening(task)
    else:
        raise ConfigError(f"unknown preset '{name}'; known are {', '.join(PRESETS)}")
    return override(config, overrides)


def make_config(task: str, preset_name: str = 'quick', setting: str = 'train', seed: int = 0,
                steps: int = 0, overrides: str = '', method: str = 'rl') -> TrainConfig:
    """Return the configuration of a training run.

    Args:
        task: task name.
        preset_name: one of PRESETS.
        setting: visual setting to train in.
        seed: of everything random.
        steps: agent steps; 0 takes the preset's.
        overrides: other fields of TrainConfig as a JSON object; empty for none.
        method: one of METHODS.

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
    if twice := values.keys() & {'task', 'setting', 'seed', *(('steps',) if steps else ())}:
        raise ConfigError(f"overrides hold '{min(twice)}', which is given by itself; leave it out "
                          'of them')
    if steps:
        values['steps'] = steps
    values |= {'setting': setting, 'seed': seed}
    if method == 'clone':
        return clone_config(task, preset_name, **values)
    return preset(preset_name, task, **values)


def clone_config(task: str, preset_name: str = 'quick', **overrides: Any) -> TrainConfig:
    """Return the settings for imitating an expert.

    A policy for the arm sees a single frame, since its expert needs no speeds; so it may be run at
    another rate than it was trained at. Elsewhere three frames show speeds.

    Args:
        task: a task with an expert.
        preset_name: whose number of steps it takes; 'paper' has none for a clone.
        overrides: as for `preset`. During the first `update_after` agent steps only the expert
            acts. `noise_start` to `noise_end` is the noise on every action, of either.

    Raises:
        UnknownTaskError: if there is no such task.
        ConfigError: if a field is unknown, has no use in imitation, or a value is out of range.
    """
    if overrides.get('agent', IMITATION) != IMITATION:
        raise ConfigError('a clone learns from an expert and not by an agent of reinforcement '
                          'learning; leave the agent out')
    if preset_name not in _CLONE_STEPS:
        raise ConfigError(f"the preset '{preset_name}' is not for clones; take "
                          f"{' or '.join(_CLONE_STEPS)}, or the method rl")
    settings: dict[str, Any] = {
        'preset': 'clone',
        'agent': IMITATION,
        'steps': _CLONE_STEPS[preset_name],
        'update_after': 1_000,
        'random_steps': 0,
        'batch_size': 64,
        'n_step': 1,
        'replay_capacity': 100_000,
        'convolutions': ((16, 5, 3), (32, 3, 2), (32, 3, 1)),
        'hidden_dim': 256,
        'checkpoint_every': 1_000,
        'noise_steps': 10_000,
    }
    view: dict[str, Any] = {'size': 64}
    if get_task(task).family == 'arm':
        settings |= {'action_repeat': 4, 'noise_start': 0.4, 'noise_end': 0.2, 'shift_pad': 0,
                     'replay_capacity': 30_000}
        view |= {'frame_stack': 1, 'proprioception': EXPERT_JOINTS}
    else:
        settings |= {'action_repeat': 2, 'noise_start': 0.1, 'noise_end': 0.1}
    config = preset('quick', task, **{**settings, **overrides})
    view |= overrides.get('observation', {})
    return replace(config, observation=replace(config.observation, **view))


def finetune_config(clone: TrainConfig, start: Path, **overrides: Any) -> TrainConfig:
    """Return the settings with which a clone goes on, by DrQ-v2 on reward.

    Args:
        clone: settings of the clone; the policy sees and acts as it did there.
        start: its checkpoint.
        overrides: as for `preset`.

    Raises:
        ConfigError: if a field is unknown or a value out of range.
    """
    reward = replace(
        clone, preset='finetune', agent='drqv2', start=str(start), steps=20_000, critic_first=4_000,
        update_after=1_000, n_step=3, discount=0.99, reward_scale=1 / clone.action_repeat,
        learning_rate=3e-4, noise_start=0.2, noise_end=0.1, noise_steps=10_000)
    return override(reward, overrides)


def _paper(task: str) -> TrainConfig:
    """SAM-G's DMControl setting: DrQ-v2's (arXiv 2107.09645, table 2) with longer schedules.

    The noise falls over 100,000 and 500,000 agent steps: the codes of DrQ-v2 (`stddev_schedule` in
    cfgs/task, looked up by `global_step`, which counts actions) and of SAM-G have it so, while
    DrQ-v2's table 2 counts frames, half as many actions.
    """
    slow = task in _SLOW_TASKS
    walker = task.startswith('walker')
    return TrainConfig(
        task=task,
        preset='paper',
        quality='paper',
        composite='chroma_key',
        observation=ObservationSpec(proprioception=_proprioception(task)),
        steps=1_550_000 if slow else 550_000,
        noise_steps=500_000 if slow else 100_000,
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


def _evening(task: str) -> TrainConfig:
    """`quick` with four times the pixels and ten times the steps.

    An update of these networks at 64 pixels takes some 60 ms on one core (masks are made
    meanwhile), so 120,000 of them take two hours.
    """
    quick = _quick(task)
    return replace(
        quick,
        preset='evening',
        observation=replace(quick.observation, size=64),
        steps=120_000,
        random_steps=2_000,
        update_after=2_000,
        replay_capacity=150_000,
        discount=0.99,
        learning_rate=5e-4,
        noise_steps=60_000,
        convolutions=((16, 5, 3), (32, 3, 2), (32, 3, 1)),
        hidden_dim=256,
    )


def _proprioception(task: str) -> tuple[str, ...]:
    return _HAND_JOINTS if task.startswith('adroit') else ()
