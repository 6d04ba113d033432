# SPDX-License-Identifier: Apache-2.0
"""Training without ROS: `samg train policy`.

The simulator, the masker and the learner in one loop. The trainer node drives the same learner
with the same observations, so that the two make the same weights from the same seed.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samg_ros.errors import ConfigError
from samg_ros.observation import SOURCES, Observer
from samg_ros.rl.config import PRESETS, TrainConfig, field_help, preset
from samg_ros.rl.learner import FIRST, LAST, Learner, TimeStep
from samg_ros.rl.progress import ProgressLine, duration, progress_line

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference
    from samg_ros.sim.env import SimStep

EXIT_INTERRUPTED = 130


def train_direct(
    config: TrainConfig,
    run_dir: Path | str,
    *,
    masker: 'Masker | None' = None,
    videos: Path | str | None = None,
    device: str = 'cpu',
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train, or resume the run in the folder, until its budget is spent.

    Args:
        config: settings of the run.
        run_dir: run folder, made if missing.
        masker: fitted to the run's reference; needed if the policy sees masked frames.
        videos: folder of background videos, for a setting that shows them.
        device: torch device of the learner.
        on_progress: called with `Learner.progress` after every step.
        should_stop: asked before every step; true saves and returns.

    Returns:
        `Learner.progress` at the end; its 'done' is false if it was stopped.

    Raises:
        ConfigError: if a masker is missing.
        CheckpointError: if the folder holds another run, or cannot be written.
        SamgError: whatever the simulation or the masker raises.
    """
    from samg_ros.sim.env import SimEnv

    spec = config.observation
    if spec.source == 'masked' and (masker is None or masker.reference is None):
        raise ConfigError('training on masked frames needs a masker fitted to a reference')
    env = SimEnv(
        task=config.task,
        setting=config.setting,
        seed=config.seed,
        height=config.camera_size,
        width=config.camera_size,
        videos=videos,
        action_repeat=config.action_repeat,
    )
    try:
        learner = Learner(
            config,
            *env.action_spec,
            run_dir,
            reference=None if masker is None else masker.reference,
            masker_description=None if masker is None else masker.describe(),
            device=device,
        )
    except BaseException:
        env.close()
        raise
    observer = Observer(spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))  # the update has the others
    try:
        step = env.reset()
        while not learner.done:
            if should_stop is not None and should_stop():
                learner.save()
                break
            action = learner.step(_observe(step, observer, masker))
            if on_progress is not None:
                on_progress(learner.progress)
            step = env.reset() if step.step_type == LAST else env.step(action)
        return learner.progress
    finally:
        torch.set_num_threads(threads)
        learner.close()
        env.close()


def _observe(step: 'SimStep', observer: Observer, masker: 'Masker | None') -> TimeStep:
    """Mask the frame as the spec says and make a time step of it."""
    from samg_ros.evaluation.metrics import mask_iou
    from samg_ros.masking import apply_mask

    spec, frame, iou = observer.spec, step.frame, None
    assert step.mask is not None
    if spec.source == 'truth':
        frame = apply_mask(frame, step.mask, spec.fill)
    elif spec.source == 'masked':
        assert masker is not None
        mask = masker(frame[None])[0]
        iou = float(mask_iou(mask, step.mask))
        frame = apply_mask(frame, mask, spec.fill)
    joints = spec.select_joints(step.joint_names, step.joint_positions)
    see = observer.reset if step.step_type == FIRST else observer.push
    return TimeStep(see(frame, joints), step.reward, step.discount, step.step_type, iou)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train policy`."""
    help_of = field_help()
    parser.add_argument('--task', default='cartpole_swingup', help=help_of['task'])
    parser.add_argument('--preset', default='quick', choices=PRESETS, help='Where settings start.')
    parser.add_argument('--setting', default='train', help=help_of['setting'])
    parser.add_argument('--source', default='masked', choices=SOURCES, help='What is seen.')
    parser.add_argument('--seed', type=int, default=0, help=help_of['seed'])
    parser.add_argument('--steps', type=int, help=help_of['steps'])
    parser.add_argument(
        '--run-dir', type=Path, help='Run folder; default runs/TASK-PRESET-SEED. Resumed if used.'
    )
    parser.add_argument(
        '--reference', type=Path, help='Reference folder; default one rendered from the simulator.'
    )
    parser.add_argument('--model', default='mini', help='Model of the masker.')
    parser.add_argument('--videos', type=Path, help='Folder of background videos.')
    parser.add_argument('--device', default='cpu', help='Torch device of masker and learner.')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='Another setting of the run, value as JSON; fields of TrainConfig, and of '
        "ObservationSpec as 'observation={...}'. Repeatable.",
    )
    parser.add_argument(
        '--episodes', type=int, default=10, help='Episodes of the evaluation; 0 for none.'
    )
    parser.add_argument('--json', type=Path, help='Also write the figures there.')


def run(args: argparse.Namespace) -> int:
    """Train, evaluate and write the report; its path is the last line printed.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved.
    """
    start = time.monotonic()
    overrides = parse_settings(args.set)
    overrides['setting'] = args.setting
    overrides['seed'] = args.seed
    overrides['observation'] = {'source': args.source, **overrides.get('observation', {})}
    if args.steps is not None:
        overrides['steps'] = args.steps
    config = preset(args.preset, args.task, **overrides)
    run_dir = args.run_dir or Path('runs') / f'{config.task}-{config.preset}-{config.seed}'
    masker = None
    if config.observation.source == 'masked':
        masker = make_masker(config, run_dir, args.reference, args.model, args.device)
    line = ProgressLine()
    ready = time.monotonic()
    with stop_on_signals() as should_stop:
        try:
            progress = train_direct(
                config,
                run_dir,
                masker=masker,
                videos=args.videos,
                device=args.device,
                on_progress=lambda p: line.update(progress_line(p)),
                should_stop=should_stop,
            )
            line.update(progress_line(progress), force=True)
        finally:
            line.close()
    if not progress['done']:
        print(f'Saved in {run_dir} at step {progress["step"]}; the same command goes on.')
        return EXIT_INTERRUPTED
    if args.episodes:
        facts = {
            'Set-up': duration(ready - start),
            'Command': shlex.join(['samg', *sys.argv[1:]]),
        }
        report = evaluate_and_report(run_dir, args.episodes, args.videos, facts, args.json)
        print(report)
    return 0


def evaluate_and_report(
    run_dir: Path | str,
    episodes: int = 10,
    videos: Path | str | None = None,
    facts: dict[str, str] | None = None,
    json_path: Path | None = None,
) -> Path:
    """Evaluate a finished run, print its figures and write its report.

    Args:
        run_dir: run folder with a checkpoint.
        episodes: episodes in each setting.
        videos: folder of background videos; None for the built-in ones.
        facts: what else the report should say about the run, by name.
        json_path: also write the figures there.

    Returns:
        Path of report.html.

    Raises:
        CheckpointError: if the folder has no usable checkpoint.
    """
    from samg_ros.evaluation.report import write_report
    from samg_ros.rl.evaluation import evaluate_run

    line = ProgressLine()
    try:
        evaluation = evaluate_run(
            run_dir,
            episodes=episodes,
            videos=videos,
            progress=lambda name, i, n: line.update(
                f'evaluating in {name}: episode {i} of {n}', force=i == n
            ),
        )
    finally:
        line.close()
    for name, result in [*evaluation.results.items(), ('random', evaluation.random)]:
        iou = '' if result.mean_iou is None else f', mask IoU {result.mean_iou:.3f}'
        print(f'{name}: return {result.mean_return:.1f} ± {result.return_error:.1f}{iou}')
    if json_path is not None:
        json_path.write_text(json.dumps(evaluation.to_dict(), indent=2) + '\n')
    return write_report(
        run_dir,
        config=evaluation.config.to_dict(),
        counters=evaluation.counters,
        results=evaluation.results,
        random=evaluation.random,
        curve=evaluation.curve,
        facts=facts or {},
    )


def make_masker(
    config: TrainConfig,
    run_dir: Path | str,
    reference: Path | None = None,
    model: str = 'mini',
    device: str = 'cpu',
) -> 'Masker':
    """Load a masker and fit it to the run's reference.

    Args:
        config: settings of the run.
        run_dir: run folder; the reference is kept in its `reference` folder.
        reference: folder or image; None takes the run's, or renders one from the simulator.
        model: name of the masker's model.
        device: torch device.

    Raises:
        SamgError: if the reference or the model cannot be used.
    """
    from samg_ros.masking import Masker

    return Masker.load(model, device=device).fit(run_reference(config, run_dir, reference))


def run_reference(
    config: TrainConfig, run_dir: Path | str, reference: Path | None = None
) -> 'Reference':
    """Return the given reference, or the run's own, or one rendered from the simulator.

    It is kept in the run's `reference` folder.

    Raises:
        ReferenceLoadError: if it cannot be read.
        SamgError: if it cannot be rendered.
    """
    from samg_ros.masking import Reference

    kept = Path(run_dir) / 'reference'
    if reference is not None:
        found = Reference.load(reference)
    elif kept.is_dir():
        return Reference.load(kept)
    else:
        from samg_ros.sim.reference import render_reference

        found = render_reference(
            config.task, config.camera_size, config.camera_size, seed=config.seed
        )
    found.save(kept)
    return found


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Turn NAME=VALUE strings, the value as JSON or a plain word, into overrides.

    Raises:
        ConfigError: if there is no '='.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition('=')
        if not equals:
            raise ConfigError(f"'{pair}' is not a setting; write NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and a request to end into a question that is false until they come.

    Training then stops between two steps, never in the middle of an update.
    """
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
