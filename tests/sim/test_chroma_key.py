# SPDX-License-Identifier: Apache-2.0
"""DMC-GB's green screen against the rule, pixel by pixel."""

import colorsys
from typing import Any

import numpy as np
import pytest

from samg_ros.errors import ConfigError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import Rendering
from samg_ros.sim.visual.chroma_key import is_screen, resize_behind_screen


def plain_is_screen(frame: np.ndarray) -> np.ndarray:
    """The rule of DESIGN 7, one pixel at a time."""
    found = np.zeros(frame.shape[:2], bool)
    for place in np.ndindex(*found.shape):
        hue, saturation, value = colorsys.rgb_to_hsv(*(frame[place] / 255))
        found[place] = (100 <= hue * 360 <= 185 and 80 <= saturation * 255 <= 255
                        and 70 <= value * 255 <= 255)
    return found


def test_every_kind_of_colour_is_judged_by_the_rule() -> None:
    levels = np.array([0, 1, 50, 51, 69, 70, 71, 128, 175, 204, 254, 255], np.uint8)
    frame = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(36, 48, 3)
    assert np.array_equal(is_screen(frame), plain_is_screen(frame))
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    assert np.array_equal(is_screen(noise), plain_is_screen(noise))


@pytest.mark.parametrize('task', ['walker_walk', 'cartpole_swingup', 'cheetah_run'])
def test_the_setting_is_the_green_scene_with_the_rule_applied(
        task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = SimEnv(task, 'video_hard', seed=1, quality='paper', composite='chroma_key')
    rng = np.random.default_rng(0)
    low, high = env.action_spec
    step = env.reset()
    assert env._renderer is not None and env._backgrounds is not None
    render, greens = env._renderer.render, []

    def remember(*arguments: Any, **options: Any) -> Rendering:
        rendering = render(*arguments, **options)
        greens.append(rendering.frame.copy())  # the original is painted over
        return rendering

    monkeypatch.setattr(env._renderer, 'render', remember)
    for index in range(1, 51):
        step = env.step(rng.uniform(low, high))
        green, background = greens[-1], env._backgrounds.frame(index)
        wanted = np.where(plain_is_screen(green)[..., None], background, green)
        assert np.array_equal(step.frame, wanted)
    assert len(greens) == 50
    env.close()


def test_a_video_is_resized_bilinearly_and_cut_to_whole_levels() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    shown = resize_behind_screen(frame, (30, 25))
    plain = np.empty((25, 30, 3))
    for row, column in np.ndindex(25, 30):
        y, x = (row + 0.5) * 2 - 0.5, (column + 0.5) * 3 - 0.5  # x falls on a pixel
        above, below = frame[int(y), int(x)].astype(float), frame[int(y) + 1, int(x)]
        plain[row, column] = above + (y - int(y)) * (below - above)
    assert np.abs(shown - (plain - 0.25)).max() <= 1  # k or, by a last bit, k - 1
    assert (shown <= plain).all() and (shown < plain).mean() > 0.4


def test_only_the_sky_is_green_in_video_easy() -> None:
    shown = {}
    for setting in ('train', 'video_easy', 'video_hard'):
        env = SimEnv('walker_walk', setting, seed=1, composite='chroma_key')
        env.reset()
        assert env._renderer is not None
        shown[setting] = env._renderer.render()[0]
        env.close()
    screen = {name: plain_is_screen(frame).mean() for name, frame in shown.items()}
    assert screen['train'] < 0.01
    assert 0.1 < screen['video_easy'] < screen['video_hard'] - 0.1


def test_another_way_to_composite_is_refused() -> None:
    with pytest.raises(ConfigError, match="composite 'magic' is not one of segmentation, chroma"):
        SimEnv('walker_walk', 'video_hard', composite='magic')
