# SPDX-License-Identifier: Apache-2.0
"""Training without ROS: the simulator, the masker and the learner in one loop.

The trainer node drives the same learner with the same observations, so that the two make the same
weights from the same seed.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from samg_ros.cores import half_the_cores
from samg_ros.rl.config import IMITATION, TrainConfig
from samg_ros.rl.data.demonstrations import DemonstratedSteps, Demonstrations
from samg_ros.rl.experts.advice import Advice
from samg_ros.rl.presets import TEMPORAL_MASKS, TRAINING_MASKS
from samg_ros.rl.training.checkpoint import CHECKPOINT_NAME, load_checkpoint
from samg_ros.rl.training.expert_episodes import expert_episodes
from samg_ros.rl.training.learner import Learner
from samg_ros.rl.training.resume_check import check_same_reference
from samg_ros.rl.training.rollout import Rollout

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference


def train_direct(
    config: TrainConfig,
    run_dir: Path | str,
    *,
    masker: 'Masker | None' = None,
    videos: Path | str | None = None,
    device: str = 'cpu',
    demonstrations: Path | str | None = None,
    masks: str = 'masker',
    expert: Path | str | None = None,
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
        masks: what masks the frames that are learned from, one of `rollout.MASKS`.
        expert: file of a clone's expert; None takes the task's own.
        on_progress: called with `Learner.progress` after every step.
        on_demonstration: called with the number of demonstrated episodes read, and of all.
        should_stop: asked before every step; true saves and returns.

    Returns:
        `Learner.progress` at the end; its 'done' is false if it was stopped.

    Raises:
        ConfigError: if a masker is missing, or fitted to more than one reference.
        CheckpointError: if the folder holds another run, or cannot be written.
        ExpertError: if a clone has no expert, or it is one of something else.
        DemonstrationError: if the demonstrations cannot be read, or do not fit the run.
        SamgError: whatever the simulation or the masker raises.
    """
    from samg_ros.sim.env import SimEnv

    env = SimEnv(
        task=config.task, setting=config.setting, seed=config.seed, height=config.camera_size,
        width=config.camera_size, videos=videos, action_repeat=config.action_repeat,
        quality=config.quality, composite=config.composite)
    threads = torch.get_num_threads()
    torch.set_num_threads(half_the_cores())  # the update has the others
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(env.close)
        advice, facts = None, {}
        if config.agent == IMITATION:
            advice = Advice(env, expert, config.seed)
            facts = {'masks': masks, 'expert': advice.source}
        rollout = Rollout(env, config, masker, masks, advice)
        begin_with = expert_episodes(config, Path(run_dir), masker) if demonstrations is None \
            else DemonstratedSteps(Demonstrations(demonstrations), config, *env.action_spec,
                                   masker, on_demonstration)
        learner = Learner(
            config, *env.action_spec, run_dir,
            reference=None if masker is None else masker.reference,
            masker_description=None if masker is None else masker.describe(), device=device,
            demonstrations=begin_with, facts=facts)
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


def make_masker(
    config: TrainConfig,
    run_dir: Path | str,
    reference: Path | None = None,
    model: str = '',
    device: str = 'cpu',
    weights: str | None = None,
    temporal: str = 'off',
) -> 'Masker':
    """Load a masker and fit it to the run's reference.

    Args:
        config: settings of the run.
        run_dir: run folder; the reference is kept in its `reference` folder.
        reference: folder or image; None takes the run's, or renders one from the simulator.
        model: name of the masker's model; '' takes `mini`.
        device: torch device.
        weights: of the model, a file or NAME=PATH,NAME=PATH; None takes its own.
        temporal: one of TEMPORAL_MASKS.

    Raises:
        SamgError: if the reference or the model cannot be used.
    """
    from samg_ros.masking import Masker, MaskerSettings

    settings = MaskerSettings(**{**TRAINING_MASKS, **TEMPORAL_MASKS[temporal]})
    masker = Masker.load(model or 'mini', settings, device, weights)
    return masker.fit(run_reference(config, run_dir, reference))


def run_reference(
    config: TrainConfig, run_dir: Path | str, reference: Path | None = None
) -> 'Reference':
    """Return the given reference, or the run's own, or one rendered from the simulator.

    It is kept in the run's `reference` folder. Once there is a checkpoint, its reference is the
    run's own, and no other is taken.

    Raises:
        CheckpointError: if the run has another reference than the given one.
        ReferenceLoadError: if it cannot be read.
        SamgError: if it cannot be rendered.
    """
    from samg_ros.masking import Reference

    kept = Path(run_dir) / 'reference'
    own = None
    if (Path(run_dir) / CHECKPOINT_NAME).exists():
        own = load_checkpoint(run_dir).reference
    if own is not None:
        if reference is not None:
            check_same_reference(run_dir, own, Reference.load(reference))
        found = own
    elif reference is not None:
        found = Reference.load(reference)
    elif kept.is_dir():
        return Reference.load(kept)
    else:
        from samg_ros.sim.reference import render_reference

        found = render_reference(
            config.task, config.camera_size, config.camera_size, seed=config.seed
        )
    found.save(kept, overwrite=True)
    return found
