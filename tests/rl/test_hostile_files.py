# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, weights and demonstrations that were made to do harm, or by another program."""

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from samg_ros.errors import CheckpointError, DemonstrationError, WeightsError
from samg_ros.masking.models import load_model
from samg_ros.masking.models.mini.network import WEIGHTS
from samg_ros.rl.data.hdf5 import RecordingFile
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.shipped import find_checkpoint


@pytest.fixture(scope='module')
def shipped():
    return torch.load(find_checkpoint('cartpole_swingup'), weights_only=True)


@pytest.mark.parametrize('changes, said', [
    ({'action_high': torch.full((50, 2), 1.0)}, 'equally many'),
    ({'action_low': torch.tensor([2.0])}, 'low below high'),
    ({'action_low': torch.tensor([float('nan')])}, 'finite'),
    ({'action_low': 3}, r'Expected `Tensor`, got `int` - at `\$.action_low`'),
    ({'config': '{"hidden_dim": 1000000000000}'}, 'hidden_dim: Expected `int` <= 65536'),
    ({'config': '{"task": 3}'}, 'Expected `str`'), ({'config': '{'}, 'not JSON'),
    ({'config': '{"discount": NaN}'}, 'finite'), ({'masker': '[]'}, 'got `array`'),
    ({'counters': {'steps': -1}}, '>= 0'), ({'counters': {'steps': 'x'}}, 'Expected `int`'),
    ({'agent': {}}, 'no table of tensors'), ({'agent': 3}, 'got `int`'),
    ({'agent': {'encoder': {}, 'actor': {}}}, 'lacks'),
    ({'reference': {'image': 3}}, 'at `\\$.reference'), ({'replay': []}, 'got `array`'),
    ({'version': 99}, 'format version 99'), ({'episode': {'action': torch.zeros(7)}}, 'size')])
def test_a_checkpoint_of_another_kind_is_one_line(tmp_path, shipped, changes, said):
    torch.save({**shipped, **changes}, tmp_path / 'policy.pt')
    with pytest.raises(CheckpointError, match=said) as error:
        load_policy(tmp_path / 'policy.pt')
    assert '\n' not in str(error.value)


def test_networks_that_are_not_finite_do_not_act(tmp_path, shipped):
    agent = {name: {key: value.clone() for key, value in state.items()}
             for name, state in shipped['agent'].items() if name in ('encoder', 'actor')}
    next(iter(agent['actor'].values())).view(-1)[0] = float('nan')
    torch.save({**shipped, 'agent': agent}, tmp_path / 'policy.pt')
    with pytest.raises(CheckpointError, match='not finite'):
        load_policy(tmp_path / 'policy.pt')


def test_weights_that_are_not_finite_are_named(tmp_path):
    weights = load_file(WEIGHTS)
    name = next(key for key, value in weights.items() if value.is_floating_point())
    weights[name].view(-1)[0] = float('inf')
    save_file(weights, tmp_path / 'mini.safetensors')
    with pytest.raises(WeightsError, match=f'not finite {name}'):
        load_model('mini', tmp_path / 'mini.safetensors')


def recording(path):
    """Write Minari's layout, and return the open file."""
    file = h5py.File(path, 'w')
    group = file.create_group('episode_0')
    group['actions'], group['rewards'] = np.zeros((3, 1)), np.zeros(3)
    group['terminations'] = np.zeros(3, bool)
    return file, group


def test_hdf5_that_reads_other_files_is_refused(tmp_path):
    secret = tmp_path / 'secret.txt'
    secret.write_bytes(b'a' * 4 * 8 * 8 * 3)
    shape = (4, 8, 8, 3)

    def external_storage(group):
        group.create_dataset('observations', shape, 'u1', external=[(str(secret), 0, 768)])

    def external_link(group):
        with h5py.File(tmp_path / 'other.h5', 'w') as other:
            other['x'] = np.zeros(shape, 'u1')
        group['observations'] = h5py.ExternalLink(str(tmp_path / 'other.h5'), '/x')

    def virtual(group):
        layout = h5py.VirtualLayout(shape, 'u1')
        layout[...] = h5py.VirtualSource(str(tmp_path / 'other.h5'), 'x', shape)
        group.create_virtual_dataset('observations', layout)

    def soft_link(group):
        group['observations'] = h5py.SoftLink('/episode_0/actions')

    def claims(group):
        group.create_dataset('observations', (10**7, 84, 84, 3), 'u1', chunks=(1, 84, 84, 3))

    for make, said in ((external_storage, 'another file'), (external_link, 'a link'),
                       (virtual, 'another file'), (soft_link, 'a link'), (claims, 'claims')):
        path = tmp_path / f'{make.__name__}.h5'
        file, group = recording(path)
        make(group)
        file.close()
        with pytest.raises(DemonstrationError, match=said):
            list(RecordingFile(path).episodes())
