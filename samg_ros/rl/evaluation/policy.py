# SPDX-License-Identifier: Apache-2.0
"""A trained policy, from a checkpoint alone.

The policy node, the evaluation and the bag evaluator need the actor and what goes in front of it,
and nothing of the training: no optimiser, no replay, no second configuration.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from samg_ros.device import usable_device
from samg_ros.errors import CheckpointError, ConfigError
from samg_ros.observation import Observation, ObservationSpec, Observer
from samg_ros.rl.data.frame_masker import FrameMasker
from samg_ros.rl.evaluation.actors import SingleActor, camera_names, make_actor
from samg_ros.rl.evaluation.shipped import find_checkpoint
from samg_ros.rl.training.checkpoint import Checkpoint, load_checkpoint

if TYPE_CHECKING:
    from samg_ros.masking import Masker, Reference
    from samg_ros.sim.sim_step import SimStep

_LOG = logging.getLogger(__name__)


class Policy:
    """The deterministic policy of a checkpoint, with the observation spec and masker it wants."""

    def __init__(self, checkpoint: Checkpoint, device: str = 'cpu') -> None:
        """Build the policy.

        Args:
            checkpoint: from `load_checkpoint`.
            device: torch device of the networks.

        Raises:
            CheckpointError: if the networks do not fit the checkpoint's configuration.
            ConfigError: if the device cannot be used.
        """
        self.config = checkpoint.config
        self.action_low = checkpoint.action_low
        self.action_high = checkpoint.action_high
        self.reference: Reference | None = checkpoint.reference
        self.more_references = checkpoint.more_references
        self.masker_description = checkpoint.masker
        self.counters = checkpoint.counters
        self.cameras = camera_names(checkpoint.agent)
        """Names of the cameras, the main one first; a single empty name for the only one."""
        self._actor = make_actor(self.config, checkpoint.agent, self.action_low,
                                 self.action_high, usable_device(device))

    @property
    def task(self) -> str:
        """Task that the policy was trained on."""
        return self.config.task

    @property
    def spec(self) -> ObservationSpec:
        """What the policy sees of a camera."""
        return self.config.observation

    def masker(self, device: str = 'cpu') -> 'Masker | None':
        """Build the masker that the policy was trained behind, fitted to its reference.

        A warning names what is no longer as it was in training: method, weights or settings.

        Returns:
            The masker, or None if the policy sees raw or truth-masked frames.

        Raises:
            CheckpointError: if the checkpoint lacks the reference or the masker's settings.
            SamgError: whatever building the masker raises.
        """
        if self.spec.source != 'masked':
            return None
        masker = self._masker(self.reference, device)
        assert self.masker_description is not None
        from samg_ros.masking.identity import differences
        if found := differences(self.masker_description, masker.describe()):
            _LOG.warning('the policy of %s is run behind other masks than in its training: %s',
                         self.task, '; '.join(found))
        return masker

    def more_maskers(self, device: str = 'cpu') -> 'dict[str, Masker]':
        """Build the maskers of the further cameras; as `masker`, empty where that is None."""
        if self.spec.source != 'masked':
            return {}
        return {camera: self._masker(self.more_references.get(camera), device)
                for camera in self.more_cameras}

    def _masker(self, reference: 'Reference | None', device: str) -> 'Masker':
        if reference is None or self.masker_description is None:
            raise CheckpointError(
                'the checkpoint carries no reference or masker settings although its policy sees '
                'masked frames; train it again with a reference'
            )
        from samg_ros.masking import Masker
        return Masker.from_description(self.masker_description, device).fit(reference)

    @property
    def more_cameras(self) -> tuple[str, ...]:
        """Cameras that the policy sees beside the main one."""
        return self.cameras[1:]

    def observer(self) -> Observer:
        """Return what turns frames into this policy's observations."""
        return Observer(self.spec, self.more_cameras)

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Return encoder and actor: (N, C, s, s) pixels and (N, k) joints to (N, A) in [-1, 1].

        Raises:
            ConfigError: if the policy predicts chunks of actions instead.
        """
        if not isinstance(self._actor, SingleActor):
            raise ConfigError('the policy predicts chunks of actions, which code must blend; only '
                              'policies of one action a frame are exported')
        return self._actor.encoder, self._actor.actor

    def act(self, observation: Observation, time_s: float | None = None,
            begins: bool = False) -> NDArray[np.float64]:
        """Return the action without exploration.

        Args:
            observation: from `observer`.
            time_s: stamp of the frame, which says where in its chunks a policy with chunks is;
                None for one period of its training after the frame before.
            begins: whether an episode begins.

        Returns:
            (A,) float64 within the action limits.
        """
        return self._actor.act(observation, time_s, begins)


def load_policy(checkpoint: Path | str, device: str = 'cpu') -> Policy:
    """Load a policy.

    Args:
        checkpoint: a file, the run folder that holds one, or the task of a policy that comes with
            the package.
        device: torch device of the networks.

    Raises:
        CheckpointError: if there is none, or it is cut short, damaged or something else.
        ConfigError: if the device cannot be used.
    """
    return Policy(load_checkpoint(find_checkpoint(checkpoint), device), device)


def camera_actor(policy: Policy, masker: 'Masker | None') -> 'Callable[[SimStep], NDArray[Any]]':
    """Return what acts on a simulator's steps as a policy does, from the episode's first one on.

    Args:
        policy: what acts.
        masker: what stands in front of it; needed if it sees masked frames.

    Raises:
        ConfigError: as of `FrameMasker`.
    """
    mask, observer = FrameMasker(policy.spec, masker), policy.observer()

    def act(step: 'SimStep') -> NDArray[Any]:
        frame, _ = mask(step.frame, step.mask, step.time_ns)
        joints = policy.spec.select_joints(step.joint_names, step.joint_positions)
        see = observer.reset if step.first else observer.push
        return policy.act(see(frame, joints), begins=step.first)

    return act
