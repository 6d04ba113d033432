# SPDX-License-Identifier: Apache-2.0
"""benchmarks/graph_fuzz.py, graph_cycles.py and graph_soak.py for seconds, not for an hour."""

import pytest
import rclpy
from graph_cycles import cycle
from graph_fuzz import SUBJECTS, fuzz
from graph_rig import Rig, start_ros
from graph_soak import PRINTED, soak

pytestmark = pytest.mark.slow


@pytest.fixture
def rig():
    start_ros()
    made = Rig()
    yield made
    made.close()
    rclpy.try_shutdown()


@pytest.mark.parametrize('make', [each for makers in SUBJECTS.values() for each in makers])
@pytest.mark.filterwarnings('ignore:overflow encountered')
def test_nonsense_kills_no_node_and_is_all_on_diagnostics(rig, tmp_path, make):
    row = fuzz(rig, make(rig, tmp_path), 25)
    assert row['counted'] == row['sent'] and all(count > 25 for count in row['sent'].values())
    if row['drops']:
        assert 0 < sum(row['refused'].values()) < sum(row['sent'].values())


def test_cycles_of_the_lifecycle_leave_no_thread_and_no_handle(rig, tmp_path):
    row = cycle(rig, 6, tmp_path)
    for kind in ('threads', 'handles'):
        assert row['ended'][kind] <= row['settled'][kind], row


def test_a_long_run_loses_nothing_and_grows_nothing(rig, tmp_path):
    row = soak(rig, tmp_path, PRINTED, passes=1)
    assert row['commands'] == row['frames'] and row['dropped'] == row['stops'] == 0
    assert row['most_threads'] <= row['settled']['threads']
    assert row['most_handles'] <= row['settled']['handles']
    assert row['most_growth'] < 0.05
