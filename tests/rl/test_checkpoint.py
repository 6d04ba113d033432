# SPDX-License-Identifier: Apache-2.0
import resource

import numpy as np
import pytest
import torch

from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.masking import MaskerSettings, Reference
from samg_ros.rl.agents import make_agent
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.imitation import Imitator
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture
def checkpoint(small):
    config = small(observation={'source': 'masked', 'proprioception': ['slider']})
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 24), bool)
    mask[4:9, 5:12] = True
    reference = Reference(
        rng.integers(0, 256, (20, 24, 3), dtype=np.uint8), mask, (mask, mask),
        np.array([[7.0, 6.5]]), 'a test',
    )
    return Checkpoint(
        config=config,
        action_low=np.array([-1.0, -3.0]),
        action_high=np.array([1.0, 0.1]),
        agent=DrQv2Agent(config, 2).state_dict(),
        reference=reference,
        masker={'model': 'mini', 'settings': MaskerSettings(passes=2).to_dict()},
        replay={'count': 3, 'rng': '{}'},
        counters={'steps': 3},
    )


def test_a_policy_needs_the_checkpoint_alone(tmp_path, checkpoint):
    save_checkpoint(tmp_path / 'checkpoint.pt', checkpoint)
    moved = tmp_path / 'elsewhere' / 'policy.pt'
    moved.parent.mkdir()
    (tmp_path / 'checkpoint.pt').rename(moved)
    policy = load_policy(moved)
    agent = DrQv2Agent(checkpoint.config, 2)
    assert policy.spec == checkpoint.config.observation
    rng = np.random.default_rng(1)
    for _ in range(5):
        observation = {
            'pixels': rng.integers(0, 256, policy.spec.pixels_shape, dtype=np.uint8),
            'proprioception': rng.normal(size=1).astype(np.float32),
        }
        action = policy.act(observation)
        unit = agent.act(observation).astype(np.float64)
        low, high = checkpoint.action_low, checkpoint.action_high
        np.testing.assert_array_equal(action, low + (unit + 1) / 2 * (high - low))
        assert ((low <= action) & (action <= high)).all()


def test_everything_comes_back(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    back = load_checkpoint(tmp_path)
    assert back.config == checkpoint.config
    assert (back.masker, back.replay) == (checkpoint.masker, checkpoint.replay)
    assert back.counters == checkpoint.counters
    np.testing.assert_array_equal(back.action_high, checkpoint.action_high)
    ours, theirs = checkpoint.reference, back.reference
    for a, b in [
        (ours.image, theirs.image), (ours.mask, theirs.mask), (ours.points, theirs.points),
        *zip(ours.parts, theirs.parts, strict=True),
    ]:
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert MaskerSettings(**back.masker['settings']).passes == 2
    torch.load(path, weights_only=True)


def test_references_of_older_versions_are_read_and_damaged_pictures_named(tmp_path, checkpoint):
    path, reference = tmp_path / 'checkpoint.pt', checkpoint.reference
    save_checkpoint(path, checkpoint)
    values = torch.load(path, weights_only=True)
    picture, mask = values['reference']['image'], values['reference']['mask']
    values['reference'] |= {  # they held the pixels themselves
        'image': torch.tensor(reference.image), 'mask': torch.tensor(reference.mask),
        'parts': [torch.tensor(part) for part in reference.parts]}
    torch.save(values, path)
    back = load_checkpoint(path).reference
    np.testing.assert_array_equal(back.image, reference.image)
    np.testing.assert_array_equal([back.mask, *back.parts], [reference.mask, *reference.parts])
    for changed in ({'image': picture[:-20]}, {'mask': mask[:0]}, {'image': torch.zeros(40)}):
        torch.save(values | {'reference': values['reference'] | changed}, path)
        with pytest.raises(CheckpointError, match='does not fit this package: .*image'):
            load_checkpoint(path)


def test_damaged_checkpoints_are_refused(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CheckpointError, match='cut short or damaged'):
            load_checkpoint(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(CheckpointError, match='cut short or damaged'):
        load_checkpoint(path)


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match='there is no checkpoint'):
        load_checkpoint(tmp_path)
    torch.save({'weights': torch.zeros(2)}, tmp_path / 'other.pt')
    with pytest.raises(CheckpointError, match='not a policy checkpoint'):
        load_checkpoint(tmp_path / 'other.pt')


def test_networks_that_do_not_fit_the_configuration_are_refused(tmp_path, checkpoint, small):
    checkpoint.config = small(hidden_dim=24, observation={'proprioception': ['slider']})
    save_checkpoint(tmp_path / 'checkpoint.pt', checkpoint)
    with pytest.raises(CheckpointError, match='does not fit'):
        load_policy(tmp_path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, checkpoint):
    path = tmp_path / 'checkpoint.pt'
    save_checkpoint(path, checkpoint)
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, before[1]))
    try:
        with pytest.raises(CheckpointError, match='previous one'):
            save_checkpoint(path, checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('device', ['cdua', 'cuda:77'])
def test_a_device_that_cannot_be_used_is_named_and_not_the_file(
    tmp_path, checkpoint, small, device
):
    save_checkpoint(tmp_path / 'checkpoint.pt', checkpoint)
    for begin in (
        lambda: load_policy(tmp_path, device),
        lambda: Policy(checkpoint, device),
        lambda: make_agent(small(), 2, device),
        lambda: Imitator(small(), 2, device),
    ):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used") as caught:
            begin()
        assert '\n' not in str(caught.value)


def test_a_random_state_of_another_kind_of_device_is_refused(small):
    state = make_agent(small(), 2).state_dict()
    state['generator'] = torch.zeros(16, dtype=torch.uint8)  # as long as that of a CUDA generator
    with pytest.raises(CheckpointError, match="not one of device 'cpu'") as caught:
        make_agent(small(), 2, state=state)
    assert '\n' not in str(caught.value)
