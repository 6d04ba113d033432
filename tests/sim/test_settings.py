# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest

from samg_ros.errors import ConfigError, UnknownSettingError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import FLOOR, SKY, scene_labels
from samg_ros.sim.tasks import get_task
from samg_ros.sim.tasks.colours import ColourList, Colours
from samg_ros.sim.tasks.dmcontrol import SuiteSimulation
from samg_ros.sim.visual.settings import SETTINGS, composite, get_setting


def test_the_settings_are_those_of_the_benchmark() -> None:
    assert list(SETTINGS) == ['train', 'color_easy', 'color_hard', 'video_easy', 'video_hard']


def test_an_unknown_setting_gets_the_list() -> None:
    with pytest.raises(UnknownSettingError, match="'fog'; known: train, color_easy"):
        get_setting('fog')


@pytest.mark.parametrize(('setting', 'kept'), [('video_easy', True), ('video_hard', False)])
def test_a_video_setting_replaces_sky_and_in_hard_the_floor_and_nothing_else(
        setting: str, kept: bool) -> None:
    env, plain = SimEnv('cartpole_swingup', setting, seed=1), SimEnv('cartpole_swingup', seed=1)
    shown, before = env.reset().frame, plain.reset().frame
    assert plain._renderer is not None
    labels = plain._renderer.render(scene_labels(plain.model, plain.spec))[1]
    assert labels is not None
    same = (shown == before).all(axis=2)
    assert same[(labels != SKY) & (labels != FLOOR)].all()
    assert same[labels == SKY].mean() < 0.05
    assert same[labels == FLOOR].all() if kept else same[labels == FLOOR].mean() < 0.05
    env.close()
    plain.close()


def test_a_composite_takes_each_pixel_from_frame_or_background() -> None:
    rng = np.random.default_rng(0)
    frame, background = rng.integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    labels = rng.integers(0, 5, (9, 7), dtype=np.uint8)
    expected = np.array([[background[y, x] if labels[y, x] in (SKY, FLOOR) else frame[y, x]
                          for x in range(7)] for y in range(9)])
    composite(frame, labels, (SKY, FLOOR), background)
    assert np.array_equal(frame, expected)


def test_the_suites_own_colours_give_the_suites_own_textures() -> None:
    simulation = SuiteSimulation(get_task('walker_walk'), 0)
    before = simulation.model.tex_data.copy(), simulation.model.mat_rgba.copy()
    own = Colours((0.7, 0.5, 0.3), ((0.1, 0.2, 0.3), (0.2, 0.3, 0.4)), (0.4, 0.6, 0.8))
    simulation.recolour(Colours((0, 1, 0), ((1, 0, 0), (0, 1, 0)), (0, 0, 1)))
    assert not np.array_equal(before[0], simulation.model.tex_data)
    simulation.recolour(own)
    assert np.array_equal(before[0], simulation.model.tex_data)
    assert np.allclose(before[1], simulation.model.mat_rgba)


def test_colours_change_robot_floor_and_sky_at_every_reset() -> None:
    env = SimEnv('cartpole_swingup', 'color_hard')
    frames = [env.reset().frame.astype(int) for _ in range(2)]
    env.close()
    mask_free = [(0, 0), (80, 5)]  # sky, floor
    for y, x in mask_free:
        assert np.abs(frames[0][y, x] - frames[1][y, x]).max() > 2
    cart = [frame[28:30, 40:44].mean(axis=(0, 1)) for frame in frames]
    assert np.abs(cart[0] - cart[1]).max() > 2


def test_listed_colours_are_used(tmp_path: Path) -> None:
    entry = {'self_rgb': [1, 0, 0], 'grid_rgb1': [0, 1, 0], 'grid_rgb2': [0, 1, 1],
             'skybox_rgb': [0, 0, 1]}
    (tmp_path / 'color_easy.json').write_text(json.dumps([entry]))
    assert ColourList('color_easy', tmp_path, 0).draw() == Colours(
        (1, 0, 0), ((0, 1, 0), (0, 1, 1)), (0, 0, 1))


def test_a_bad_list_of_colours_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'color_easy\.json. cannot be read'):
        ColourList('color_easy', tmp_path, 0)
    file = tmp_path / 'colours.json'
    for text in ('{', '[{"self_rgb": [1, 0, 0]}]', '[{"self_rgb": 1}]'):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r'colours\.json.(:| is not JSON)'):
            ColourList('color_easy', file, 0)


def test_the_public_colours_can_be_read(shared_data: Path) -> None:
    drawn = ColourList('color_hard', shared_data / 'dmcgb', 0).draw()
    assert all(0 <= value <= 1 for colour in (drawn.body, *drawn.floor, drawn.sky)
               for value in colour)
