# SPDX-License-Identifier: Apache-2.0
"""A data set of masked frames says how its masks were made; raw frames can be masked again."""


import numpy as np
import pytest

from samg_ros import cli
from samg_ros.demonstrations.bag_import import import_bags
from samg_ros.demonstrations.lerobot_reader import LeRobotDataset
from samg_ros.demonstrations.masked_export import export_masked
from samg_ros.demonstrations.run_lengths import from_text, mask_of, run_lengths, to_text
from samg_ros.errors import DemonstrationError
from samg_ros.masking import Masker, MaskerSettings, Reference, apply_mask

from . import conftest as demo


@pytest.fixture(scope='module')
def masker():
    return Masker.load('mini', MaskerSettings(fit_weights=False)).fit(
        Reference(*demo.bags.scene(4)))


@pytest.fixture
def raw(tmp_path):
    path = demo.bags.write(tmp_path / 'bag', demo.recording(seconds=0.5))
    import_bags([path], tmp_path / 'raw', 'reach')
    return tmp_path / 'raw'


def test_masked_frames_are_what_the_masker_cuts_out(tmp_path, raw, masker):
    export_masked(raw, tmp_path / 'masked', masker)
    (before,), (after,) = (list(LeRobotDataset(each).episodes())
                           for each in (raw, tmp_path / 'masked'))
    frames = before.frames['camera']
    assert np.array_equal(after.frames['camera'], apply_mask(frames, masker(frames)))
    assert np.array_equal(after.joints, before.joints)
    assert np.array_equal(after.stamps, before.stamps)


def test_raw_frames_and_stored_masks_give_the_masked_frames(tmp_path, raw, masker):
    export_masked(raw, tmp_path / 'both', masker, keep_raw=True)
    dataset = LeRobotDataset(tmp_path / 'both')
    (episode,) = dataset.episodes()
    again = apply_mask(episode.frames['camera'], episode.masks['camera'])
    assert np.array_equal(again, episode.frames['camera_masked'])
    assert dataset.info.extra['mask_contract']['masker'] == masker.describe()


@pytest.mark.parametrize('mask', [
    np.zeros((3, 4), bool), np.ones((3, 4), bool), np.eye(5, dtype=bool),
    np.random.default_rng(0).random((17, 9)) > 0.5])
def test_run_lengths_keep_every_pixel(mask):
    assert run_lengths(mask).sum() == mask.size
    assert np.array_equal(mask_of(run_lengths(mask), mask.shape), mask)
    assert np.array_equal(from_text(to_text(mask), mask.shape), mask)


def test_import_and_export_from_the_command_line(tmp_path, capsys):
    bag = demo.bags.write(tmp_path / 'bag', demo.recording(seconds=0.5))
    Reference(*demo.bags.scene(4)).save(tmp_path / 'reference')
    assert cli.main(['demonstrations', 'import', str(bag), '--task', 'reach', '--out',
                     str(tmp_path / 'raw'), '--size', '32', '32']) == 0
    assert '1 episodes, 10 samples of 1 bags' in capsys.readouterr().out
    assert cli.main(['demonstrations', 'export', str(tmp_path / 'raw'), '--reference',
                     str(tmp_path / 'reference'), '--out', str(tmp_path / 'masked')]) == 0
    assert LeRobotDataset(tmp_path / 'masked').info.cameras == {'camera': (32, 32)}


@pytest.mark.parametrize('damage', ['meta/info.json', 'meta/tasks.parquet',
                                    'data/chunk-000/file-000.parquet'])
def test_a_damaged_data_set_is_one_error(raw, damage):
    path = raw / damage
    path.write_bytes(path.read_bytes()[:-20] + b'x' * 3)
    with pytest.raises(DemonstrationError, match='cannot be read|is not JSON'):
        list(LeRobotDataset(raw).episodes())
