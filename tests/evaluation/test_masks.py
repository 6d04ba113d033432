# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError, UnknownTaskError
from samg_ros.evaluation.masks import (
    collect_frames,
    evaluate_masks,
    find_reference,
    table,
    write_worst,
)
from samg_ros.masking import Masker, MaskerSettings


def test_frames_are_varied_and_repeat_with_the_seed() -> None:
    frames, truths = collect_frames('walker_walk', 'video_hard', 32, seed=1, size=48)
    again, _ = collect_frames('walker_walk', 'video_hard', 32, seed=1, size=48)
    assert frames.shape == (32, 48, 48, 3) and truths.shape == (32, 48, 48)
    assert np.array_equal(frames, again)
    assert truths.any(axis=(1, 2)).all()
    assert len(np.unique(truths.reshape(32, -1), axis=0)) == 32
    backgrounds = frames[[0, 15, 30], 0, 0]
    assert len(np.unique(backgrounds, axis=0)) == 3


def test_a_masker_is_scored_against_the_truth(tmp_path: Path) -> None:
    masker = Masker.load('mini', MaskerSettings(fit_weights=False))
    result = evaluate_masks(masker, task='cheetah_run', setting='train', frames=12)
    _, truths = collect_frames('cheetah_run', 'train', 12)
    row = result.summary()
    assert row['frames'] == len(result.iou) == 12
    assert 0 < row['iou_p5'] <= row['iou_median'] <= 1
    assert row['share_under_half'] == pytest.approx((result.iou < 0.5).mean(), abs=1e-4)
    assert 0 <= row['prompts_on_object'] <= 1 and row['frame_ms'] > 0
    assert [worst.iou for worst in result.worst] == sorted(result.iou)[:8]
    for worst in result.worst:
        assert np.array_equal(worst.truth, truths[worst.index])
        both, either = (worst.mask & worst.truth).sum(), (worst.mask | worst.truth).sum()
        assert worst.iou == pytest.approx(both / either)
    assert f'{row["iou_mean"]:.3f}' in table([result]).splitlines()[1]
    (path,) = write_worst([result], tmp_path)
    assert cv2.imread(str(path)).shape == (4 * 168, 8 * 168, 3)


def test_the_command_prints_a_table_and_writes_the_same_figures(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['eval', 'masks', '--task', 'cartpole_swingup', '--setting',
                     'train,video_easy', '--frames', '6', '--json', str(tmp_path / 'a.json'),
                     '--out', str(tmp_path / 'out')]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads((tmp_path / 'a.json').read_text())
    assert [(row['task'], row['setting']) for row in figures] == [
        ('cartpole_swingup', 'train'), ('cartpole_swingup', 'video_easy')]
    for line, row in zip(lines[1:3], figures, strict=True):
        assert f'{row["iou_mean"]:.3f}' in line
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'masks.json', 'worst_cartpole_swingup_train.png', 'worst_cartpole_swingup_video_easy.png']


def test_wrong_names_are_told_before_the_model_is_loaded() -> None:
    with pytest.raises(UnknownTaskError):
        evaluate_masks('no such model', task='walker_fly')
    with pytest.raises(ConfigError, match='0 frames cannot be evaluated'):
        evaluate_masks('no such model', frames=0)


@pytest.mark.parametrize(('options', 'message'), [
    (['--task', 'walker_fly'], "no task is called 'walker_fly'"),
    (['--setting', 'fog'], "no visual setting is called 'fog'"),
    (['--reference', '/none'], 'no such file or folder'),
    (['--setting', 'video_hard', '--videos', '/none'], "no folder of videos at '/none'"),
])
def test_a_wrong_argument_is_one_line_and_status_2(
        options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['eval', 'masks', '--frames', '2', *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith('samg: error:')


def test_a_folder_of_references_gives_each_task_its_own(tmp_path: Path) -> None:
    (tmp_path / 'walker_0.png').touch()
    (tmp_path / 'cheetah_run').mkdir()
    assert find_reference(tmp_path, 'walker_walk') == tmp_path / 'walker_0.png'
    assert find_reference(tmp_path, 'cheetah_run') == tmp_path / 'cheetah_run'
    assert find_reference(tmp_path, 'reacher_easy') == tmp_path
    assert find_reference(None, 'walker_walk') is None
