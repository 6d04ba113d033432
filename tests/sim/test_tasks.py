# SPDX-License-Identifier: Apache-2.0
import pytest

from samg_ros.errors import UnknownTaskError
from samg_ros.sim.tasks import get_task, load_simulation, task_names


def test_the_tasks_of_the_main_job_are_there() -> None:
    assert {'walker_walk', 'cartpole_swingup', 'cheetah_run'} <= set(task_names())


def test_a_task_is_found_under_its_own_name() -> None:
    for name in task_names():
        spec = get_task(name)
        assert spec.name == name == f'{spec.domain}_{spec.task}'
        assert spec.parts


def test_a_mistyped_task_gets_the_closest_names() -> None:
    with pytest.raises(UnknownTaskError, match=r"no task is called 'waker_walk'.*walker_walk"):
        get_task('waker_walk')


def test_an_unlike_name_gets_the_list() -> None:
    with pytest.raises(UnknownTaskError, match='known: .*cheetah_run'):
        get_task('zzz')


def test_a_control_step_has_the_length_that_the_suite_gives_it() -> None:
    lengths = {'cartpole_swingup': 10_000_000, 'cheetah_run': 10_000_000, 'walker_walk': 25_000_000}
    for name, length in lengths.items():
        assert load_simulation(get_task(name), 0).control_timestep_ns == length
