# SPDX-License-Identifier: Apache-2.0
"""The episodes that policies are compared in, and their command-line arguments.

`samg eval policy`, many runs of `samg train policy` and the studies all put policies through the
same trials, so that their figures can stand side by side.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samg_ros.arguments import names, path_argument, seeds as read_seeds, whole
from samg_ros.errors import ConfigError
from samg_ros.rl.evaluation.episodes import SETTINGS, SHOWN, Progress, evaluate_policy
from samg_ros.rl.evaluation.policy import Policy
from samg_ros.rl.evaluation.scores import Score
from samg_ros.sim.env import COMPOSITES
from samg_ros.sim.render import QUALITIES
from samg_ros.sim.visual.settings import get_setting

if TYPE_CHECKING:
    from samg_ros.masking import Masker

EPISODES = 10
"""A setting, after DMC-GB."""


@dataclass(frozen=True)
class Trials:
    """The episodes in which a policy is evaluated: `episodes` of every setting with every seed.

    Raises:
        UnknownSettingError: if a setting is not known.
        ConfigError: if there is nothing to try, or a folder is missing.
    """

    settings: tuple[str, ...] = SETTINGS
    """Visual settings."""
    seeds: tuple[int, ...] = (0,)
    """Of the episodes."""
    episodes: int = EPISODES
    """In each setting, for each seed."""
    videos: Path | None = None
    """Folder of background videos, see `sim.videos.videos_of`; None for the built-in ones."""
    colours: Path | None = None
    """Folder of DMC-GB's lists of colours; None for drawn ones."""
    quality: str | None = None
    """How the simulator renders, fast or paper; None takes each policy's own."""
    composite: str | None = None
    """How videos are put in, segmentation or chroma_key; None takes each policy's own."""
    max_steps: int | None = None
    """Agent steps after which an episode is cut; None runs it whole."""

    def __post_init__(self) -> None:
        for name in self.settings:
            get_setting(name)
        for what in ('settings', 'seeds'):
            if not getattr(self, what):
                raise ConfigError(f'no {what} to try policies with; name at least one')
        for what in ('episodes', 'max_steps'):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise ConfigError(f'{what} must be at least 1, got {value}')
        for what in ('videos', 'colours'):
            folder = getattr(self, what)
            if folder is not None:
                if not folder.exists():
                    raise ConfigError(f"there is no folder of {what} at '{folder}'")
                object.__setattr__(self, what, folder.absolute())  # for other processes

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else
                str(value) if isinstance(value, Path) else value
                for name, value in vars(self).items()}

    def facts(self) -> dict[str, str]:
        """Return what the episodes are, in words by name."""
        cut = '' if self.max_steps is None else f', cut after {self.max_steps} agent steps'
        return {
            'Episodes': f'{self.episodes} a setting and seed{cut}',
            'Seeds of the episodes': ', '.join(map(str, self.seeds)),
            'Videos': str(self.videos or 'painted'),
            'Colours': str(self.colours or 'drawn'),
            'Rendering': f"{self.quality or 'as in training'}, videos by "
                         f"{self.composite or 'what each policy was trained with'}",
        }


def score_policy(
    checkpoint: str,
    policy: Policy,
    trials: Trials,
    *,
    masker: Masker | None = None,
    nuisances: Mapping[str, float] | None = None,
    variant: str = '',
    shown: str = SHOWN[0],
    progress: Progress | None = None,
) -> list[Score]:
    """Put a policy through the trials.

    Args:
        checkpoint: where it came from, for the figures.
        policy: what acts.
        trials: which episodes.
        masker: what stands in front of it; None takes what it was trained behind.
        nuisances: strengths of further disturbances by name.
        variant: see `Score`.
        shown: see `evaluate_policy`.
        progress: called after every episode.

    Raises:
        SamgError: whatever the simulation or the masker raises.
    """
    if masker is None and shown == SHOWN[0]:
        masker = policy.masker()
    return [
        Score(checkpoint, policy.config, policy.masker_description, evaluate_policy(
            policy, policy.task, setting, trials.episodes, seed, masker=masker,
            videos=trials.videos, colours=trials.colours, nuisances=nuisances,
            quality=trials.quality, composite=trials.composite, max_steps=trials.max_steps,
            shown=shown, progress=progress), variant)
        for setting in trials.settings for seed in trials.seeds]


def add_trial_arguments(parser: argparse.ArgumentParser, seeds: str = '--seed') -> None:
    """Declare the arguments that `trials_of` reads; `seeds` is the option of the seeds."""
    group = parser.add_argument_group('episodes')
    group.add_argument('--setting', dest='trial_settings', type=names, action='extend',
                       metavar='NAME[,NAME]', help=f'visual settings ({",".join(SETTINGS)})')
    group.add_argument(seeds, dest='trial_seeds', type=read_seeds, action='extend',
                       metavar='N[,N]', help='seeds of the episodes (0)')
    group.add_argument('--episodes', type=whole(1), default=EPISODES,
                       help='for each setting and seed (%(default)s)')
    group.add_argument('--videos', type=path_argument, metavar='DIR',
                       help='background videos, or video_easy/ and video_hard/ (painted ones)')
    group.add_argument('--colours', type=path_argument, metavar='DIR',
                       help='color_easy.json and color_hard.json (drawn ones)')
    group.add_argument('--quality', choices=QUALITIES, help='rendering; paper: the very pixels of '
                       "dm_control (each policy's own)")
    group.add_argument('--composite', choices=COMPOSITES, help='how videos are put in; '
                       "chroma_key: DMC-GB's green screen (each policy's own)")
    group.add_argument('--max-steps', type=whole(1), metavar='N',
                       help='cut episodes after N agent steps, to try something out')


def trials_of(args: argparse.Namespace) -> Trials:
    """Return the trials of a command line.

    Raises:
        SamgError: as `Trials`.
    """
    return Trials(tuple(args.trial_settings or SETTINGS), tuple(args.trial_seeds or (0,)),
                  args.episodes, args.videos, args.colours, args.quality, args.composite,
                  args.max_steps)


def announce(show: Callable[..., None], name: str) -> Progress:
    """Return a progress that shows a policy's name, setting and episode by `ProgressLine.update`.

    Args:
        show: takes the line and `force`.
        name: of the policy.
    """
    return lambda setting, i, n: show(f'{name} in {setting}: episode {i} of {n}', force=i == n)
