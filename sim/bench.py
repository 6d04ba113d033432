# SPDX-License-Identifier: Apache-2.0
"""`samg bench sim`: frames and steps a second, beside dm_control's own pixels wrapper.

Everything that is compared lives in one process and takes turns of a fraction of a second, so that
whatever else the machine does falls on all alike: the ratios hold where the rates do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from samg_ros.arguments import add_json, add_seed, names, number, optional_path, whole
from samg_ros.errors import ConfigError
from samg_ros.files.outputs import write_json
from samg_ros.sim.env import SimEnv
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.tasks import TaskSpec, get_task
from samg_ros.sim.visual.settings import SETTINGS, get_setting

TURN_S = 0.1
WARM_UP_FRAMES = 10
BASELINE = 'dm_control'


@dataclass(frozen=True)
class SimSpeed:
    """How fast one task was in one setting; a frame is an agent step and its picture."""

    task: str
    setting: str
    quality: str
    """`fast`, `paper`, or `dm_control` for its pixels wrapper."""
    truth: bool
    """Whether the true mask was rendered too."""
    action_repeat: int
    frames: int
    """Timed."""
    frame_ms: float
    """Median over the turns; resets are left out."""
    reset_ms: float
    """Median of the resets; with painted backgrounds they paint a new one."""
    over_dm_control: float | None
    """Frames a second over those of dm_control's wrapper, where there is one."""
    cost_over_train: float | None
    """Time a frame over that of `train` at the same quality and truth, if that was measured."""

    @property
    def frames_per_s(self) -> float:
        return 1000 / self.frame_ms

    @property
    def steps_per_s(self) -> float:
        """Control steps a second."""
        return self.frames_per_s * self.action_repeat


class _Contender:
    """Something that can be stepped, and the times that its turns took."""

    def __init__(self, low: np.ndarray, high: np.ndarray, seed: int) -> None:
        self._low, self._high = low, high
        self._rng = np.random.default_rng(seed)
        self._over = True
        self.turns_ms: list[float] = []
        self.resets_ms: list[float] = []
        self.frames = 0

    def reset(self) -> None:
        raise NotImplementedError

    def step(self, action: np.ndarray) -> bool:
        """Advance one agent step with its picture; returns whether the episode is over."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def turn(self, least_s: float, least_frames: int = 1) -> None:
        """Make frames for a while and note what one took."""
        busy, count = 0.0, 0
        while busy < least_s or count < least_frames:
            begun = time.perf_counter()
            if self._over:
                self.reset()
                self.resets_ms.append(1000 * (time.perf_counter() - begun))
                begun = time.perf_counter()
            self._over = self.step(self._rng.uniform(self._low, self._high))
            busy += time.perf_counter() - begun
            count += 1
        self.turns_ms.append(1000 * busy / count)
        self.frames += count

    def warm_up(self) -> None:
        """Have contexts, caches and code ready, and nothing noted; the next turn begins anew."""
        self.turn(0.0, WARM_UP_FRAMES)
        self.turns_ms.clear()
        self.resets_ms.clear()
        self.frames, self._over = 0, True


class _Ours(_Contender):
    def __init__(self, env: SimEnv, seed: int) -> None:
        super().__init__(*env.action_spec, seed)
        self._env = env

    def reset(self) -> None:
        self._env.reset()

    def step(self, action: np.ndarray) -> bool:
        return self._env.step(action).last

    def close(self) -> None:
        self._env.close()


class _PixelsWrapper(_Contender):
    """dm_control's wrapper around a suite environment that repeats its actions, as DrQ-v2 does."""

    def __init__(self, spec: TaskSpec, action_repeat: int, size: int, seed: int) -> None:
        from dm_control import suite
        from dm_control.suite.wrappers import pixels
        self._plain = suite.load(spec.domain, spec.task, task_kwargs={'random': seed})
        self._pixels = pixels.Wrapper(self._plain, render_kwargs={
            'height': size, 'width': size, 'camera_id': spec.camera_id})
        self._repeat = action_repeat
        limits = self._plain.action_spec()
        super().__init__(limits.minimum, limits.maximum, seed)

    def reset(self) -> None:
        self._pixels.reset()

    def step(self, action: np.ndarray) -> bool:
        for _ in range(self._repeat - 1):
            if self._plain.step(action).last():
                return True
        return bool(self._pixels.step(action).last())

    def close(self) -> None:
        self._plain.close()


def measure_sim(task: str, settings: Sequence[str] = tuple(SETTINGS),
                qualities: Sequence[str] = QUALITIES, seconds: float = 2.0, seed: int = 0,
                size: int = 84, action_repeat: int | None = None,
                videos: str | Path | None = None, progress: bool = False) -> list[SimSpeed]:
    """Time a task in several settings and qualities, with and without its truth.

    Args:
        task: see `tasks.task_names`.
        settings: see `settings.SETTINGS`.
        qualities: `fast`, `paper` or both.
        seconds: of stepping for each, above 0.
        seed: of initial states, actions and videos.
        size: side of a frame in pixels.
        action_repeat: control steps per frame, of dm_control's too; None takes the task's.
        videos: folder of videos; None for painted ones.
        progress: show a bar.

    Returns:
        dm_control's wrapper first, where the task is one of the suite's; then one for every
        quality, truth and setting.

    Raises:
        ConfigError: if `seconds` is not above 0.
        SamgError: whatever `SimEnv` raises.
    """
    if not seconds > 0:
        raise ConfigError(f'seconds is {seconds}; it must be above 0')
    spec = get_task(task)
    contenders: dict[tuple[str, str, bool], _Contender] = {}
    try:
        for quality in qualities:
            for truth in (True, False):
                for setting in settings:
                    env = SimEnv(task, setting, seed=seed, height=size, width=size,
                                 quality=quality, action_repeat=action_repeat, truth=truth,
                                 videos=videos if get_setting(setting).has_video else None)
                    contenders[setting, quality, truth] = _Ours(env, seed)
                    repeat = env.action_repeat
        if spec.family == 'dmcontrol':
            wrapper = _PixelsWrapper(spec, repeat, size, seed)
            contenders = {('train', BASELINE, False): wrapper, **contenders}
        for contender in contenders.values():
            contender.warm_up()
        for _ in tqdm(range(max(1, round(seconds / TURN_S))), desc=task, unit='round',
                      leave=False, disable=not progress):
            for contender in contenders.values():
                contender.turn(min(TURN_S, seconds))
    finally:
        for contender in contenders.values():
            contender.close()
    frame_ms = {key: float(np.median(each.turns_ms)) for key, each in contenders.items()}
    theirs_ms = frame_ms.get(('train', BASELINE, False))
    return [SimSpeed(task, setting, quality, truth, repeat, contenders[key].frames, own_ms,
                     float(np.median(contenders[key].resets_ms)),
                     None if theirs_ms is None else theirs_ms / own_ms,
                     own_ms / frame_ms['train', quality, truth]
                     if ('train', quality, truth) in frame_ms else None)
            for key, own_ms in frame_ms.items() for setting, quality, truth in (key,)]


def table(speeds: Sequence[SimSpeed]) -> str:
    """Return the speeds as lines of text."""
    def ratio(value: float | None) -> str:
        return '-' if value is None else f'{value:.2f}'

    lines = [f'{"task":18} {"quality":10} {"setting":11} {"truth":5} {"frames/s":>8} '
             f'{"steps/s":>8} {"frame ms":>8} {"reset ms":>8} {"x dm_control":>12} {"x train":>8}']
    lines += [f'{speed.task:18} {speed.quality:10} {speed.setting:11} '
              f'{"on" if speed.truth else "off":5} {speed.frames_per_s:8.0f} '
              f'{speed.steps_per_s:8.0f} {speed.frame_ms:8.2f} {speed.reset_ms:8.1f} '
              f'{ratio(speed.over_dm_control):>12} {ratio(speed.cost_over_train):>8}'
              for speed in speeds]
    return '\n'.join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg bench sim`."""
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help='tasks (walker_walk)')
    parser.add_argument('--setting', type=names, action='extend', metavar='NAME[,NAME]',
                        help='visual settings (all)')
    parser.add_argument('--quality', choices=QUALITIES, default=None,
                        help='render quality (both)')
    parser.add_argument('--seconds', type=number(0), default=2.0,
                        help='of stepping for each line of the table (2)')
    parser.add_argument('--size', type=whole(16, 4096), default=84,
                        help='side of a frame in pixels (84)')
    parser.add_argument('--action-repeat', type=whole(1), default=None, metavar='N',
                        help="control steps per frame (the task's)")
    parser.add_argument('--videos', type=optional_path, default=None, metavar='DIR',
                        help='folder of videos for the video settings (painted ones)')
    add_seed(parser, 'of initial states, actions and videos')
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Run `samg bench sim`."""
    settings = [get_setting(name).name for name in args.setting or SETTINGS]
    tasks = [get_task(name).name for name in args.task or ['walker_walk']]
    speeds: list[SimSpeed] = []
    for task in tasks:
        speeds += measure_sim(task, settings, [args.quality] if args.quality else QUALITIES,
                              args.seconds, args.seed, args.size, args.action_repeat, args.videos,
                              progress=True)
    print(table(speeds))
    if args.json is not None:
        rows: list[dict[str, Any]] = [
            {**asdict(speed), 'frames_per_s': speed.frames_per_s, 'steps_per_s': speed.steps_per_s}
            for speed in speeds]
        write_json(args.json, rows)
