# SPDX-License-Identifier: Apache-2.0
"""Every agent behind the learner's interface, and what SVEA and PIE-G add to DrQ-v2."""

import copy

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from samg_ros.errors import CheckpointError, ConfigError, WeightsError
from samg_ros.rl.agents import AGENT_CLASSES, make_agent, start_from
from samg_ros.rl.agents.augmentation import overlay, random_convolution
from samg_ros.rl.agents.frozen_encoder import FrozenEncoder
from samg_ros.rl.agents.overlay_pictures import MOST, load_pictures
from samg_ros.rl.config import AGENTS, DTYPES
from samg_ros.rl.data.actions import scale_action
from samg_ros.rl.data.replay import Batch
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from samg_ros.rl.training.learner import Learner


@pytest.fixture(scope='module')
def resnet_folder(tmp_path_factory):
    """The real architecture with random weights, in a folder as timm writes it."""
    folder = tmp_path_factory.mktemp('resnet')
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = timm.create_model('resnet18', pretrained=False)
        save_for_hf(model, folder, safe_serialization=True)
    return folder


@pytest.fixture(scope='module')
def picture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for i in range(5):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 256, (30, 40, 3), np.uint8))
    return folder


@pytest.fixture
def config_of(small, resnet_folder, picture_folder):
    """A small configuration of an agent; painting pictures has a test of its own."""

    def make(agent, **changes):
        changes.setdefault('overlay_images', str(picture_folder))
        changes.setdefault('resnet_weights', str(resnet_folder))
        return small(agent=agent, **changes)

    return make


def make_batch(config, count=6, actions=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *config.observation.pixels_shape)
    joints = len(config.observation.proprioception)
    positions = torch.randn(count, joints, generator=generator) if joints else None
    return Batch(
        pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        joints=positions,
        action=torch.rand(count, actions, generator=generator) * 2 - 1,
        reward=torch.randn(count, 1, generator=generator),
        discount=torch.full((count, 1), 0.97),
        next_pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        next_joints=positions,
    )


def flat(state):
    return {
        f'{part}.{name}': value
        for part in ('encoder', 'actor', 'critic', 'critic_target')
        for name, value in state[part].items()
    }


def test_every_name_has_its_class():
    assert set(AGENT_CLASSES) == set(AGENTS)


@pytest.mark.parametrize('agent', AGENTS)
def test_checkpoint_of_every_agent_runs_in_a_policy(agent, config_of, world, train, tmp_path):
    config = config_of(agent, steps=14, update_after=11, checkpoint_every=7)
    learner = Learner(config, [-1.0], [0.5], tmp_path)
    train(learner, world(config))
    assert learner.updates == 4
    observation = world(config, seed=5).now.observation
    chosen = learner.agent.act(observation)
    learner.close()
    torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    action = load_policy(tmp_path).act(observation)
    np.testing.assert_array_equal(action, scale_action(chosen, learner.low, learner.high))


@pytest.mark.parametrize('agent', AGENTS)
def test_an_agent_goes_on_from_its_checkpoint_to_the_bit(agent, config_of, tmp_path):
    config = config_of(agent, observation={'proprioception': ['slider', 'hinge']})
    first = make_agent(config, 2)
    first.update(make_batch(config), 20)
    low, high = -np.ones(2), np.ones(2)
    save_checkpoint(tmp_path / 'c.pt', Checkpoint(config, low, high, first.state_dict()))
    state = load_checkpoint(tmp_path / 'c.pt').agent
    second = make_agent(config, 2, state=state)
    for agent_ in (first, second):
        agent_.update(make_batch(config, seed=1), 21)
    ours, theirs = flat(first.state_dict()), flat(second.state_dict())
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize('agent', ['drqv2', 'svea'])
def test_the_critic_alone_learns_first(agent, config_of):
    config = config_of(agent, critic_first=10)
    learner = make_agent(config, 2)
    before = copy.deepcopy(learner.state_dict())
    for step, same in ((9, True), (10, False)):
        learner.update(make_batch(config), step)
        after = learner.state_dict()
        for part in ('encoder', 'actor'):
            assert all(torch.equal(before[part][name], after[part][name])
                       for name in before[part]) is same
        assert not all(torch.equal(before['critic'][name], after['critic'][name])
                       for name in before['critic'])


def test_a_run_cannot_start_from_a_policy_of_other_networks(config_of):
    small, wide = (make_agent(config_of('drqv2', hidden_dim=width), 2) for width in (16, 24))
    with pytest.raises(CheckpointError, match='policy of other networks'):
        start_from(small, wide.state_dict())


@pytest.mark.parametrize('augmentation', ['overlay', 'convolution'])
def test_sveas_loss_is_the_papers(config_of, monkeypatch, augmentation):
    config = config_of('svea', strong_augmentation=augmentation, noise_start=0.0, noise_end=0.0,
                   shift_pad=0, svea_alpha=0.3, svea_beta=0.6, squash_penalty=0.0)
    agent = make_agent(config, 2)
    old, batch = copy.deepcopy(agent), make_batch(config)
    seen = []
    augment = agent._augment
    monkeypatch.setattr(agent, '_augment', lambda pixels: seen.append(augment(pixels)) or seen[0])
    losses = agent.update(batch, 100)

    with torch.no_grad():  # the target is made of unaugmented observations alone
        following = old.encoder(batch.next_pixels)
        action = old.actor(following, None).clamp(-1 + 1e-6, 1 - 1e-6)
        target = config.reward_scale * batch.reward + batch.discount * torch.minimum(
            *old.critic_target(following, None, action)
        )

        def error(pixels):
            values = old.critic(old.encoder(pixels), None, batch.action)
            return sum(((value - target) ** 2).mean() for value in values)

        expected = 0.3 * error(batch.pixels) + 0.6 * error(seen[0])
        encoded = old.encoder(batch.pixels)
        chosen = old.actor(encoded, None)
        actor_loss = -torch.minimum(*agent.critic(encoded, None, chosen)).mean()
    torch.testing.assert_close(losses['critic_loss'], expected)
    torch.testing.assert_close(losses['actor_loss'], actor_loss)
    assert not torch.equal(seen[0], batch.pixels.float())


def test_overlay_is_the_mean_of_both_for_every_frame():
    pixels = torch.randint(0, 256, (4, 9, 8, 8), dtype=torch.uint8)
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    mixed = overlay(pixels, pictures)
    expected = 0.5 * pixels.float() + 0.5 * pictures.repeat(1, 3, 1, 1).float()
    torch.testing.assert_close(mixed, expected)


def test_random_convolution_filters_each_observation_with_its_own_weights():
    pixels = torch.randint(0, 256, (3, 6, 8, 8), dtype=torch.uint8)
    filtered = random_convolution(pixels, torch.Generator().manual_seed(3))
    weights = torch.randn(9, 3, 3, 3, generator=torch.Generator().manual_seed(3)).split(3)
    for i, weight in enumerate(weights):
        for frame in (slice(0, 3), slice(3, 6)):
            plane = np.pad(pixels[i, frame].numpy() / 255, ((0, 0), (1, 1), (1, 1)), mode='edge')
            response = torch.nn.functional.conv2d(torch.tensor(plane).float()[None], weight)[0]
            torch.testing.assert_close(filtered[i, frame], 255 * response.sigmoid())


def test_pictures_are_painted_or_read_from_a_folder(tmp_path):
    painted = load_pictures('', 12, 0)
    assert painted.shape == (MOST, 3, 12, 12)
    assert torch.equal(painted, load_pictures('', 12, 0))
    assert len(torch.unique(painted.flatten(1), dim=0)) > 0.9 * MOST
    (tmp_path / 'places').mkdir()
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 2] = 250
    cv2.imwrite(str(tmp_path / 'places' / 'red.png'), red)
    found = load_pictures(str(tmp_path), 12, 0)
    assert found.shape == (1, 3, 12, 12)
    assert found[0].amax(dim=(1, 2)).tolist() == [250, 0, 0]


@pytest.mark.parametrize(('make', 'message'), [
    (lambda folder: None, 'no folder'),
    (lambda folder: folder.mkdir(), 'no image'),
    (lambda folder: (folder.mkdir(), (folder / 'a.png').write_bytes(b'no')), 'a.png.*remove it'),
])
def test_a_folder_without_pictures_is_refused(tmp_path, make, message):
    make(tmp_path / 'pictures')
    with pytest.raises(ConfigError, match=message):
        load_pictures(str(tmp_path / 'pictures'), 12, 0)


def test_frozen_encoder_joins_later_frames_and_their_changes(config_of):
    encoder = FrozenEncoder(config_of('pieg')).eval()
    pixels = make_batch(config_of('pieg')).pixels
    maps = [
        encoder.resnet(pixels[:, i : i + 3].float() / 255 - encoder._offset) for i in (0, 3, 6)
    ]
    expected = torch.cat(
        [maps[1], maps[2], maps[1] - maps[0], maps[2] - maps[1]], dim=1
    ).flatten(1)
    torch.testing.assert_close(encoder.features(pixels), expected)


def test_of_piegs_encoder_only_the_last_layer_and_the_batch_statistics_change(
    config_of, resnet_folder
):
    config = config_of('pieg')
    agent = make_agent(config, 2)
    before = copy.deepcopy(agent.encoder.state_dict())
    given = load_file(resnet_folder / 'model.safetensors')
    frozen = {k.removeprefix('resnet.'): v for k, v in before.items() if k.startswith('resnet.')}
    assert all(torch.equal(given[name], value) for name, value in frozen.items())
    agent.act({'pixels': make_batch(config).pixels[0].numpy()})
    assert all(torch.equal(before[k], v) for k, v in agent.encoder.state_dict().items())
    agent.update(make_batch(config), 20)
    changed = {k for k, v in agent.encoder.state_dict().items() if not torch.equal(before[k], v)}
    statistics = {k for k in before if k.endswith(('mean', 'var', 'num_batches_tracked'))}
    assert changed == statistics | {k for k in before if not k.startswith('resnet.')}


def test_weights_that_do_not_fit_are_named(config_of, tmp_path):
    whole = timm.create_model('resnet18', pretrained=False).state_dict()
    state = {k: v.clone() for k, v in whole.items() if k != 'layer1.0.bn1.bias'}
    state['layer2.1.extra'] = torch.zeros(1)
    state['conv1.weight'] = torch.zeros(64, 3, 3, 3)
    save_file(state, tmp_path / 'wrong.safetensors')
    config = config_of('pieg', resnet_weights=str(tmp_path / 'wrong.safetensors'))
    with pytest.raises(WeightsError) as error:
        make_agent(config, 2)
    for fault in ('missing layer1.0.bn1.bias', 'unexpected layer2.1.extra',
                  'of another shape conv1.weight'):
        assert fault in str(error.value)


@pytest.mark.parametrize(('source', 'message'), [
    ('', 'timm/resnet18.tv_in1k.*from disk'),
    ('/nowhere/at/all', 'no file or folder'),
])
def test_weights_that_cannot_be_had_name_the_local_way(config_of, monkeypatch, source, message):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    config = config_of('pieg', resnet_weights=source)
    with pytest.raises(WeightsError, match=message):
        make_agent(config, 2)


def test_one_frame_has_no_change_to_encode(config_of):
    with pytest.raises(ConfigError, match='frame_stack'):
        FrozenEncoder(config_of('pieg', observation={'frame_stack': 1}))


@pytest.mark.parametrize('dtype', DTYPES)
def test_networks_learn_in_either_type_and_stay_float32(small, dtype):
    config = small(dtype=dtype, noise_start=0.0, noise_end=0.0)
    agent, exact = make_agent(config, 2), make_agent(small(noise_start=0.0, noise_end=0.0), 2)
    losses, wanted = (each.update(make_batch(config), 50) for each in (agent, exact))
    assert all(value.dtype == torch.float32 for value in flat(agent.state_dict()).values())
    tolerance = 0.05 if dtype == 'bfloat16' else 0.0
    torch.testing.assert_close(
        losses['critic_loss'], wanted['critic_loss'], rtol=tolerance, atol=0.0
    )
    assert torch.equal(losses['critic_loss'], wanted['critic_loss']) == (dtype == 'float32')


def test_compiled_networks_learn_the_same(small, monkeypatch):
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(  # traced and differentiated as ever; a C++ compiler would take minutes
        torch.nn.Module, 'compile', lambda self, mode: compiled(self, backend='aot_eager')
    )
    agents = [make_agent(small(compile=compile_), 2) for compile_ in (True, False)]
    for step in range(2):
        batch = make_batch(agents[0].config, seed=step)
        losses, wanted = (agent.update(batch, 50) for agent in agents)
        torch.testing.assert_close(losses, wanted)
    observation = {'pixels': batch.pixels[0].numpy()}
    np.testing.assert_allclose(*(agent.act(observation) for agent in agents), atol=1e-6)
    assert list(agents[0].state_dict()['critic']) == list(agents[1].state_dict()['critic'])
