# SPDX-License-Identifier: Apache-2.0
"""Training runs of which there are many, each in its folder: what is to be done, and what is.

A run is trained and its policy is put through the trials. Whatever interrupts it, the same run
goes on from its checkpoint, and one that is finished is not begun again.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from samg_ros.errors import ConfigError, ReportError
from samg_ros.evaluation.episode_files import load_episodes, save_episodes
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.scores import Score
from samg_ros.rl.evaluation.trials import Trials, score_policy
from samg_ros.rl.presets import TRAINING_MASKS, clone_config, preset
from samg_ros.rl.training.metrics import read_metrics

TRIALS_NAME = 'trials.npz'
"""Name of the evaluated episodes in a run folder."""


@dataclass(frozen=True)
class Run:
    """One training run, and how its policy is tried afterwards."""

    config: TrainConfig
    """Settings of the training."""
    folder: Path
    """Run folder; on several machines, one that all of them see under this path."""
    trials: Trials
    """What its policy is put through."""
    model: str = ''
    """Model of the masker; '' takes `mini`."""
    weights: str | None = None
    """Its weight file or files; None takes the package's, or the official ones."""
    masker_settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of MaskerSettings that are not the default."""
    reference: Path | None = None
    """Folder or image; None takes the run's own, or renders one from the simulator."""
    device: str = 'cpu'
    """Torch device of masker and learner."""
    variant: str = ''
    """See `Score`."""
    demonstrations: Path | None = None
    """Folder of demonstrations that the replay begins with."""
    masks: str = 'masker'
    """What masks the frames that are learned from, one of `rollout.MASKS`."""
    expert: Path | None = None
    """File of a clone's expert; None takes the package's."""

    def carry_out(self) -> None:
        """Train, or resume, and try the policy.

        Raises:
            SamgError: whatever training and evaluation raise.
        """
        from samg_ros.masking import Masker, MaskerSettings
        from samg_ros.progress import ProgressLine, progress_line
        from samg_ros.rl.training.direct import run_reference, train_direct

        masker = None
        if self.config.observation.source == 'masked':
            settings = MaskerSettings(**{**TRAINING_MASKS, **self.masker_settings})
            reference = run_reference(self.config, self.folder, self.reference)
            masker = Masker.load(self.model or 'mini', settings, self.device,
                                 self.weights).fit(reference)
        with ProgressLine() as line:
            train_direct(self.config, self.folder, masker=masker, videos=self.trials.videos,
                         device=self.device, demonstrations=self.demonstrations,
                         masks=self.masks, expert=self.expert,
                         on_progress=lambda progress: line.update(progress_line(progress)))
        scores = score_policy(str(self.folder), load_policy(self.folder, self.device),
                              self.trials, masker=masker)
        save_episodes(self.folder / TRIALS_NAME, [score.result for score in scores], self._facts)

    def scores(self) -> list[Score] | None:
        """Return what the finished run's policy came to; None if there is more to do."""
        path = self.folder / TRIALS_NAME
        if not path.exists():
            return None
        try:
            results, facts = load_episodes(path)
        except ReportError:
            return None
        if facts != self._facts:
            return None
        return [Score(str(self.folder), self.config, self._masker, result, self.variant)
                for result in results]

    @property
    def share_done(self) -> float:
        """How far the training is, 0 to 1, by its last finished episode."""
        rows = read_metrics(self.folder)
        return min(1.0, rows[-1]['step'] / self.config.steps) if rows else 0.0

    @property
    def _masker(self) -> dict[str, Any] | None:
        if self.config.observation.source != 'masked':
            return None
        given = {} if self.weights is None else {'weights': self.weights}
        return {'model': self.model, 'settings': dict(self.masker_settings), **given}

    @property
    def _facts(self) -> dict[str, Any]:
        given = {name: str(value) for name, value, usual in (
            ('demonstrations', self.demonstrations, None), ('masks', self.masks, 'masker'),
            ('expert', self.expert, None)) if value != usual}
        return {'config': self.config.to_dict(), 'masker': self._masker,
                'reference': None if self.reference is None else str(self.reference),
                'trials': self.trials.to_dict(), **given}


def plan_runs(
    root: Path,
    trials: Trials,
    *,
    tasks: Sequence[str],
    seeds: Sequence[int],
    sources: Sequence[str] = ('masked',),
    settings: Sequence[str] = ('train',),
    preset_name: str = 'quick',
    method: str = 'rl',
    overrides: Mapping[str, Any] | None = None,
    suffix: str = '',
    **options: Any,
) -> list[Run]:
    """Return the runs of all combinations, those of the first seed first.

    Args:
        root: folder of the run folders.
        trials: what every policy is put through.
        tasks: task names.
        seeds: of the training.
        sources: what the policies see.
        settings: visual settings to train in.
        preset_name: of the training.
        method: of the training, 'clone' or 'rl'.
        overrides: other fields of TrainConfig.
        suffix: goes into the folders' names.
        options: further fields of every Run.

    Raises:
        SamgError: if a name or a value is not usable.
    """
    more = dict(overrides or {})
    observation = more.pop('observation', {})
    runs = []
    for seed, task, setting, source in itertools.product(seeds, tasks, settings, sources):
        make = partial(clone_config, task, preset_name) if method == 'clone' else partial(
            preset, preset_name, task)
        config = make(seed=seed, setting=setting,
                      observation={**observation, 'source': source}, **more)
        words = (task, config.preset, source, setting if setting != 'train' else '', suffix, seed)
        name = '-'.join(str(word) for word in words if word != '')
        runs.append(Run(config, root / name, trials, **options))
    if len({run.folder for run in runs}) < len(runs):
        raise ConfigError('a task, source, setting or seed is named twice; name each once')
    return runs
