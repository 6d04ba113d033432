# SPDX-License-Identifier: Apache-2.0
"""What the studies share: arguments, policies given or trained, masks without any, one page.

Masks are scored on frames of random rollouts, which needs no policy and minutes; returns need
policies, which a study trains itself unless it is given their checkpoints.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samg_ros.arguments import (
    RunFolder,
    names,
    optional_path,
    parse_settings,
    seeds,
    whole,
)
from samg_ros.evaluation.figures_report import Figures
from samg_ros.evaluation.mask_quality.rollouts import Frames, Rollouts, collect_frames
from samg_ros.evaluation.mask_quality.scores import MaskScores, evaluate_masks
from samg_ros.evaluation.page import Section, Shown
from samg_ros.evaluation.plots import iou_by_setting
from samg_ros.evaluation.tables import Table, figure
from samg_ros.progress import ProgressLine
from samg_ros.rl.commands.eval_policy import add_output_arguments
from samg_ros.rl.commands.sweep import add_spread_arguments, report_failures, spread_of
from samg_ros.rl.config import PRESETS
from samg_ros.rl.evaluation.comparison import (
    learning_section,
    returns_section,
    strip_sections,
)
from samg_ros.rl.evaluation.policy import Policy, load_policy
from samg_ros.rl.evaluation.scores import Score, summarise
from samg_ros.rl.evaluation.trials import (
    add_trial_arguments,
    announce,
    score_policy,
    trials_of,
)
from samg_ros.rl.sweeps.pool import Failure, carry_out
from samg_ros.rl.sweeps.runs import Run, plan_runs
from samg_ros.sim.tasks import get_task
from samg_ros.sim.visual.settings import get_setting

if TYPE_CHECKING:
    from samg_ros.masking import Masker

Record = dict[str, Any]


def add_study_arguments(parser: argparse.ArgumentParser, name: str, sources: str) -> None:
    """Declare the arguments that every study has.

    Args:
        parser: of the command.
        name: of the study; its output files are called so too.
        sources: default of `--source`, as the help states it.
    """
    parser.add_argument('checkpoint', nargs='*', type=optional_path,
                        help='trained policies; without any, the study trains its own')
    parser.add_argument('--task', type=names, action='extend', metavar='NAME[,NAME]',
                        help="tasks (the policies', else cartpole_swingup)")
    parser.add_argument('--masks-only', action='store_true',
                        help='no policies: mask IoU in random rollouts alone')
    parser.add_argument('--frames', type=whole(1), default=100,
                        help='of random rollouts, for each mask IoU (%(default)s)')
    parser.add_argument('--model', default='mini', help='mask model (%(default)s)')
    parser.add_argument('--weights', metavar='FILE',
                        help='its weights; NAME=PATH,NAME=PATH for a pair')
    parser.add_argument('--device', default='cpu', help='torch device (%(default)s)')
    add_output_arguments(parser, name)
    group = parser.add_argument_group('training')
    group.add_argument('--source', type=names, action='extend', metavar='NAME[,NAME]',
                       help=f'what policies see ({sources})')
    group.add_argument('--seed', type=seeds, action='extend', metavar='N[,N]',
                       help='a run each (0)')
    group.add_argument('--preset', default='quick', choices=PRESETS, help='(%(default)s)')
    group.add_argument('--steps', type=whole(1), help="agent steps (the preset's)")
    group.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                       help='another setting of the training, value as JSON')
    group.add_argument('--run-dir', action=RunFolder, default=Path('runs'), metavar='DIR',
                       help='folder of the run folders (%(default)s)')
    add_trial_arguments(parser, seeds='--episode-seed')
    add_spread_arguments(parser)


class Study:
    """One study: checked arguments, the runs that they ask for, and the page with the results."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        """Check the command line and load the given policies.

        Raises:
            SamgError: if an argument is not usable.
        """
        self.name = name
        self.args = args
        self.trials = trials_of(args)
        self.policies: dict[str, Policy] = {
            given: load_policy(given, args.device) for given in args.checkpoint}
        tasks = args.task or dict.fromkeys(p.task for p in self.policies.values())
        self.tasks = [get_task(task).name for task in tasks or ['cartpole_swingup']]
        self.root: Path = args.run_dir.absolute()
        self.sections: list[Section] = []
        self.records: list[Record] = []
        self.summary: list[Record] = []
        self._planned = 0
        self._failures: list[Failure] = []

    def plan(self, sources: Sequence[str], tasks: Sequence[str] = (), **options: Any) -> list[Run]:
        """Return runs of the study's tasks, or of some, and seeds; see `plan_runs`."""
        args = self.args
        overrides = parse_settings(args.set, ('task', 'seed'), steps=args.steps)
        return plan_runs(self.root, self.trials, tasks=tasks or self.tasks, seeds=args.seed or [0],
                         sources=sources, preset_name=args.preset, overrides=overrides,
                         model=args.model, weights=args.weights, device=args.device, **options)

    def train(self, runs: Sequence[Run]) -> list[Run]:
        """Carry out runs, and return those that are finished."""
        self._failures += carry_out(runs, spread_of(self.args))
        self._planned += len(runs)
        return [run for run in runs if run.scores() is not None]

    def frames(self, task: str, setting: str, **changes: Any) -> Frames:
        """Return the random rollouts that masks are scored on, the same for every masker."""
        wanted = get_setting(setting)
        return collect_frames(Rollouts(
            task, setting, self.args.frames, seed=self.trials.seeds[0],
            videos=self.trials.videos if wanted.has_video else None, **changes))

    def score_masks(self, masker: Masker, frames: Frames, **which: Any) -> MaskScores:
        """Score a fitted masker, and keep its record.

        Args:
            masker: fitted to a reference of the frames' task.
            frames: with their truth.
            which: what tells this score from the study's others, by name.
        """
        result = evaluate_masks(masker, frames, progress=True)
        row = result.summary()
        row.pop('rollouts')
        self.records.append({'what': 'masks', **which, **row})
        return result

    def keep_masks(self, title: str, head: tuple[str, ...],
                   results: Mapping[tuple[str, ...], MaskScores]) -> None:
        """Add the scores of masks to the page.

        Args:
            title: of the section.
            head: what tells the scores apart.
            results: by the words below each of `head`, the setting last.
        """
        rows = []
        for which, result in results.items():
            row = result.summary()
            rows.append((*which, *(figure(row[name]) for name in ('iou_mean', 'iou_median',
                                                                  'iou_p5', 'boundary_f_mean')),
                         figure(row['share_under_half'], '.1%'), str(row['frames'])))
        plot = iou_by_setting({(', '.join(which[:-1]), which[-1]): result.iou
                               for which, result in results.items()})
        self.sections.append(Section(
            title, Table((*head, 'IoU', 'median', '5th %', 'bound F', '<0.5', 'frames'),
                         tuple(rows), words=len(head)),
            [Shown(plot, 'IoU of all frames: median, quartiles, 5th and 95th percentile.')]))

    def keep_scores(self, scores: Sequence[Score]) -> None:
        """Add the returns of policies to the page and the figures."""
        if not scores:
            return
        summaries = summarise(scores)
        self.sections.append(returns_section(summaries))
        if not self.policies:
            self.sections.append(learning_section(summaries))
        self.sections += strip_sections(summaries)
        self.records += [{'what': 'policy', **score.record()} for score in scores]
        self.summary += [summary.record() for summary in summaries]

    def try_policies(self, **options: Any) -> list[Score]:
        """Return the scores of the given policies; see `score_policy`."""
        scores = []
        with ProgressLine() as line:
            for given, policy in self.policies.items():
                scores += score_policy(given, policy, self.trials,
                                       progress=announce(line.update, given), **options)
        return scores

    def finish(self, title: str, intro: str) -> int:
        """Print the tables, write what was asked for, and say which runs failed.

        Returns:
            0, or another exit status if a run failed.
        """
        figures = Figures(self.name, title, intro, self.sections, self.records, self.summary)
        print(figures.text())
        if self.args.json is not None:
            figures.write_json(self.args.json)
        if self.args.out is not None:
            print(figures.write(self.args.out, {
                'Tasks': ', '.join(self.tasks), 'Mask model': self.args.model,
                'Frames of random rollouts': str(self.args.frames),
                **({} if self.args.masks_only else self.trials.facts())}))
        return report_failures(self._failures, self._planned)

