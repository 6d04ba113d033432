# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is all that its policy needs, wherever it is taken; this file is the other process.

One thread in both: how many share a sum is part of the machine, not of the checkpoint.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from samg_ros.masking import Masker, MaskerSettings, apply_mask
from samg_ros.observation import Observer
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.training.direct import run_reference, train_direct


def actions(checkpoint, frames):
    """What the policy does when it is shown some camera frames."""
    policy = load_policy(checkpoint)
    masks = policy.masker()(frames)
    observer = Observer(policy.spec)
    seen = [apply_mask(frame, mask, policy.spec.fill)
            for frame, mask in zip(frames, masks, strict=True)]
    return np.array([policy.act(see(frame)) for see, frame in zip(
        [observer.reset, *[observer.push] * len(frames)], seen, strict=False)])


def test_in_another_folder_and_process_it_gives_the_same_actions_bit_for_bit(tmp_path, small):
    config = small(steps=14, observation={'size': 24, 'source': 'masked'})
    home = tmp_path / 'home'
    masker = Masker.load('mini', MaskerSettings(fit_steps=5, passes=1))
    masker.fit(run_reference(config, home))
    train_direct(config, home, masker=masker)
    frames = np.stack([np.roll(masker.reference.image, 9 * shift, 1) for shift in range(4)])
    assert masker(frames).any(axis=(1, 2)).all()
    ours = actions(home, frames)

    away = tmp_path / 'away'
    away.mkdir()
    shutil.move(home / 'checkpoint.pt', away / 'policy.pt')
    shutil.rmtree(home)
    np.save(away / 'frames.npy', frames)
    subprocess.run([sys.executable, __file__], cwd=away, check=True, capture_output=True)
    theirs = np.load(away / 'actions.npy')
    assert theirs.tobytes() == ours.tobytes()
    assert len(np.unique(ours)) == len(frames)


if __name__ == '__main__':
    torch.set_num_threads(1)
    np.save('actions.npy', actions(Path('policy.pt'), np.load('frames.npy')))
