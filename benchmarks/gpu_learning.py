# SPDX-License-Identifier: Apache-2.0
"""Learning on a GPU in one call: frames/s beside the official DrQ-v2, then a whole masked run.

    python benchmarks/gpu_learning.py --repo ../drqv2 --videos ../shared/data/dmcgb

does, at the `paper` preset's sizes: frames/s of three trainings from their first update on, each in
a process of its own, of the official code (facebookresearch/drqv2: its agent, replay and loader,
environment and loop on our version of dm_control, without evaluations, videos and TensorBoard) and
of ours on raw and on masked frames; a training on masked frames of walker walk; its returns in
`train` and `video_hard`, beside those that others report. Frames are the simulator's, as DrQ-v2
counts them: agent steps x action repeat.

Nothing new is begun after `--minutes`, and a training then saves and stops with status 130: the
same command goes on. What is done stands in RUN_DIR/figures.json. Small sizes show on a CPU that
every line runs (tests/rl/test_gpu_learning.py).
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from official_drqv2 import checkout, official_workspace

from samg_ros.arguments import parse_settings
from samg_ros.interruption import EXIT_INTERRUPTED, stop_on_signals
from samg_ros.progress import ProgressLine, progress_line
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.episodes import SETTINGS, evaluate_policy
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.presets import preset
from samg_ros.rl.training.direct import make_masker, train_direct

WANTED = 2.0
"""Times the official frames/s."""

REPORTED = {
    'walker_walk': {'SVEA': 385, 'SGQN': 739, 'MaDi': 858, 'SimGRL': 773},
    'walker_stand': {'SVEA': 834, 'SGQN': 851, 'MaDi': 824, 'SimGRL': 932},
    'ball_in_cup_catch': {'SVEA': 403, 'SGQN': 782, 'MaDi': 610, 'SimGRL': 902},
    'cartpole_swingup': {'SVEA': 393, 'SGQN': 544, 'MaDi': 769, 'SimGRL': 727},
    'finger_spin': {'SVEA': 335, 'SGQN': 822, 'MaDi': 566, 'SimGRL': 864},
    'cheetah_run': {'SVEA': 112, 'SGQN': 157, 'SimGRL': 301},
}
"""Mean returns in DMC-GB's video_hard, from SimGRL's table 1 and MaDi's README."""


def official_rate(repo: Path, config: TrainConfig, first: int, workers: int, device: str) -> float:
    """Return frames/s of the official training between two agent steps, `first` and the last."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = official_workspace(repo, config, Path(folder), workers, device)
        times = []
        for steps in (first, config.steps):
            workspace.cfg.num_train_frames = steps * config.action_repeat
            workspace.train()
            times.append(time.perf_counter())
        workspace._replay_iter = None  # ends its loader's processes, which read the folder
    return (config.steps - first) * config.action_repeat / (times[1] - times[0])


def our_rate(config: TrainConfig, first: int, model: str, reference: Path | None,
             device: str) -> float:
    """Return frames/s of our training, likewise."""
    times: dict[int, float] = {}

    def note(progress: dict[str, Any]) -> None:
        if progress['step'] in (first, config.steps):
            times.setdefault(progress['step'], time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        masker = None
        if config.observation.source == 'masked':
            masker = make_masker(config, folder, reference, model, device)
        train_direct(config, folder, masker=masker, device=device, on_progress=note)
    return (config.steps - first) * config.action_repeat / (times[config.steps] - times[first])


def measure_rates(args: argparse.Namespace, config: TrainConfig) -> dict[str, float]:
    """Train each way for a while, in turns; return frames/s by its name."""
    first = config.update_after + args.warm_up
    short = replace(config, steps=first + args.speed_frames // config.action_repeat)
    raw, masked = (replace(short, observation=replace(short.observation, source=source))
                   for source in ('raw', 'masked'))
    ours = (first, args.model, args.reference, args.device)
    ways: dict[str, tuple[Callable[..., float], tuple[Any, ...]]] = {
        'official': (official_rate, (args.repo, raw, first, args.workers, args.device)),
        'raw': (our_rate, (raw, *ours)),
        'masked': (our_rate, (masked, *ours)),
    }
    rates = {}
    for name, (way, given) in ways.items():
        print(f'timing {name}: {short.steps} steps, the last {short.steps - first} of them timed',
              file=sys.stderr, flush=True)
        # What one does to its process (threads, memory, cuDNN's search) is not the next one's.
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as apart:
            rates[name] = apart.submit(way, *given).result()
    return rates


def train(args: argparse.Namespace, config: TrainConfig, should_stop: Callable[[], bool]
          ) -> dict[str, Any]:
    """Train on masked frames, or go on; returns `Learner.progress`."""
    masker = make_masker(config, args.run_dir, args.reference, args.model, args.device)
    line = ProgressLine()
    try:
        progress = train_direct(
            config, args.run_dir, masker=masker, videos=args.videos, device=args.device,
            on_progress=lambda p: line.update(progress_line(p)), should_stop=should_stop)
        line.update(progress_line(progress), force=True)
    finally:
        line.close()
    return progress


def evaluate(args: argparse.Namespace, config: TrainConfig, setting: str) -> dict[str, Any]:
    """Return the figures of the trained policy in a setting."""
    policy = load_policy(args.run_dir, args.device)
    line = ProgressLine()
    try:
        result = evaluate_policy(
            policy, config.task, setting, args.episodes, masker=policy.masker(args.device),
            videos=args.videos,
            progress=lambda name, i, n: line.update(f'evaluating in {name}: episode {i} of {n}'))
    finally:
        line.close()
    return result.to_dict()


def carry_out(args: argparse.Namespace, config: TrainConfig, figures: dict[str, Any],
              save: Callable[[], None], should_stop: Callable[[], bool]) -> bool:
    """Go through what is not done yet; returns whether all is."""
    if 'frames_per_s' not in figures:
        figures['frames_per_s'] = measure_rates(args, config)
        save()
    if should_stop():
        return False
    if not figures.get('training', {}).get('done'):
        figures['training'] = train(args, config, should_stop)
        save()
        if not figures['training']['done']:
            return False
    returns = figures.setdefault('returns', {})
    for setting in SETTINGS:
        if should_stop():
            return False
        if setting not in returns:
            returns[setting] = evaluate(args, config, setting)
            save()
    return True


def table(config: TrainConfig, figures: dict[str, Any]) -> str:
    """Return what is known so far as lines of text."""
    lines = [f'{config.task}, {figures["device"]}, torch {torch.__version__}']
    rates = figures.get('frames_per_s', {})
    for name, rate in rates.items():
        times = rate / rates['official']
        lines.append(
            f'official DrQ-v2: {rate:.1f} frames/s' if name == 'official' else
            f'ours, {name}: {rate:.1f} frames/s, {times:.2f} times (wanted: at least {WANTED:g})')
    training = figures.get('training')
    if training:
        lines.append(f'trained on masked frames: {training["frames"]} of '
                     f'{config.steps * config.action_repeat} frames')
    for setting, result in figures.get('returns', {}).items():
        lines.append(f'return in {setting}: {result["mean_return"]:.1f} ± '
                     f'{result["return_error"]:.1f}, mask IoU {result["mean_iou"]:.3f}')
    if config.task in REPORTED:
        lines.append('reported in video_hard: ' + ', '.join(
            f'{name} {value}' for name, value in REPORTED[config.task].items()))
    return '\n'.join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--repo', type=checkout, required=True, help='folder of the official code')
    parser.add_argument('--videos', type=Path, metavar='DIR',
                        help='folder of background videos (painted ones)')
    parser.add_argument('--run-dir', type=Path, default=Path('runs/gpu_learning'), metavar='DIR')
    parser.add_argument('--task', default='walker_walk')
    parser.add_argument('--frames', type=int, default=500_000, help='of the training')
    parser.add_argument('--speed-frames', type=int, default=8_000, help='timed, of each training')
    parser.add_argument('--warm-up', type=int, default=200, metavar='STEPS',
                        help='agent steps with updates before those that are timed')
    parser.add_argument('--workers', type=int, default=4,
                        help='processes of the official replay, as it has them; each wants an '
                        'episode before the first update')
    parser.add_argument('--reference', type=Path, help='one rendered from the simulator')
    parser.add_argument('--model', default='mini', help='of the masker')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='another setting of ours, as for `samg train policy`; the official '
                        'code is given those that it knows')
    parser.add_argument('--episodes', type=int, default=10, help='in each setting')
    parser.add_argument('--minutes', type=float, default=8.0,
                        help='nothing new is begun after these')
    return parser.parse_args(argv)


def run_config(args: argparse.Namespace) -> TrainConfig:
    """Return the settings of the whole run."""
    config = preset('paper', args.task, **parse_settings(args.set))
    return replace(config, steps=args.frames // config.action_repeat)


def main(argv: list[str] | None = None) -> int:
    """Do what is left to do and print the figures; returns the exit status."""
    args = parse(argv)
    deadline = time.monotonic() + 60 * args.minutes
    config = run_config(args)
    where = f'CPU, {torch.get_num_threads()} threads'
    if args.device.startswith('cuda'):
        where = torch.cuda.get_device_name(args.device)
    path = args.run_dir / 'figures.json'
    figures: dict[str, Any] = {'device': where, 'config': config.to_dict()}
    if path.exists():
        figures = json.loads(path.read_text())
        if (figures['device'], figures['config']) != (where, config.to_dict()):
            sys.exit(f'{path} has the figures of another device or other settings; '
                     'choose another --run-dir')

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + '\n')

    with stop_on_signals() as asked:
        done = carry_out(args, config, figures, save,
                         lambda: asked() or time.monotonic() > deadline)
    print(table(config, figures))
    if not done:
        print(f'Not done yet; the same command goes on in {args.run_dir}.')
    return 0 if done else EXIT_INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
