# SPDX-License-Identifier: Apache-2.0
"""What the agent remembers: a ring of time steps in memory-mapped files.

Every camera frame is stored once, as bytes, and stacked when a batch is drawn; the file is the
memory, so a run that was interrupted finds it where it was. Time steps are numbered from 0 for
the whole run; number i lies in slot i modulo the number of slots. More slots are kept than are
drawn from, so that whatever a killed run wrote after its last checkpoint only overwrote time
steps that the checkpoint no longer draws from.
"""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.errors import CheckpointError, InvalidInputError
from samg_ros.observation import ObservationSpec


@dataclass(frozen=True)
class Batch:
    """Transitions of n steps: N of them, on one device."""

    pixels: Tensor
    """(N, 3 * frame_stack, size, size) uint8."""
    joints: Tensor | None
    """(N, k) float32, or None where the spec has no proprioception."""
    action: Tensor
    """(N, actions) float32 in [-1, 1]."""
    reward: Tensor
    """(N, 1) float32, discounted sum over the n steps."""
    discount: Tensor
    """(N, 1) float32, factor of the value of the next observation."""
    next_pixels: Tensor
    """Like `pixels`, n steps later."""
    next_joints: Tensor | None
    """Like `joints`, n steps later."""


class Replay:
    """A ring of time steps on disk, drawn from uniformly.

    A time step holds the newest frame of its observation and, as in dm_env, the action,
    reward and discount that led to it.
    """

    def __init__(
        self,
        folder: Path | str,
        spec: ObservationSpec,
        actions: int,
        capacity: int,
        slack: int,
        seed: int,
        count: int | None = None,
    ) -> None:
        """Create the files, or open those of an interrupted run.

        Args:
            folder: where the files lie; made if missing.
            spec: shape of the observations.
            actions: number of action components.
            capacity: time steps to draw from.
            slack: time steps that may be written after a checkpoint without harm to it.
            seed: seed of the drawing.
            count: time steps that the checkpoint knows of; None creates new, empty files.

        Raises:
            CheckpointError: if the files cannot be made or read, or do not hold what the
                checkpoint knows of.
        """
        self.folder = Path(folder)
        self.count = 0
        self._spec = spec
        self._slack = slack + spec.frame_stack
        self._start = 0
        self._rng = np.random.default_rng(seed)
        joints = len(spec.proprioception)
        self._step_type = np.dtype(
            [
                ('number', '<i8'),
                ('start', '<i8'),
                ('action', '<f4', (actions,)),
                ('reward', '<f4'),
                ('discount', '<f4'),
                ('joints', '<f4', (joints,)),
            ]
        )
        frame = (3, spec.size, spec.size)
        if count is None:
            slots = capacity + self._slack
            self._frames = self._create('frames.npy', np.dtype(np.uint8), (slots, *frame))
            self._steps = self._create('steps.npy', self._step_type, (slots,))
            self._steps['number'] = -1
        else:
            self._frames = self._open('frames.npy', np.dtype(np.uint8), frame)
            self._steps = self._open('steps.npy', self._step_type, ())
            self._resume(count)

    @property
    def oldest(self) -> int:
        """Number of the oldest time step that is drawn from."""
        return max(0, self.count - (len(self._steps) - self._slack))

    def add(
        self,
        pixels: NDArray[np.uint8],
        joints: NDArray[np.float32] | None,
        action: NDArray[np.float32] | None,
        reward: float,
        discount: float,
    ) -> None:
        """Append a time step.

        Args:
            pixels: (3 * frame_stack, size, size) uint8; only the newest frame is stored.
            joints: (k,) float32, or None where the spec has no proprioception.
            action: (actions,) float32 that led here; None begins an episode.
            reward: reward of that action.
            discount: 0 if the episode ended in a terminal state, else 1.
        """
        if action is None:
            self._start = self.count
        slot = self.count % len(self._steps)
        self._frames[slot] = pixels[-3:]
        step = self._steps[slot]
        step['start'] = self._start
        step['action'] = 0 if action is None else action
        step['reward'] = reward
        step['discount'] = discount
        if joints is not None:
            step['joints'] = joints
        step['number'] = self.count
        self.count += 1

    def sample(
        self, size: int, n_step: int, discount: float, device: torch.device | str = 'cpu'
    ) -> Batch:
        """Draw transitions uniformly.

        A transition that meets the end of its episode, or the newest time step, is shorter
        than n steps and bootstraps from where it ends.

        Args:
            size: number of transitions.
            n_step: rewards to sum.
            discount: discount of one step.
            device: where the tensors go.

        Raises:
            InvalidInputError: if there is no transition yet.
        """
        first = self._draw(size)
        reward = np.zeros(size, np.float32)
        factor = np.ones(size, np.float32)
        last = first
        for k in range(1, n_step + 1):
            step = self._steps[(first + k) % len(self._steps)]
            inside = (first + k < self.count) & (step['start'] <= first)
            reward += np.where(inside, factor * step['reward'], 0)
            factor *= np.where(inside, np.float32(discount) * step['discount'], 1)
            last = np.where(inside, first + k, last)
        action = self._steps[(first + 1) % len(self._steps)]['action']
        pixels, joints = self._observations(first, device)
        next_pixels, next_joints = self._observations(last, device)
        return Batch(
            pixels=pixels,
            joints=joints,
            action=torch.from_numpy(action).to(device),
            reward=torch.from_numpy(reward[:, None]).to(device),
            discount=torch.from_numpy(factor[:, None]).to(device),
            next_pixels=next_pixels,
            next_joints=next_joints,
        )

    @property
    def newest(self) -> NDArray[np.uint8]:
        """Frame of the newest time step, (3, size, size) uint8."""
        frame: NDArray[np.uint8] = self._frames[(self.count - 1) % len(self._steps)]
        return frame

    def episode_actions(self) -> NDArray[np.float32]:
        """Return the actions of the newest episode so far, (n, actions) float32 in [-1, 1]."""
        numbers = np.arange(self._start + 1, self.count)
        actions: NDArray[np.float32] = self._steps[numbers % len(self._steps)]['action']
        return actions

    def flush(self) -> None:
        """Write everything to disk.

        Raises:
            CheckpointError: if that fails.
        """
        try:
            self._frames.flush()
            self._steps.flush()
        except OSError as error:
            raise CheckpointError(f'cannot write the replay in {self.folder}: {error}') from error

    def state_dict(self) -> dict[str, Any]:
        """Return count and random state in plain types; the files are the rest."""
        return {'count': self.count, 'rng': json.dumps(self._rng.bit_generator.state)}

    def load_rng(self, state: str) -> None:
        """Take over the random state that `state_dict` gave."""
        self._rng.bit_generator.state = json.loads(state)

    def _draw(self, size: int) -> NDArray[np.int64]:
        """Draw numbers of time steps that have a successor in their episode."""
        low, high = self.oldest, self.count - 1
        numbers = np.empty(0, np.int64)
        for _ in range(1000):
            if high <= low:
                break
            drawn = self._rng.integers(low, high, size - len(numbers))
            after = self._steps[(drawn + 1) % len(self._steps)]
            numbers = np.concatenate((numbers, drawn[after['start'] <= drawn]))
            if len(numbers) == size:
                return numbers
        raise InvalidInputError('the replay holds no transition yet: add more time steps first')

    def _observations(
        self, numbers: NDArray[np.int64], device: torch.device | str
    ) -> tuple[Tensor, Tensor | None]:
        """Stack the frames that end with each time step, oldest first."""
        steps = self._steps[numbers % len(self._steps)]
        back = np.arange(self._spec.frame_stack - 1, -1, -1)
        stacks = np.maximum(numbers[:, None] - back, steps['start'][:, None])
        frames = np.take(self._frames, stacks % len(self._steps), axis=0)
        pixels = torch.from_numpy(frames.reshape(len(numbers), *self._spec.pixels_shape))
        joints = None
        if self._spec.proprioception:
            joints = torch.from_numpy(steps['joints'].copy()).to(device)
        return pixels.to(device), joints

    def _create(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            array = np.lib.format.open_memmap(path, 'w+', dtype, shape)
            with path.open('r+b') as file:
                # Claim the room now: a full disk would otherwise kill the process later.
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            size = np.prod(shape, dtype=float) * dtype.itemsize / 1e9
            if error.errno in (errno.ENOSPC, errno.EFBIG):
                path.unlink(missing_ok=True)
            raise CheckpointError(
                f'cannot make the replay file {path} of {size:.2f} GB: {error.strerror}; '
                'free some room, choose another run folder or lower replay_capacity'
            ) from error
        return array

    def _open(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        path = self.folder / name
        try:
            np.lib.format.open_memmap(path, 'r')  # 'r+' would lengthen a file that was cut short
            array = np.lib.format.open_memmap(path, 'r+')
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f'cannot read the replay file {path} ({error}); restore it, or start a new run '
                'in another folder'
            ) from error
        if array.dtype != dtype or array.shape[1:] != shape:
            raise CheckpointError(
                f'the replay file {path} holds other observations or actions than this run; '
                'start a new run in another folder'
            )
        return array

    def _resume(self, count: int) -> None:
        """Check that every time step the checkpoint draws from is there."""
        self.count = count
        slots = len(self._steps)
        if len(self._frames) != slots or slots <= self._slack:
            raise CheckpointError(
                f'the replay in {self.folder} is not whole; start a new run in another folder'
            )
        numbers = np.arange(max(0, self.oldest - self._spec.frame_stack + 1), count)
        if not np.array_equal(self._steps['number'][numbers % slots], numbers):
            raise CheckpointError(
                f'the replay in {self.folder} lacks time steps that the checkpoint counts '
                f'({count}); start a new run in another folder'
            )
        if count:
            self._start = int(self._steps['start'][(count - 1) % slots])
