# SPDX-License-Identifier: Apache-2.0
"""`video_hard` with chroma key beside DMC-GB's own code, pixel by pixel on the same physics states.

Needs a checkout of the public DMControl Generalization Benchmark and the package xmltodict:

    python benchmarks/dmcgb_parity.py path/to/dmcontrol-generalization-benchmark VIDEO.mp4

What runs of theirs: `ColorWrapper`, `VideoWrapper`, `FrameStack`, `do_green_screen` and
`rgb_to_hsv` of src/env/wrappers.py; of their fork of dm_control common/settings.py with the scene
files that it edits. Physics and renderer are the installed dm_control's on both sides: the fork
needs MuJoCo 2.0. Gymnasium stands in for gym, and one class below for dmc2gym's wrapper.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from samg_ros.sim.env import SimEnv
from samg_ros.sim.gl import prepare_gl
from samg_ros.sim.tasks import get_task

TASKS = ('walker_walk', 'cartpole_swingup', 'cheetah_run')
FRAMES = 50


class Scene(gymnasium.Env):
    """In place of `dmc2gym.wrappers.DMCWrapper`: a suite environment whose state is given."""

    def __init__(self, task: str, size: int) -> None:
        from dm_control import suite
        spec = get_task(task)
        self._env = suite.load(spec.domain, spec.task)
        self._env.reset()
        self._domain_name = spec.domain
        self._physics = self._env.physics
        self.physics = types.SimpleNamespace(reload_from_xml_string=self._reload)
        self._size, self._camera = size, spec.camera_id
        self._max_episode_steps = 10**6
        self.observation_space = gymnasium.spaces.Box(0, 255, (3, size, size), np.uint8)
        self.state: Any = None

    def _reload(self, xml: str, assets: dict[str, str | bytes]) -> None:
        """Take another scene; today's MuJoCo wants bytes."""
        self._physics.reload_from_xml_string(xml, assets={
            name: text.encode() if isinstance(text, str) else text
            for name, text in assets.items()})

    def render_state(self) -> np.ndarray:
        """Return the picture of `state`, (3, H, W) uint8 as dmc2gym gives it."""
        with self._physics.reset_context():
            self._physics.data.qpos[:], self._physics.data.qvel[:] = self.state
        return self._physics.render(self._size, self._size, self._camera).transpose(2, 0, 1).copy()

    def reset(self, **options: Any) -> Any:
        """Show the state."""
        return self.render_state()

    def step(self, action: Any) -> Any:
        """Show the state without acting."""
        return self.render_state(), 0.0, False, {}


def load(checkout: Path) -> Any:
    """Import their wrappers from a checkout."""
    prepare_gl()  # before dm_control and torch
    sys.modules['gym'] = gymnasium
    for name, contents in (('dmc2gym', {'wrappers': types.SimpleNamespace(DMCWrapper=Scene)}),
                           ('utils', {'LazyFrames': lambda frames: frames})):
        module = types.ModuleType(name)
        module.__dict__.update(contents)
        sys.modules[name] = module
    from dm_control.suite import common
    fork = checkout / 'src/env/dm_control/dm_control/suite/common/settings.py'
    common.settings = _module('dmcgb_settings', fork)
    return _module('dmcgb_wrappers', checkout / 'src/env/wrappers.py')


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"'{path}' is not there; give the folder of a DMC-GB checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(wrappers: Any, task: str, video: Path, frames: int, size: int) -> dict[str, float]:
    """Return shares of pixels: different at all, by more than one level, replaced otherwise."""
    scene = Scene(task, size)
    videos = wrappers.VideoWrapper(scene, 'train', 0)  # 'train' as it would look for 100 files
    videos._mode, videos._video_paths, videos._num_videos = 'video_hard', [str(video)], 1
    theirs = wrappers.ColorWrapper(wrappers.FrameStack(videos, 1), 'video_hard', 0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / video.name).symlink_to(video.resolve())
        ours = SimEnv(task, 'video_hard', 0, size, size, 'paper', folder, composite='chroma_key')
        rng, shares = np.random.default_rng(0), []
        step = ours.reset()
        for index in range(frames):
            scene.state = ours.data.qpos.copy(), ours.data.qvel.copy()
            stacked = theirs.reset() if index == 0 else theirs.step(None)[0]
            frame = stacked[0].transpose(1, 2, 0)
            off = np.abs(step.frame.astype(int) - frame).max(axis=2)
            green = scene.render_state()
            apart = wrappers.do_green_screen(green, np.full_like(green, 1)).transpose(1, 2, 0)
            own = ours._renderer.render().frame
            ours_apart = wrappers.do_green_screen(
                own.transpose(2, 0, 1).copy(), np.full_like(green, 1)).transpose(1, 2, 0)
            shares.append([(off > 0).mean(), (off > 1).mean(),
                           (apart != ours_apart).any(axis=2).mean()])
            step = ours.step(rng.uniform(*ours.action_spec))
        ours.close()
    return dict(zip(('any', 'more_than_one_level', 'green_scene'), np.mean(shares, axis=0).tolist(),
                    strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkout', type=Path)
    parser.add_argument('video', type=Path, help='one of theirs, or any of 100 pixels and more')
    parser.add_argument('--task', nargs='+', default=TASKS)
    parser.add_argument('--frames', type=int, default=FRAMES)
    parser.add_argument('--size', type=int, default=84)
    parser.add_argument('--json', type=Path, help='also write the figures there')
    args = parser.parse_args()
    wrappers = load(args.checkout)
    rows = {}
    print(f'{"task":20} {"differ":>8} {"by > 1 level":>13} {"before the video":>17}')
    for task in args.task:
        rows[task] = row = compare(wrappers, task, args.video, args.frames, args.size)
        print(f'{task:20} {row["any"]:8.2%} {row["more_than_one_level"]:13.3%} '
              f'{row["green_scene"]:17.3%}', flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + '\n')


if __name__ == '__main__':
    main()
