# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError
from samg_ros.sim.bench import BASELINE, measure_sim, table


def test_every_line_is_measured_beside_dm_control_and_beside_train() -> None:
    speeds = measure_sim('cartpole_swingup', ['train', 'video_hard'], ['fast'], seconds=0.05,
                         size=32, action_repeat=3)
    assert [(speed.quality, speed.setting, speed.truth) for speed in speeds] == [
        (BASELINE, 'train', False), ('fast', 'train', True), ('fast', 'video_hard', True),
        ('fast', 'train', False), ('fast', 'video_hard', False)]
    theirs, with_truth, video = speeds[:3]
    assert theirs.over_dm_control == theirs.cost_over_train == with_truth.cost_over_train == 1
    assert video.over_dm_control == pytest.approx(theirs.frame_ms / video.frame_ms)
    assert video.cost_over_train == pytest.approx(video.frame_ms / with_truth.frame_ms)
    for speed in speeds:
        assert speed.frames > 0 and speed.reset_ms > 0
        assert speed.steps_per_s == pytest.approx(3 * speed.frames_per_s)
    lines = table(speeds).splitlines()
    assert len(lines) == 6 and len({len(line) for line in lines}) == 1


def test_a_task_that_is_not_of_the_suite_stands_alone() -> None:
    speed, = measure_sim('adroit_pen', ['video_hard'], ['fast'], seconds=0.01, size=32)[:1]
    assert speed.over_dm_control is None and speed.cost_over_train is None
    assert table([speed]).splitlines()[1].split()[-2:] == ['-', '-']


def test_the_command_prints_what_it_writes(tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'new' / 'sim.json'
    assert cli.main(['bench', 'sim', '--task', 'cartpole_swingup', '--setting', 'train',
                     '--quality', 'fast', '--seconds', '0.05', '--size', '32',
                     '--json', str(path)]) == 0
    rows, lines = json.loads(path.read_text()), capsys.readouterr().out.splitlines()
    assert len(rows) == len(lines) - 1 == 3
    for row, line in zip(rows, lines[1:], strict=True):
        assert line.split()[:2] == [row['task'], row['quality']]
        assert line.split()[4] == f'{row["frames_per_s"]:.0f}'


def test_no_time_is_an_error() -> None:
    with pytest.raises(ConfigError, match='seconds is 0; it must be above 0'):
        measure_sim('cartpole_swingup', seconds=0)
