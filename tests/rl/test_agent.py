# SPDX-License-Identifier: Apache-2.0
import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samg_ros.errors import ConfigError
from samg_ros.rl.agents.augmentation import shift_offsets
from samg_ros.rl.agents.drqv2 import DrQv2Agent
from samg_ros.rl.agents.networks import Encoder
from samg_ros.rl.data.replay import Batch


def make_batch(config, count=16, actions=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *config.observation.pixels_shape)
    joints = len(config.observation.proprioception)

    def positions():
        return torch.randn(count, joints, generator=generator) if joints else None

    return Batch(
        pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        joints=positions(),
        action=torch.rand(count, actions, generator=generator) * 2 - 1,
        reward=torch.randn(count, 1, generator=generator),
        discount=torch.full((count, 1), 0.97),
        next_pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        next_joints=positions(),
    )


def weights(agent):
    state = agent.state_dict()
    return {f'{part}.{k}': v for part in agent._modules() for k, v in state[part].items()}


@pytest.mark.parametrize('joints', [[], ['slider', 'hinge']])
def test_losses_equal_the_papers_formulas(small, joints):
    config = small(
        noise_start=0.0, noise_end=0.0, shift_pad=0, observation={'proprioception': joints}
    )
    agent = DrQv2Agent(config, 2)
    old = copy.deepcopy(agent)
    batch = make_batch(config)
    losses = agent.update(batch, 100)

    with torch.no_grad():
        following = old.encoder(batch.next_pixels)
        action = old.actor(following, batch.next_joints).clamp(-1 + 1e-6, 1 - 1e-6)
        target = config.reward_scale * batch.reward + batch.discount * torch.minimum(
            *old.critic_target(following, batch.next_joints, action)
        )
        encoded = old.encoder(batch.pixels)
        values = old.critic(encoded, batch.joints, batch.action)
        critic_loss = sum(((value - target) ** 2).mean() for value in values)
        # The actor is judged by the critic after its step, on features from before it.
        chosen = old.actor(encoded, batch.joints)
        actor_loss = -torch.minimum(*agent.critic(encoded, batch.joints, chosen)).mean()
    expected = actor_loss
    torch.testing.assert_close(losses['critic_loss'], critic_loss)
    if config.squash_penalty:
        before = old.actor.before_tanh(encoded, batch.joints)
        expected = actor_loss + config.squash_penalty * before.square().mean()
    torch.testing.assert_close(losses['actor_loss'], expected)


def plain_shift(pixels, offsets, pad):
    """Pad and interpolate bilinearly, as DrQ-v2 describes its random shift."""
    size, whole = pixels.shape[-1], pixels.shape[-1] + 2 * pad
    padded = F.pad(pixels.float(), (pad, pad, pad, pad), mode='replicate')
    rows, columns = (
        2 * (torch.arange(size) + offsets[:, i : i + 1] + 0.5) / whole - 1 for i in (0, 1)
    )
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), dim=-1)
    return F.grid_sample(padded, grid, mode='bilinear', align_corners=False)


def plain_update(agent, batch, offsets, normals, config):
    """One update of DrQ-v2 written down plainly; returns the losses of critic and actor."""
    count, std, clip = len(batch.action), config.noise(0), config.noise_clip

    def encode(pixels, shifts):
        x = plain_shift(pixels, shifts, config.shift_pad) / 255 - config.pixel_offset
        for layer in agent.encoder.convolutions:
            if isinstance(layer, torch.nn.Conv2d):
                x = F.relu(F.conv2d(x, layer.weight, layer.bias, layer.stride))
        return x.reshape(count, -1)

    def sample(encoded, normal):
        action = agent.actor(encoded, None) + (std * normal).clamp(-clip, clip)
        return action - action.detach() + action.detach().clamp(-1 + 1e-6, 1 - 1e-6)

    with torch.no_grad():
        following = encode(batch.next_pixels, offsets[count:])
        first, second = agent.critic_target(following, None, sample(following, normals[0]))
        target = config.reward_scale * batch.reward + batch.discount * torch.min(first, second)
    encoded = encode(batch.pixels, offsets[:count])
    first, second = agent.critic(encoded, None, batch.action)
    critic_loss = (first - target).square().mean() + (second - target).square().mean()
    agent.value_optimiser.zero_grad()
    critic_loss.backward()
    agent.value_optimiser.step()
    encoded = encoded.detach()
    actor_loss = -torch.min(*agent.critic(encoded, None, sample(encoded, normals[1]))).mean()
    agent.actor_optimiser.zero_grad()
    actor_loss.backward()
    agent.actor_optimiser.step()
    for ours, theirs in zip(
        agent.critic_target.parameters(), agent.critic.parameters(), strict=True
    ):
        ours.data = (1 - config.target_rate) * ours.data + config.target_rate * theirs.data
    return critic_loss.item(), actor_loss.item()


def test_updates_equal_the_method_written_down_plainly(small, monkeypatch):
    config = small(
        squash_penalty=0.0, pixel_offset=0.5, shift_pad=4, observation={'size': 40},
        hidden_dim=64, learning_rate=1e-3,
    )
    agent = DrQv2Agent(config, 2)
    plain = copy.deepcopy(agent)
    for name in ('value', 'actor'):  # a plain Adam each, not the fused one
        groups = getattr(agent, f'{name}_optimiser').param_groups
        parameters = (
            [*plain.encoder.parameters(), *plain.critic.parameters()]
            if name == 'value' else plain.actor.parameters()
        )
        setattr(plain, f'{name}_optimiser', torch.optim.Adam(parameters, groups[0]['lr']))
    generator = torch.Generator().manual_seed(1)
    for step in range(5):
        batch = make_batch(config, seed=step)
        offsets = shift_offsets(32, 4, generator)
        normals = torch.randn(2, 16, 2, generator=generator)
        given = iter(normals)
        monkeypatch.setattr(agent, '_normal', lambda like, given=given: next(given))
        losses = agent.update(batch, 0, offsets)
        critic_loss, actor_loss = plain_update(plain, batch, offsets, normals, config)
        assert losses['critic_loss'].item() == pytest.approx(critic_loss, rel=1e-4)
        assert losses['actor_loss'].item() == pytest.approx(actor_loss, rel=1e-4)


def test_target_follows_by_its_rate(small):
    config = small(target_rate=0.25)
    agent = DrQv2Agent(config, 2)
    before = copy.deepcopy(agent.critic_target.state_dict())
    agent.update(make_batch(config), 100)
    for name, value in agent.critic_target.state_dict().items():
        expected = before[name] + 0.25 * (agent.critic.state_dict()[name] - before[name])
        torch.testing.assert_close(value, expected)


def test_the_actors_step_leaves_encoder_and_critic_alone(small):
    config = small()
    agent, batch = DrQv2Agent(config, 2), make_batch(config)
    agent.update(batch, 100)
    grads = [p.grad for p in agent.actor.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    frozen = copy.deepcopy(agent)
    frozen.value_optimiser.param_groups[0]['lr'] = 0.0
    start = weights(copy.deepcopy(frozen))
    frozen.update(batch, 100)
    now = weights(frozen)
    changed = {name.split('.')[0] for name in now if not torch.equal(now[name], start[name])}
    assert changed == {'actor', 'critic_target'}


def test_learning_lowers_the_error_of_the_values(small):
    config = small(learning_rate=3e-3, hidden_dim=64)
    agent, batch = DrQv2Agent(config, 2), make_batch(config)
    batch = Batch(**{**vars(batch), 'discount': torch.zeros(16, 1)})
    losses = [agent.update(batch, 100)['critic_loss'].item() for _ in range(120)]
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])


def test_same_seed_gives_the_same_bits(small):
    config = small(seed=4)
    first, second = DrQv2Agent(config, 2), DrQv2Agent(config, 2)
    other = DrQv2Agent(small(seed=5), 2)
    for step in range(3):
        for agent in (first, second, other):
            torch.rand(step + 1)  # the global generator must not matter
            agent.update(make_batch(config, seed=step), step)
    first, second, other = weights(first), weights(second), weights(other)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_actions_stay_within_the_limits_and_noise_is_only_for_training(small):
    config = small(noise_start=2.0)
    agent = DrQv2Agent(config, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 16), dtype=np.uint8)
    noisy = [agent.act({'pixels': pixels}, 0) for _ in range(20)]
    assert np.abs(noisy).max() <= 1
    assert np.std(noisy, axis=0).min() > 0.1
    np.testing.assert_array_equal(agent.act({'pixels': pixels}), agent.act({'pixels': pixels}))
    random = np.array([agent.random_action() for _ in range(200)])
    assert random.min() < -0.9
    assert random.max() > 0.9


def test_too_small_observations_are_refused(small):
    with pytest.raises(ConfigError, match='too small'):
        Encoder(small(convolutions=[[4, 3, 2]] * 4))
