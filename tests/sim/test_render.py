# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import threading

import mujoco
import numpy as np
import pytest

from samg_ros.errors import ConfigError
from samg_ros.sim.render import FIRST_PART, FLOOR, OTHER, SKY, Renderer, scene_labels
from samg_ros.sim.tasks import TaskSpec, get_task
from samg_ros.sim.tasks.dmcontrol import SuiteSimulation

MAIN_TASKS = ('walker_walk', 'cartpole_swingup', 'cheetah_run')


def start(name: str) -> tuple[TaskSpec, SuiteSimulation]:
    spec = get_task(name)
    simulation = SuiteSimulation(spec, seed=1)
    simulation.reset()
    return spec, simulation


def renderer(spec: TaskSpec, simulation: SuiteSimulation, **changes: object) -> Renderer:
    settings = {'camera_id': spec.camera_id, 'height': 84, 'width': 84} | changes
    return Renderer(simulation.model, simulation.data, **settings)  # type: ignore[arg-type]


def shake(simulation: SuiteSimulation, rng: np.random.Generator, steps: int = 4) -> None:
    for _ in range(steps):
        simulation.step(rng.uniform(simulation.action_low, simulation.action_high))


@pytest.mark.parametrize('name', [*MAIN_TASKS, 'finger_spin'])
def test_labels_are_those_of_dm_controls_segmentation(name: str) -> None:
    spec, simulation = start(name)
    ours = renderer(spec, simulation)
    labels = scene_labels(simulation.model, spec)
    rng = np.random.default_rng(0)
    for _ in range(3):
        shake(simulation, rng)
        theirs = simulation.physics.render(84, 84, camera_id=spec.camera_id, segmentation=True)
        ids, kinds = theirs[..., 0], theirs[..., 1]
        expected = np.where(kinds == -1, SKY, OTHER)
        geoms = kinds == int(mujoco.mjtObj.mjOBJ_GEOM)
        sites = kinds == int(mujoco.mjtObj.mjOBJ_SITE)
        expected[geoms] = labels.geom[ids[geoms]]
        expected[sites] = labels.site[ids[sites]]
        assert np.array_equal(ours.render(labels)[1], expected)
    ours.close()


def test_the_object_of_cartpole_is_cart_and_pole_but_not_the_rail() -> None:
    spec, simulation = start('cartpole_swingup')
    labels = scene_labels(simulation.model, spec).geom
    named = {simulation.model.geom(i).name: int(labels[i]) for i in range(simulation.model.ngeom)}
    assert named == {'floor': FLOOR, 'rail1': OTHER, 'rail2': OTHER, 'cart': FIRST_PART,
                     'pole_1': FIRST_PART}


def test_in_fast_quality_every_pixel_of_the_object_shows_the_object() -> None:
    spec, simulation = start('walker_walk')
    ours = renderer(spec, simulation)
    frame, labels, *_ = ours.render(scene_labels(simulation.model, spec), sky=False)
    assert labels is not None
    assert np.array_equal(frame.any(axis=2), labels != SKY)
    ours.close()


def test_any_thread_may_render() -> None:
    spec, simulation = start('cartpole_swingup')
    ours = renderer(spec, simulation)
    here, there = ours.render()[0], []
    threads = [threading.Thread(target=lambda: there.append(ours.render()[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    ours.close()
    assert len(there) == 3
    assert all(np.array_equal(here, frame) for frame in there)


def test_models_that_take_turns_show_what_each_shows_alone() -> None:
    """They share an OpenGL context, and nothing in it."""
    cases = [(*start('cartpole_swingup'), {'quality': 'paper'}),
             (*start('walker_walk'), {'height': 60, 'width': 100})]
    alone = []
    for spec, simulation, options in cases:
        ours = renderer(spec, simulation, **options)
        alone.append(ours.render()[0])
        ours.close()
    together = [renderer(spec, simulation, **options) for spec, simulation, options in cases]
    for _ in range(2):
        for ours, frame in zip(together, alone, strict=True):
            assert np.array_equal(ours.render()[0], frame)
    together[0].close()
    assert np.array_equal(together[1].render()[0], alone[1])
    together[1].close()


def test_a_closed_renderer_can_render_again() -> None:
    spec, simulation = start('cartpole_swingup')
    ours = renderer(spec, simulation)
    first = ours.render()[0]
    ours.close()
    assert np.array_equal(first, ours.render()[0])
    ours.close()


def test_a_frame_larger_than_the_models_buffer_is_rendered() -> None:
    spec, simulation = start('cartpole_swingup')
    ours = renderer(spec, simulation, height=500, width=700)
    assert ours.render()[0].shape == (500, 700, 3)
    assert ours.render()[0][-1].any()
    ours.close()


@pytest.mark.parametrize(('changes', 'message'), [
    ({'quality': 'best'}, "'best' is not one of fast, paper"),
    ({'height': 0}, '0 x 84 pixels'),
    ({'camera_id': 9}, "no camera '9'"),
    ({'camera_id': 'nose'}, "no camera 'nose'"),
])
def test_an_unusable_argument_is_named(changes: dict[str, object], message: str) -> None:
    spec, simulation = start('cartpole_swingup')
    with pytest.raises(ConfigError, match=message):
        renderer(spec, simulation, **changes)


def test_a_task_that_names_a_missing_body_is_an_error() -> None:
    spec, simulation = start('cartpole_swingup')
    other = TaskSpec('x_y', 'dmcontrol', 'x', 'y', parts=get_task('walker_walk').parts)
    with pytest.raises(ConfigError, match="'x_y': its model has no body called 'torso'"):
        scene_labels(simulation.model, other)


def test_a_torch_optimiser_can_be_made_after_rendering_and_exit_is_silent() -> None:
    """Triton's and Mesa's copies of LLVM crash a process that loads them in the wrong order."""
    code = ('from samg_ros.sim.env import SimEnv\n'
            'kept = SimEnv("cartpole_swingup"); kept.reset()\n'
            'import torch\n'
            'torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])\n'
            'print(int(kept.step([0.0]).frame.any()))')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                            check=False, timeout=300)
    assert (result.returncode, result.stdout, result.stderr) == (0, '1\n', '')
