# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError, UnknownTaskError
from samg_ros.masking.references.reference import Reference
from samg_ros.sim.reference import draw_reference, parse_points, render_reference


def test_a_rendered_reference_reads_back_as_it_was(tmp_path: Path) -> None:
    made = render_reference('ball_in_cup_catch', 96, 128, points=[(40, 24)])
    read = Reference.load(made.save(tmp_path))
    assert read.image.shape == (96, 128, 3)
    for name in ('image', 'mask', 'points'):
        assert np.array_equal(getattr(made, name), getattr(read, name))
    assert len(read.parts) == 2
    assert np.array_equal(read.parts[0] | read.parts[1], read.mask)


def test_a_task_of_one_part_has_no_part_masks() -> None:
    assert render_reference('cartpole_swingup').parts == ()


def test_the_same_seed_gives_the_same_reference() -> None:
    one, again, other = (render_reference('walker_walk', seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.image, again.image)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize('domain_task', ['walker_walk', 'cartpole_swingup', 'cheetah_run'])
def test_the_object_is_as_large_as_in_the_public_reference(shared_data: Path,
                                                           domain_task: str) -> None:
    """The public masks mark the robot and no decoration: same camera, so about the same area."""
    domain = domain_task.split('_')[0]
    public = Reference.load(shared_data / 'samg_references' / f'{domain}_0.png')
    ours = render_reference(domain_task, quality='paper')
    assert ours.mask.sum() == pytest.approx(public.mask.sum(), rel=0.3)


def test_the_picture_dims_what_is_not_the_object_and_marks_points() -> None:
    reference = render_reference('cartpole_swingup', points=[(10, 20)])
    picture = draw_reference(reference)
    assert picture.shape == (336, 672, 3)
    plain, shown = picture[:, :336].astype(int), picture[:, 336:].astype(int)
    assert shown[0, 0].sum() < plain[0, 0].sum()
    assert tuple(shown[82, 42]) == (40, 255, 80)


@pytest.mark.parametrize(('text', 'points'), [
    ('40,24 23,68', [(40.0, 24.0), (23.0, 68.0)]), ('1.5,2', [(1.5, 2.0)]), ('', [])])
def test_points_are_read_as_written(text: str, points: list[tuple[float, float]]) -> None:
    assert parse_points(text) == points


@pytest.mark.parametrize('text', ['40', '40,24,1', 'a,b', '40;24'])
def test_other_points_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write 'x,y x,y'"):
        parse_points(text)


def test_the_command_renders_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, picture = tmp_path / 'reference', tmp_path / 'sub' / 'shown.png'
    assert cli.main(['reference', 'render', '--task', 'cheetah_run', '--size', '64',
                     '--points', '30,30', '--out', str(folder)]) == 0
    assert cli.main(['reference', 'show', str(folder), '--out', str(picture)]) == 0
    told = capsys.readouterr().out
    assert told.count('image   64 x 64') == 2
    assert told.count('points  (30, 30)') == 2
    assert cv2.imread(str(picture)).shape == (384, 768, 3)


def test_an_unknown_task_is_one_line_and_status_2(tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownTaskError):
        render_reference('cheetah_fly')
    assert cli.main(['reference', 'render', '--task', 'cheetah_fly', '--out', str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("samg: error: no task is called 'cheetah_fly'")
