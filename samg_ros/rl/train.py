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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samg_ros.arguments import names, whole_numbers
from samg_ros.errors import ConfigError
from samg_ros.observation import SOURCES
from samg_ros.rl.config import AGENTS, PRESETS, TrainConfig, field_help, preset
from samg_ros.rl.demonstrations import DemonstratedSteps, Demonstrations
from samg_ros.rl.evaluation import SETTINGS, evaluate_run
from samg_ros.rl.learner import Learner
from samg_ros.rl.progress import ProgressLine, duration, progress_line
from samg_ros.rl.rollout import Rollout

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference

EXIT_INTERRUPTED = 130


def train_direct(
    config: TrainConfig,
    run_dir: Path | str,
    *,
    masker: 'Masker | None' = None,
    videos: Path | str | None = None,
    device: str = 'cpu',
    demonstrations: Path | str | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_demonstration: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Train, or resume the run in the folder, until its budget is spent.

    Args:
        config: settings of the run.
        run_dir: run folder, made if missing.
        masker: fitted to the run's reference; needed if the policy sees masked frames.
        videos: folder of background videos, for a setting that shows them.
        device: torch device of the learner.
        demonstrations: folder of demonstrations that the replay of a new run begins with.
        on_progress: called with `Learner.progress` after every step.
        on_demonstration: called with the number of demonstrated episodes read, and of all.
        should_stop: asked before every step; true saves and returns.

    Returns:
        `Learner.progress` at the end; its 'done' is false if it was stopped.

    Raises:
        ConfigError: if a masker is missing.
        CheckpointError: if the folder holds another run, or cannot be written.
        DemonstrationError: if the demonstrations cannot be read, or do not fit the run.
        SamgError: whatever the simulation or the masker raises.
    """
    from samg_ros.sim.env import SimEnv

    env = SimEnv(
        task=config.task,
        setting=config.setting,
        seed=config.seed,
        height=config.camera_size,
        width=config.camera_size,
        videos=videos,
        action_repeat=config.action_repeat,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))  # the update has the others
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(env.close)
        rollout = Rollout(env, config.observation, masker)
        learner = Learner(
            config,
            *env.action_spec,
            run_dir,
            reference=None if masker is None else masker.reference,
            masker_description=None if masker is None else masker.describe(),
            device=device,
            demonstrations=None if demonstrations is None else DemonstratedSteps(
                Demonstrations(demonstrations), config, *env.action_spec, masker, on_demonstration
            ),
        )
        stack.callback(learner.close)
        if learner.done:
            return learner.progress
        time_step = rollout.begin(learner)
        while not learner.done:
            if should_stop is not None and should_stop():
                learner.save()
                break
            action = learner.step(time_step)
            if on_progress is not None:
                on_progress(learner.progress)
            time_step = rollout.answer(action)
        return learner.progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `samg train policy`."""
    from samg_ros.rl.runs_command import add_comparison_arguments

    help_of = field_help()
    parser.add_argument(
        '--task', type=names, action='extend', metavar='NAME[,NAME]',
        help=f'{help_of["task"]} Several tasks, settings, sources or seeds are many runs.',
    )
    parser.add_argument('--preset', default='quick', choices=PRESETS, help='Where settings start.')
    parser.add_argument('--agent', choices=AGENTS, help=help_of['agent'])
    parser.add_argument(
        '--setting', type=names, action='extend', metavar='NAME[,NAME]', help=help_of['setting']
    )
    parser.add_argument(
        '--source', type=names, action='extend', metavar='NAME[,NAME]',
        help=f'What is seen: {", ".join(SOURCES)} (masked).',
    )
    parser.add_argument(
        '--seed', type=whole_numbers, action='extend', metavar='N[,N]', help=help_of['seed']
    )
    parser.add_argument('--steps', type=int, help=help_of['steps'])
    parser.add_argument(
        '--run-dir', type=Path, help='Run folder; default runs/TASK-PRESET-SEED. Resumed if used. '
        'Of many runs, the folder of their folders; default runs.'
    )
    parser.add_argument(
        '--reference', type=Path, help='Reference folder; default one rendered from the simulator.'
    )
    parser.add_argument(
        '--demonstrations', type=Path, help='Folder of demonstrations to begin the replay with.'
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
    add_comparison_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate and write the report; its path is the last line printed.

    Returns:
        0, or 130 after Ctrl-C, when what was learned is saved; of many runs, see `run_many`.
    """
    from samg_ros.rl.runs_command import run_many

    start = time.monotonic()
    overrides = parse_settings(args.set)
    if args.agent is not None:
        overrides['agent'] = args.agent
    if args.steps is not None:
        overrides['steps'] = args.steps
    tasks, settings = args.task or ['cartpole_swingup'], args.setting or ['train']
    sources, seeds = args.source or ['masked'], args.seed or [0]
    if max(map(len, (tasks, settings, sources, seeds))) > 1:
        return run_many(args, tasks=tasks, settings=settings, sources=sources, seeds=seeds,
                        overrides=overrides)
    overrides['setting'], overrides['seed'] = settings[0], seeds[0]
    overrides['observation'] = {'source': sources[0], **overrides.get('observation', {})}
    config = preset(args.preset, tasks[0], **overrides)
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
                demonstrations=args.demonstrations,
                on_progress=lambda p: line.update(progress_line(p)),
                on_demonstration=lambda i, n: line.update(f'demonstrations: episode {i} of {n}'),
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
        report = evaluate_and_report(run_dir, args.episodes, args.videos, facts, args.json,
                                     args.eval_setting or SETTINGS, args.colours)
        print(report)
    return 0


def evaluate_and_report(
    run_dir: Path | str,
    episodes: int = 10,
    videos: Path | str | None = None,
    facts: dict[str, str] | None = None,
    json_path: Path | None = None,
    settings: Sequence[str] = SETTINGS,
    colours: Path | None = None,
) -> Path:
    """Evaluate a finished run, print its figures and write its report.

    Args:
        run_dir: run folder with a checkpoint.
        episodes: episodes in each setting.
        videos: folder of background videos; None for the built-in ones.
        facts: what else the report should say about the run, by name.
        json_path: also write the figures there.
        settings: visual settings to evaluate in.
        colours: folder of DMC-GB's lists of colours; None for drawn ones.

    Returns:
        Path of report.html.

    Raises:
        CheckpointError: if the folder has no usable checkpoint.
    """
    from samg_ros.evaluation.report import write_report

    line = ProgressLine()
    try:
        evaluation = evaluate_run(
            run_dir,
            settings,
            episodes,
            videos=videos,
            colours=colours,
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
