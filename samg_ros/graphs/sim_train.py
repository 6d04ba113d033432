# SPDX-License-Identifier: Apache-2.0
"""The training graph: one set of choices, turned into nodes and their parameters.

A choice such as the action repeat, which two nodes have to know, is made here for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samg_ros.errors import ConfigError, VideoError
from samg_ros.graphs.spec import CAMERA_REMAPPINGS, NodeSpec, given_only
from samg_ros.rl.config import TrainConfig
from samg_ros.rl.experts import has_expert
from samg_ros.rl.presets import DEFAULT_EPISODES, TEMPORAL_MASKS, TRAINING_MASKS, make_config
from samg_ros.rl.training.rollout import IOU_EVERY
from samg_ros.ros.given_parameters import given_parameters, unless_given

PARAMETER_FILE = 'config/sim_train.yaml'


_REWARD_TEACHES_MORE = ('cartpole_swingup',)
"""Tasks with an expert in which the preset quick gets further by reward than by cloning, see
docs/results.md: 714 against 500. Three frames of a thin pole hardly show its speed, which the
expert knows."""


@dataclass(frozen=True)
class TrainPlan:
    """What is to be trained, on what, and where it is written."""

    config: TrainConfig
    preset: str
    steps: int
    """As asked for; 0 takes the preset's."""
    overrides: str
    """Other fields of the configuration, as JSON."""
    run_dir: Path
    given_reference: Path | None
    """Folder or image; None to render one from the simulator."""
    videos: Path | None
    """Folder of background videos."""
    episodes: int
    """Episodes per visual setting in the report."""
    model: str = ''
    """Masking model; empty takes the parameter file's."""
    weights: str = ''
    """Its weight file or files, as `samg_ros.masking.models.load_model` reads them."""
    device: str = ''
    """Torch device of masker and learner; empty takes the parameter file's."""
    demonstrations: Path | None = None
    """Folder of demonstrations that a new run's replay begins with."""
    method: str = 'rl'
    """clone, from an expert's actions, or rl, from reward."""
    expert: str = ''
    """File of a clone's expert; empty takes the package's."""
    params_file: str = ''
    """Parameter file of the user, which wins over TRAINING_MASKS; empty for the package's."""
    temporal: str = ''
    """One of TEMPORAL_MASKS; empty takes the parameter file's."""

    @property
    def reference(self) -> Path:
        """Folder of the run's own copy of the reference, which `prepare_reference` makes."""
        return self.run_dir / 'reference'

    @property
    def needs_reference(self) -> bool:
        """Whether there is anything to mask."""
        return self.config.observation.source == 'masked'

    @property
    def episodes_begun(self) -> int:
        """Episodes that the run in the folder has seen; it goes on with the next one.

        Raises:
            CheckpointError: if its checkpoint cannot be read.
        """
        from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, load_checkpoint

        if not (self.run_dir / CHECKPOINT_NAME).exists():
            return 0
        return load_checkpoint(self.run_dir).episodes_begun

    @property
    def _masks(self) -> dict[str, Any]:
        """Settings of the masker, unless the user's file has others."""
        given = given_parameters(self.params_file, 'perception') if self.params_file else {}
        temporal = self.temporal or given.get('temporal', 'off')
        return {**TRAINING_MASKS, **TEMPORAL_MASKS.get(temporal, {})}

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The graph; whoever answers frames is there before they come."""
        perception = NodeSpec('perception', self.parameters('perception'), CAMERA_REMAPPINGS)
        return (NodeSpec('trainer', self.parameters('trainer')),
                *([perception] if self.needs_reference else []),
                NodeSpec('mujoco_bridge', self.parameters('mujoco_bridge')))

    def parameters(self, node: str) -> dict[str, Any]:
        """Return the parameters that this plan gives a node: mujoco_bridge, perception, trainer."""
        config = self.config
        reference = str(self.reference) if self.needs_reference else ''
        videos = '' if self.videos is None else str(self.videos)
        if node == 'mujoco_bridge':
            return {'task': config.task, 'setting': config.setting, 'seed': config.seed,
                    'height': config.camera_size, 'width': config.camera_size,
                    'action_repeat': config.action_repeat, 'quality': config.quality,
                    'composite': config.composite, 'videos': videos,
                    'skip_episodes': self.episodes_begun,
                    'truth_every': IOU_EVERY if self.needs_reference else 1,
                    'expert': (self.expert or 'own') if self.method == 'clone' else ''}
        if node == 'perception':
            return {'reference': reference, 'fill': list(config.observation.fill),
                    **unless_given(self._masks, self.params_file, 'perception'),
                    **given_only({'temporal': self.temporal, 'model': self.model,
                                  'weights': self.weights, 'device': self.device})}
        return {'task': config.task, 'setting': config.setting, 'seed': config.seed,
                'preset': self.preset, 'method': self.method, 'steps': self.steps,
                'overrides': self.overrides, 'run_dir': str(self.run_dir), 'reference': reference,
                'demonstrations': str(self.demonstrations or ''),
                'videos': videos, 'evaluation_episodes': self.episodes,
                **given_only({'device': self.device})}


def make_plan(task: str, preset: str = 'quick', setting: str = 'train', seed: int = 0,
              steps: int = 0, overrides: str = '', run_dir: str | Path = '',
              reference: str | Path = '', videos: str | Path = '',
              episodes: int = DEFAULT_EPISODES, model: str = '', weights: str = '',
              device: str = '', demonstrations: str | Path = '', method: str = '',
              expert: str | Path = '', params_file: str = '', temporal: str = '') -> TrainPlan:
    """Check the choices of a training run and complete them.

    Args:
        task: task name.
        preset: one of PRESETS.
        setting: visual setting to train in.
        seed: of everything random.
        steps: agent steps; 0 takes the preset's.
        overrides: other fields of TrainConfig as a JSON object.
        run_dir: empty takes runs/TASK-clone-SEED, or of the method rl runs/TASK-PRESET-SEED.
        reference: folder or image; empty to render one from the simulator into the run folder.
        videos: folder of background videos; empty for procedural ones.
        episodes: episodes per visual setting in the report.
        model: masking model; empty takes the parameter file's.
        weights: its weight file, or NAME=PATH,NAME=PATH for a pair.
        device: torch device of masker and learner; empty takes the parameter file's.
        demonstrations: folder of demonstrations that a new run's replay begins with.
        method: 'clone' or 'rl'; empty takes clone where an expert is given or comes with the
            package, unless something else asks for reinforcement learning: the preset paper,
            demonstrations, an agent among the overrides, or a task in which reward teaches more.
        expert: file of a clone's expert; empty takes the package's.
        params_file: parameter file of the user; empty for the package's.
        temporal: how frames that follow one another are masked, 'prior' or 'off'; empty takes the
            parameter file's.

    Raises:
        SamgError: if one of them is not usable.
    """
    if not method:
        by_reward = preset == 'paper' or str(demonstrations) or '"agent"' in overrides \
            or task in _REWARD_TEACHES_MORE
        method = 'clone' if str(expert) or has_expert(task) and not by_reward else 'rl'
    if method == 'clone' and str(demonstrations):
        raise ConfigError('a clone learns from an expert, not from demonstrations; leave them out, '
                          'or choose the method rl')
    if method == 'rl' and str(expert):
        raise ConfigError('the method rl has no use for an expert; choose the method clone')
    config = make_config(task, preset, setting, seed, steps, overrides, method)
    kind = preset if method == 'rl' else method if preset == 'quick' else f'{method}-{preset}'
    folder = Path(run_dir).expanduser() if str(run_dir) else Path('runs') / f'{task}-{kind}-{seed}'
    if str(videos) and not Path(videos).expanduser().is_dir():
        raise VideoError(f"there is no folder of videos at '{videos}'")
    return TrainPlan(
        config=config, preset=preset, steps=steps, overrides=overrides,
        run_dir=folder.resolve(),
        given_reference=Path(reference).expanduser().resolve() if str(reference) else None,
        videos=Path(videos).expanduser().resolve() if str(videos) else None, episodes=episodes,
        model=model, weights=weights, device=device,
        demonstrations=Path(demonstrations).expanduser().resolve() if str(demonstrations)
        else None, method=method,
        expert=str(Path(expert).expanduser().resolve()) if str(expert) else '',
        params_file=params_file, temporal=temporal)


def prepare_reference(plan: TrainPlan) -> str:
    """Make sure that a masked run has its reference: the given one, its own, or a rendered one.

    Returns:
        What was done, in one line.

    Raises:
        SamgError: if a given reference is not usable, or none can be rendered.
    """
    from samg_ros.rl.training.direct import run_reference

    if not plan.needs_reference:
        return f'no reference needed: the policy sees {plan.config.observation.source} frames'
    kept = plan.reference.is_dir()
    run_reference(plan.config, plan.run_dir, plan.given_reference)
    if plan.given_reference is not None:
        return f'reference: {plan.given_reference}'
    if kept:
        return f"reference: the run's own, {plan.reference}"
    return f'reference: none given, so one was rendered from the simulator: {plan.reference}'
