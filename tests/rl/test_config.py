# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import fields

import pytest

from samg_ros.errors import ConfigError
from samg_ros.observation import ObservationSpec
from samg_ros.rl.config import PRESETS, TrainConfig, field_help
from samg_ros.rl.presets import clone_config, preset
from samg_ros.sim.tasks import task_names


@pytest.mark.parametrize('name', PRESETS)
def test_every_task_has_every_preset(name):
    for task in task_names():
        config = preset(name, task)
        assert (config.preset, config.task) == (name, task)


def test_paper_preset_has_the_figures_of_the_paper():
    config = preset('paper', 'cartpole_swingup')
    assert (config.batch_size, config.n_step, config.learning_rate) == (256, 3, 1e-4)
    assert (config.feature_dim, config.hidden_dim, config.target_rate) == (50, 1024, 0.01)
    assert config.steps * config.action_repeat == 1_100_000
    assert config.noise_steps == 100_000  # agent steps, as in the code of DrQ-v2
    assert (config.noise_start, config.noise_end, config.update_every) == (1.0, 0.1, 2)
    assert (config.observation.size, config.observation.frame_stack) == (84, 3)
    assert (config.replay_capacity, config.random_steps, config.discount) == (10**6, 2000, 0.99)
    walker = preset('paper', 'walker_walk')
    assert (walker.batch_size, walker.n_step) == (512, 1)
    cheetah = preset('paper', 'cheetah_run')
    assert cheetah.steps * cheetah.action_repeat == 3_100_000
    assert cheetah.noise_steps == 500_000


def test_noise_lasts_longer_on_the_slow_tasks_alone():
    slow = {task for task in task_names() if preset('paper', task).noise_steps == 500_000}
    assert slow == {'cheetah_run', 'hopper_hop', 'quadruped_walk'}
    assert {preset('paper', task).noise_steps for task in task_names()} == {100_000, 500_000}


@pytest.mark.parametrize('name', PRESETS)
def test_adroit_policies_are_told_the_joints_of_the_hand(name):
    joints = preset(name, 'adroit_door').observation.proprioception
    assert len(joints) == 24
    assert not any(joint.startswith('AR') for joint in joints)
    assert preset(name, 'walker_walk').observation.proprioception == ()


def test_configuration_survives_json():
    config = preset(
        'quick', 'walker_walk', seed=3, observation={'source': 'raw', 'crop': [1, 2, 60, 60]},
        convolutions=[[8, 3, 2]],
    )
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.observation.crop == (1, 2, 60, 60)
    assert config.observation.size == preset('quick', 'walker_walk').observation.size


def test_noise_falls_linearly_and_stays():
    config = TrainConfig(noise_start=1.0, noise_end=0.2, noise_steps=100)
    assert [config.noise(step) for step in (0, 50, 100, 900)] == pytest.approx([1, 0.6, 0.2, 0.2])


@pytest.mark.parametrize(
    'overrides',
    [
        {'steps': 0},
        {'steps': '100'},
        {'discount': 1.5},
        {'learning_rate': 0.0},
        {'batch_sizes': 3},
        {'convolutions': [[8, 3]]},
        {'convolutions': []},
        {'seed': -1},
        {'observation': 'masked'},
        {'agent': 'sac'},
        {'dtype': 'float16'},
        {'strong_augmentation': 'cutout'},
        {'svea_alpha': 0.0, 'svea_beta': 0.0},
    ],
)
def test_unusable_value_names_the_setting(overrides):
    with pytest.raises(ConfigError, match=next(iter(overrides))):
        preset('quick', 'cartpole_swingup', **overrides)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match='quick, evening, paper'):
        preset('fast', 'cartpole_swingup')


def test_every_field_has_its_line_of_help():
    help_of = field_help()
    assert set(help_of) == {field.name for field in fields(TrainConfig)}
    assert all(text.endswith('.') for text in help_of.values())
    assert ObservationSpec.__doc__


def test_the_preset_of_an_evening_lies_between_the_others():
    quick, evening, paper = (preset(name, 'walker_walk') for name in PRESETS)
    assert quick.steps < evening.steps < paper.steps
    assert quick.observation.size < evening.observation.size < paper.observation.size
    assert clone_config('walker_walk', 'evening').steps > clone_config('walker_walk').steps
