# SPDX-License-Identifier: Apache-2.0
"""A checkpoint knows the masker of its training, and another one is named."""

import copy
import logging
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from samg_ros.errors import CheckpointError
from samg_ros.graphs.checkpoint_parameters import of_perception
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.identity import differences
from samg_ros.masking.models import load_model
from samg_ros.rl.evaluation.policy import Policy
from samg_ros.rl.evaluation.shipped import find_checkpoint
from samg_ros.rl.training.checkpoint import load_checkpoint
from samg_ros.rl.training.resume_check import check_same_run


def test_settings_are_those_that_are_computed_with():
    described = Masker.load('mini').describe()
    assert None not in described['settings'].values()
    again = Masker.from_description(described)
    assert again.describe() == described


def test_other_weights_of_the_same_name_are_another_masker():
    model = load_model('mini')
    before = Masker(copy.deepcopy(model), name='mini').describe()
    with torch.no_grad():
        next(iter(model.parameters())).view(-1)[0] += 1e-3
    after = Masker(model, name='mini').describe()
    assert differences(before, before) == []
    assert [one.split()[0] for one in differences(before, after)] == ['weights_sha256']
    assert before['weights_sha256'] not in differences(before, after)[0]  # its beginning is enough
    thorough = Masker.load('mini', MaskerSettings(passes=3)).describe()
    assert differences(before, thorough) == ['passes 3, in training it was 1']


def test_a_policy_behind_other_masks_than_in_training_is_named(caplog):
    checkpoint = load_checkpoint(find_checkpoint('cartpole_swingup'))
    old = {name: value for name, value in checkpoint.masker.items()
           if name not in ('method', 'weights_sha256')}
    with caplog.at_level(logging.WARNING):
        Policy(replace(checkpoint, masker=old)).masker()
    assert 'policy of cartpole_swingup is run behind other masks than in its' in caplog.text
    assert 'trained behind the masks of a release (0.1) that does not say which' in caplog.text
    caplog.clear()
    today = Masker.from_description(old).describe()
    with caplog.at_level(logging.WARNING):
        Policy(replace(checkpoint, masker={**today, 'method': 99})).masker()
        assert 'in training it was 99' in caplog.text
        caplog.clear()
        Policy(replace(checkpoint, masker=today)).masker()
    assert not caplog.text


def test_a_run_does_not_go_on_behind_another_masker(tmp_path):
    checkpoint = load_checkpoint(find_checkpoint('cartpole_swingup'))
    today = Masker.load('mini').describe()
    held = replace(checkpoint, masker={**today, 'method': 99})
    with pytest.raises(CheckpointError, match='another masker'):
        check_same_run(tmp_path, held, held.config, held.action_low, held.action_high, None, today,
                       0)
    of_truth = replace(held, counters={**held.counters, 'masks': 'truth'})
    check_same_run(tmp_path, of_truth, held.config, held.action_low, held.action_high, None, today,
                   0, {'masks': 'truth'})


def test_a_run_goes_on_after_a_release_that_has_a_setting_more(tmp_path):
    checkpoint = load_checkpoint(find_checkpoint('cartpole_swingup'))
    today = Masker.load('mini').describe()
    settings = {name: value for name, value in today['settings'].items() if name != 'temporal'}
    held = replace(checkpoint, masker={**today, 'settings': settings})
    check_same_run(tmp_path, held, held.config, held.action_low, held.action_high, None, today, 0)
    other = {**today, 'settings': {**today['settings'], 'temporal': 'prior'}}
    with pytest.raises(CheckpointError, match='temporal prior, in training it was off'):
        check_same_run(tmp_path, held, held.config, held.action_low, held.action_high, None, other,
                       0)


_OBSERVE = """
import hashlib
from samg_ros.observation import Observer
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.masking import apply_mask
from samg_ros.sim.env import SimEnv
policy = load_policy('walker_stand')
masker, observer = policy.masker(), Observer(policy.spec)
env = SimEnv('walker_stand', 'video_hard', seed=7, height=84, width=84)
step, digest = env.reset(), hashlib.sha256()
see = observer.reset
for _ in range(4):
    mask = masker(step.frame[None])[0]
    seen = see(apply_mask(step.frame, mask, policy.spec.fill), None)
    digest.update(seen['pixels'].tobytes())
    step, see = env.step(policy.act(seen)), observer.push
env.close()
print(digest.hexdigest())
"""


def test_a_checkpoint_gives_the_same_observations_in_another_process(capsys):
    exec(_OBSERVE, {})
    here = capsys.readouterr().out
    there = subprocess.run([sys.executable, '-c', _OBSERVE], capture_output=True, text=True,
                           check=True).stdout
    assert here == there and len(here.strip()) == 64


def test_the_embedded_model_of_before_has_a_successor_that_is_named(caplog):
    checkpoint = load_checkpoint(find_checkpoint('walker_walk'))
    before = {'model': 'mini-sim', 'weights': None, 'weights_sha256': '3a71', 'method': 2,
              'settings': {'similarity_prompt': 'colour', 'colour_rules': True, 'passes': 1}}
    with caplog.at_level(logging.WARNING):
        masker = Policy(replace(checkpoint, masker=before)).masker()
    assert masker.describe()['model'] == 'mini' and masker.settings.similarity_prompt == 'full'
    assert 'model mini, in training it was mini-sim' in caplog.text
    assert "the masking model 'mini-sim' of before is gone" in caplog.text
    assert of_perception(replace(checkpoint, masker=before))['model'] == 'mini'
