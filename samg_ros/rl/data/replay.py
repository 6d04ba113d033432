# SPDX-License-Identifier: Apache-2.0
"""What the agent remembers: a ring of time steps in memory-mapped files.

Every camera frame is stored once, as bytes, and stacked when a batch is drawn; the file is the
memory, so a run that was interrupted finds it where it was. Time steps are numbered from 0 for
the whole run; number i lies in slot i modulo the number of slots. More slots are kept than are
drawn from, so that whatever a killed run wrote after its last checkpoint only overwrote time
steps that the checkpoint no longer draws from.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samg_ros.errors import CheckpointError, InvalidInputError
from samg_ros.observation import ObservationSpec
from samg_ros.rl.data.storage import create_array, lengthen_array, lock_folder, open_array


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
        """Create the files, or open those of an interrupted run, and keep others out until `close`.

        Args:
            folder: where the files lie; made if missing.
            spec: shape of the observations.
            actions: number of action components.
            capacity: time steps to draw from. Files that were made for fewer are lengthened, unless
                the ring has begun to overwrite the first ones: then it stays as it is.
            slack: time steps that may be written after a checkpoint without harm to it.
            seed: seed of the drawing.
            count: time steps that the checkpoint knows of; None creates new, empty files.

        Raises:
            CheckpointError: if the files cannot be made or read, do not hold what the checkpoint
                knows of, or another process has them.
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
        self._lock = lock_folder(self.folder)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._make_arrays(capacity + self._slack, count)
            undo.pop_all()

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
        self, size: int, n_step: int, discount: float, device: torch.device | str = 'cpu',
        first_steps: int = 0, share: float = 0.0,
    ) -> Batch:
        """Draw transitions uniformly, or a share of them from the first time steps.

        A transition that meets the end of its episode, or the newest time step, is shorter
        than n steps and bootstraps from where it ends.

        Args:
            size: number of transitions.
            n_step: rewards to sum.
            discount: discount of one step.
            device: where the tensors go.
            first_steps: how many time steps the share is drawn from; those that have fallen out
                are drawn from no more.
            share: of the transitions, 0 to 1.

        Raises:
            InvalidInputError: if there is no transition yet.
        """
        low, high = self.oldest, self.count - 1
        early = round(share * size) if low < first_steps - 1 else 0
        first = self._draw(size - early, low, high)
        if early:  # by itself, so that without a share the same numbers are drawn
            first = np.concatenate((self._draw(early, low, min(first_steps - 1, high)), first))
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

    def close(self) -> None:
        """Let another process have the files; writes nothing."""
        self._lock.close()

    def state_dict(self) -> dict[str, Any]:
        """Return count and random state in plain types; the files are the rest."""
        return {'count': self.count, 'rng': json.dumps(self._rng.bit_generator.state)}

    def load_rng(self, state: str) -> None:
        """Take over the random state that `state_dict` gave."""
        self._rng.bit_generator.state = json.loads(state)

    def _draw(self, size: int, low: int, high: int) -> NDArray[np.int64]:
        """Draw numbers from low up to high that have a successor in their episode."""
        numbers = np.empty(0, np.int64)
        if not size:
            return numbers
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

    def _make_arrays(self, slots: int, count: int | None) -> None:
        """Create files with `slots` slots, or open those that hold a checkpoint's `count` steps."""
        frames, steps = self.folder / 'frames.npy', self.folder / 'steps.npy'
        frame_type, frame = np.dtype(np.uint8), (3, self._spec.size, self._spec.size)
        if count is None:
            self._frames = create_array(frames, frame_type, (slots, *frame))
            self._steps = create_array(steps, self._step_type, (slots,))
            self._steps['number'] = -1
            return
        self._frames = open_array(frames, frame_type, frame)
        self._steps = open_array(steps, self._step_type, ())
        self._resume(count)
        if np.array_equal(self._steps['number'][:count], np.arange(count)):
            # Frames first: more of them than steps do no harm, should this be interrupted.
            if len(self._frames) < slots:
                self._frames = lengthen_array(frames, self._frames, count, slots)
            if len(self._steps) < slots:
                self._steps = lengthen_array(steps, self._steps, count, slots)

    def _resume(self, count: int) -> None:
        """Check that every time step the checkpoint draws from is there."""
        self.count = count
        slots = len(self._steps)
        if len(self._frames) < slots or slots <= self._slack:
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
