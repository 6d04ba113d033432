# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from samg_ros.errors import ConfigError
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.masking.tracker import Tracker
from samg_ros.observation import ObservationSpec, Observer
from samg_ros.sim.env import SimEnv
from samg_ros.sim.gym_env import SamgEnv
from samg_ros.sim.reference import render_reference
from samg_ros.sim.tasks import task_names


def test_every_task_is_registered() -> None:
    assert {f'samg_ros/{name}-v0' for name in task_names()} <= set(gymnasium.registry)


@pytest.mark.parametrize('options', [
    {},
    {'setting': 'video_hard', 'observation_spec': ObservationSpec(
        size=48, source='truth', proprioception=('slider', 'hinge_1'))},
])
def test_gymnasiums_checker_has_nothing_to_say(options: dict[str, object]) -> None:
    env = gymnasium.make('samg_ros/cartpole_swingup-v0', render_mode='rgb_array', action_repeat=8,
                         **options)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_env(env.unwrapped)
    env.close()


def test_the_environment_is_the_simulation() -> None:
    env, sim = SamgEnv('walker_walk', 'video_hard'), SimEnv('walker_walk', 'video_hard', seed=6)
    observation, info = env.reset(seed=6)
    step = sim.reset()
    rng = np.random.default_rng(0)
    for _ in range(4):
        assert np.array_equal(observation['pixels'], step.frame)
        assert np.array_equal(info['mask'], step.mask)
        action = rng.uniform(*sim.action_spec)
        step = sim.step(action)
        observation, reward, _, _, info = env.step(action)
        assert reward == step.reward
    env.close()
    sim.close()


def test_observations_are_the_observers_of_the_masked_frames() -> None:
    spec = ObservationSpec(size=64, source='masked', fill=(9, 8, 7), proprioception=('hinge_1',))

    def left_half(frames: np.ndarray) -> np.ndarray:
        masks = np.zeros(frames.shape[:3], dtype=bool)
        masks[:, :, :42] = True
        return masks

    env = SamgEnv('cartpole_swingup', observation_spec=spec, masker=left_half)
    sim, observer = SimEnv('cartpole_swingup', seed=2), Observer(spec)
    seen = [env.reset(seed=2)[0], env.step(np.array([0.5]))[0]]
    steps = [sim.reset(), sim.step(np.array([0.5]))]
    for observation, step, see in zip(seen, steps, (observer.reset, observer.push), strict=True):
        frame = step.frame.copy()
        frame[:, 42:] = (9, 8, 7)
        expected = see(frame, step.joint_positions[1:])
        assert np.array_equal(observation['pixels'], expected['pixels'])
        assert np.array_equal(observation['proprioception'], expected['proprioception'])
        assert observation in env.observation_space
    env.close()
    sim.close()


def test_a_masker_with_a_memory_masks_as_in_training() -> None:
    masker = Masker.load('mini', MaskerSettings(temporal='prior')).fit(
        render_reference('cartpole_swingup', 84, 84))
    env = SamgEnv('cartpole_swingup', masker=masker, action_repeat=20,
                  observation_spec=ObservationSpec(size=64, source='masked'))
    sim, tracker = SimEnv('cartpole_swingup', seed=2, action_repeat=20), Tracker(masker)
    infos = [env.reset(seed=2)[1], *(env.step(np.array([0.5]))[4] for _ in range(4))]
    steps = [sim.reset(), *(sim.step(np.array([0.5])) for _ in range(4))]
    for info, step in zip(infos, steps, strict=True):
        assert np.array_equal(info['predicted_mask'], tracker.mask(step.frame, step.time_ns))
    alone = masker(np.stack([step.frame for step in steps]))
    assert not np.array_equal([info['predicted_mask'] for info in infos], alone)
    env.close()
    sim.close()


def test_a_spec_that_cannot_be_served_is_an_error() -> None:
    with pytest.raises(ConfigError, match='no masker is given'):
        SamgEnv('cartpole_swingup', observation_spec=ObservationSpec())
    with pytest.raises(ConfigError, match="no joint 'elbow'; it has slider, hinge_1"):
        SamgEnv('cartpole_swingup',
                observation_spec=ObservationSpec(source='raw', proprioception=('elbow',)))


def test_a_time_limit_truncates_and_does_not_terminate() -> None:
    env = SamgEnv('cartpole_swingup', action_repeat=250)
    env.reset(seed=0)
    ends = [env.step(np.zeros(1))[2:4] for _ in range(4)]
    env.close()
    assert ends == [(False, False)] * 3 + [(False, True)]


def test_unseeded_environments_differ() -> None:
    frames = []
    for _ in range(2):
        env = SamgEnv('walker_walk')
        frames.append(env.reset()[0]['pixels'])
        env.close()
    assert not np.array_equal(*frames)


def test_forked_vector_environments_give_the_frames_of_single_ones() -> None:
    code = ('import gymnasium, numpy as np, samg_ros.sim.gym_env\n'
            'vector = gymnasium.make_vec("samg_ros/cartpole_swingup-v0", num_envs=2,\n'
            '    vectorization_mode="async", vector_kwargs={"context": "fork"})\n'
            'frames = vector.reset(seed=3)[0]["pixels"].copy(); vector.close()\n'
            'for seed, frame in enumerate(frames, start=3):\n'
            '    env = gymnasium.make("samg_ros/cartpole_swingup-v0")\n'
            '    assert np.array_equal(env.reset(seed=seed)[0]["pixels"], frame)\n')
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                            text=True, check=False, timeout=300)
    assert (result.returncode, result.stderr) == (0, '')


def test_a_fork_after_rendering_is_an_error_and_not_a_hang() -> None:
    code = ('import os, sys\n'
            'from samg_ros.sim.env import SimEnv\n'
            'env = SimEnv("cartpole_swingup"); env.reset()\n'
            'child = os.fork()\n'
            'if not child:\n'
            '    try: env.reset()\n'
            '    except Exception as error: os.write(1, str(error).encode())\n'
            '    os._exit(0)\n'
            'os.waitpid(child, 0)\n')
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                            text=True, check=False, timeout=300)
    assert "start it with multiprocessing's 'spawn'" in result.stdout


def test_synchronous_vector_environments_give_the_frames_of_single_ones() -> None:
    vector = gymnasium.make_vec('samg_ros/arm_reach-v0', num_envs=2, vectorization_mode='sync',
                                setting='video_hard')
    frames = vector.reset(seed=3)[0]['pixels'].copy()
    vector.close()
    for seed, frame in enumerate(frames, start=3):
        env = gymnasium.make('samg_ros/arm_reach-v0', setting='video_hard')
        assert np.array_equal(env.reset(seed=seed)[0]['pixels'], frame)
        env.close()
