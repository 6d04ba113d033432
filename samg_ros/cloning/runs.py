# SPDX-License-Identifier: Apache-2.0
"""A run of behaviour cloning: from the choices of a command line to a policy in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samg_ros.cloning.samples import LearnedEpisode, period_of, prepare
from samg_ros.cloning.sources import Source, open_source
from samg_ros.cloning.training import Cloning
from samg_ros.demonstrations.masked_export import masker_of_contract
from samg_ros.errors import ConfigError, DemonstrationError
from samg_ros.files.outputs import make_folder, write_json
from samg_ros.observation import ObservationSpec
from samg_ros.rl.agents.chunk_network import AS_RECORDED, VELOCITIES, ChunkSettings
from samg_ros.rl.config import TrainConfig, override
from samg_ros.rl.evaluation.actors import CHUNKS, NETWORK
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, Checkpoint, save_checkpoint

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference

_MARGIN = 1.5
"""Actions are limited to this many times the greatest demonstrated one, then to the arm's own
limits."""
FIGURES_NAME = 'cloning.json'


@dataclass(frozen=True)
class CloneChoices:
    """What a user chooses for a cloning run: data, masks, model and settings."""

    demonstrations: Path
    run_dir: Path | None
    reference: Path | None
    """Of the first camera; None takes that of a masked data set."""
    references: dict[str, Path]
    """Of further cameras."""
    cameras: tuple[str, ...]
    """Which to use; empty for all."""
    source: str
    model: str
    weights: str | None
    device: str
    chunk: int
    every: int
    learn: str | None
    seed: int
    settings: dict[str, Any]
    """Fields of TrainConfig."""


@dataclass(frozen=True, eq=False)
class CloneRun:
    """A cloning run that is ready to train: its folder, samples, maskers and limits."""

    run_dir: Path
    source: Source
    cloning: Cloning
    maskers: dict[str, Masker | None]
    action_names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray


def begin(choices: CloneChoices, progress: Callable[[int, int], None] | None = None) -> CloneRun:
    """Read and mask the demonstrations, and build the training or go on with it.

    Raises:
        SamgError: if demonstrations, reference or settings cannot be used.
    """
    source = _with_cameras(open_source(choices.demonstrations), choices.cameras)
    config = _config(choices, source)
    learned = choices.learn or (VELOCITIES if _are_positions(source) else AS_RECORDED)
    settings = ChunkSettings(  # before the work: it checks what was chosen
        tuple(source.cameras), len(config.observation.proprioception), len(source.action_names),
        choices.chunk, learned=learned, hidden_dim=config.hidden_dim,
        pixels=config.observation.pixels_shape, every=choices.every)
    run_dir = make_folder(choices.run_dir or Path('runs') / f'{source.folder.name}-clone-'
                          f'{choices.seed}')
    maskers = _maskers(choices, source, config)
    episodes = prepare(source, run_dir / 'frames', config.observation, learned,
                       {} if source.masked else maskers, progress)
    settings = replace(settings, actions=episodes[0].actions.shape[1],
                       period_s=period_of(episodes))
    low, high = _action_limits(episodes)
    return CloneRun(run_dir, source, Cloning(config, settings, episodes, run_dir, choices.device),
                    maskers, source.action_names, low, high)


def finish(run: CloneRun) -> dict[str, Any]:
    """Write the policy and its figures into the run folder; return the figures."""
    cloning, settings = run.cloning, run.cloning.blended
    first, *more = settings.cameras
    masker = run.maskers[first]
    best = min(cloning.history, key=lambda each: each.loss)
    figures = {
        'episodes': run.source.count, 'held_out': len(cloning.held_out),
        'seconds': round(cloning.seconds, 1),
        'parameters': sum(value.numel() for value in cloning.best.values()),
        'period_s': settings.period_s, 'chunk': settings.chunk, 'blend_s': settings.blend_s,
        'learned': settings.learned, 'history': [vars(each) for each in cloning.history],
        'best': {'step': best.step, 'loss': best.loss, 'action_error': dict(zip(
            run.action_names, best.errors, strict=True))}}
    save_checkpoint(run.run_dir / CHECKPOINT_NAME, Checkpoint(
        cloning.config, run.low, run.high,
        {CHUNKS: settings.to_json(), NETWORK: cloning.best},
        None if masker is None else masker.reference,
        {name: each.reference for name, each in run.maskers.items()
         if name in more and each is not None and each.reference is not None},
        None if masker is None else masker.describe(),
        counters={'steps': cloning.step, 'seconds': cloning.seconds, 'done': cloning.done,
                  'episodes': run.source.count, 'loss': best.loss}))
    write_json(run.run_dir / FIGURES_NAME, figures)
    return figures


def _with_cameras(source: Source, chosen: tuple[str, ...]) -> Source:
    if not chosen:
        return source
    if missing := [name for name in chosen if name not in source.cameras]:
        raise ConfigError(f"the demonstrations have no camera '{missing[0]}'; they have "
                          f'{", ".join(source.cameras)}')
    return replace(source, cameras={name: source.cameras[name] for name in chosen})


def _are_positions(source: Source) -> bool:
    """Whether each action is the position of a joint: they are as many, or have their names."""
    return bool(source.joints) and (len(source.action_names) == len(source.joints)
                                    or set(source.action_names) <= set(source.joints))


def _config(choices: CloneChoices, source: Source) -> TrainConfig:
    """Return the settings of the training; what the policy sees is in it."""
    sizes = set(source.cameras.values())
    if len(sizes) > 1:
        raise DemonstrationError(f'the cameras have frames of different sizes ({sizes}, height and '
                                 'width); import them with one --size')
    height, width = sizes.pop()
    view: dict[str, Any] = {'size': 96, 'frame_stack': 1, 'source': choices.source,
                            'proprioception': list(source.joints)}
    if height != width:
        view['crop'] = [0, 0, width, height]
    defaults: dict[str, Any] = {
        'task': source.task or 'demonstrations', 'preset': 'clone', 'seed': choices.seed,
        'camera_size': min(height, width), 'action_repeat': source.action_repeat, 'steps': 6000,
        'batch_size': 64, 'learning_rate': 2e-3, 'hidden_dim': 256, 'shift_pad': 2,
        'checkpoint_every': 250}
    given = dict(choices.settings)
    given['observation'] = {**view, **given.pop('observation', {})}
    config = override(TrainConfig(observation=ObservationSpec()), {**defaults, **given})
    if config.observation.source == 'truth':
        raise ConfigError("demonstrations are masked by a masker; choose the source 'masked' or "
                          "'raw'")
    return config


def _maskers(choices: CloneChoices, source: Source, config: TrainConfig
             ) -> dict[str, Masker | None]:
    """Return camera -> fitted masker; None where there is nothing to mask with."""
    if unknown := sorted(choices.references.keys() - source.cameras.keys()):
        raise ConfigError(f"--camera-reference names the camera '{unknown[0]}'; the demonstrations "
                          f'have {", ".join(source.cameras)}')
    if choices.references or choices.reference is not None:
        if config.observation.source == 'raw':
            raise ConfigError('raw frames are not masked: leave out the references')
        if source.masked:
            raise ConfigError('the demonstrations are masked already, with a reference of their '
                              'own; leave out the references')
    if config.observation.source == 'raw':
        return dict.fromkeys(source.cameras)
    if source.masked:
        assert source.masker is not None
        return dict.fromkeys(source.cameras, masker_of_contract(source.masker, choices.device))
    from samg_ros.masking import Masker, MaskerSettings, Reference

    made: dict[str, Masker | None] = {}
    for index, camera in enumerate(source.cameras):
        path = choices.references.get(camera, choices.reference if index == 0 else None)
        if path is None:
            option = f'--camera-reference {camera}=DIR' if index else '--reference DIR'
            raise ConfigError(f"camera '{camera}' needs a reference that says what matters: give "
                              f'{option}, or --source raw')
        reference: Reference = Reference.load(path)
        made[camera] = Masker.load(choices.model or 'mini', MaskerSettings(), choices.device,
                                   choices.weights).fit(reference)
    return made


def _action_limits(episodes: list[LearnedEpisode]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest action of the policy, (A,) each."""
    actions = np.concatenate([episode.actions for episode in episodes])
    low, high = actions.min(axis=0), actions.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    # A joint that never moved gets the narrowest range that there is: limits must differ.
    return (np.minimum(middle - _MARGIN * half, np.nextafter(low, -np.inf)),
            np.maximum(middle + _MARGIN * half, np.nextafter(high, np.inf)))

