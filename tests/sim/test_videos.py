# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest

from samg_ros.errors import VideoError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.videos import ProceduralBackgrounds, VideoFolder

LENGTHS = (5, 7, 9)


def write_video(path: Path, length: int, shade: int = 0, size: tuple[int, int] = (64, 48)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    for index in range(length):
        writer.write(np.full((size[1], size[0], 3), shade + 8 * index, dtype=np.uint8))
    writer.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, length in enumerate(LENGTHS):
        write_video(tmp_path / f'{number}.mp4', length, shade=10 + 80 * number)
    (tmp_path / 'LICENSE').write_text('not a video')
    return tmp_path


def brightness(frame: np.ndarray) -> int:
    return round(float(frame.mean()))


def test_every_video_has_its_turn_in_an_order_drawn_from_the_seed(folder: Path) -> None:
    def order(seed: int) -> list[int]:
        videos = VideoFolder(folder, 20, 20, seed)
        shades = []
        for _ in range(6):
            videos.next_video()
            shades.append(brightness(videos.frame(0)))
        return shades

    assert len(set(order(0)[:3])) == 3
    assert order(0)[:3] == order(0)[3:]
    assert order(0) == order(0)
    assert len({tuple(order(seed)) for seed in range(8)}) > 1


def test_a_short_video_loops(folder: Path) -> None:
    for path in folder.glob('[12].mp4'):
        path.unlink()
    videos = VideoFolder(folder, 20, 20, 0)
    shown = [brightness(videos.frame(index)) for index in range(12)]
    assert len(set(shown[:5])) == 5
    assert shown == [shown[index % 5] for index in range(12)]


def test_frames_too_large_to_keep_are_the_same_as_kept_ones(folder: Path) -> None:
    kept = VideoFolder(folder, 20, 30, 0)
    read = VideoFolder(folder, 20, 30, 0, memory_bytes=0)
    for index in (0, 1, 2, 8, 3, 3, 20, 1):
        assert kept.frame(index).shape == (20, 30, 3)
        assert np.array_equal(kept.frame(index), read.frame(index))


def test_memory_stays_within_the_allowance(folder: Path) -> None:
    frame_bytes = 4 * 4 * 3
    videos = VideoFolder(folder, 4, 4, 0, memory_bytes=1001 * frame_bytes)
    videos._capacity = 10  # as if the allowance held ten frames
    for _ in range(9):
        videos.next_video()
        for index in range(9):
            videos.frame(index)
        assert sum(map(len, videos._open.values())) <= 10


def test_frames_are_rgb_and_resized_bilinearly(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / 'a.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (65, 47))
    writer.write(np.dstack([np.zeros((47, 65)), np.zeros((47, 65)), np.full((47, 65), 250)]
                           ).astype(np.uint8))
    writer.release()
    frame = VideoFolder(tmp_path, 33, 21, 0).frame(0)
    assert frame.shape == (33, 21, 3)
    assert frame[..., 0].min() > 230 and frame[..., 1:].max() < 25


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=f"no folder of videos at '{tmp_path}/none'"):
        VideoFolder(tmp_path / 'none', 84, 84, 0)


def test_a_folder_without_videos_says_what_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('no video')
    with pytest.raises(VideoError, match=r'holds no video; looked for .*\.mp4'):
        VideoFolder(tmp_path, 84, 84, 0)


@pytest.mark.parametrize('fault', ['truncated', 'no frames', 'not a video', 'empty'])
def test_an_unreadable_video_is_named(folder: Path, fault: str) -> None:
    path = folder / '1.mp4'
    if fault == 'truncated':
        path.write_bytes(path.read_bytes()[:400])
    elif fault == 'no frames':
        write_video(path, 0)
    else:
        path.write_bytes(b'hello' * 100 if fault == 'not a video' else b'')
    with pytest.raises(VideoError, match=r"the video '.*1\.mp4' cannot be read"):
        VideoFolder(folder, 84, 84, 0)


def test_painted_videos_differ_and_repeat_with_the_seed() -> None:
    def first_frames(seed: int) -> list[np.ndarray]:
        videos = ProceduralBackgrounds(24, 32, seed)
        frames = []
        for _ in range(2):
            videos.next_video()
            frames.append(videos.frame(0))
        return frames

    one, again, other = first_frames(1), first_frames(1), first_frames(2)
    assert one[0].shape == (24, 32, 3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one[0], one[1])
    assert not np.array_equal(one[0], other[0])


def test_the_environment_shows_one_frame_a_step_and_the_next_video_after_a_reset(
        folder: Path) -> None:
    env = SimEnv('cartpole_swingup', 'video_hard', seed=0, videos=folder)
    videos = VideoFolder(folder, 84, 84, 0)
    for _ in range(2):
        videos.next_video()
        steps = [env.reset(), env.step(np.zeros(1)), env.step(np.zeros(1))]
        for index, step in enumerate(steps):
            assert np.array_equal(step.frame[0, 0], videos.frame(index)[0, 0])
    env.close()


def test_a_wrong_folder_is_an_error_even_where_no_video_is_shown(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match='no folder of videos'):
        SimEnv('cartpole_swingup', 'train', videos=tmp_path / 'none')


def test_the_public_videos_can_be_read(shared_data: Path) -> None:
    videos = VideoFolder(shared_data / 'dmcgb' / 'video_easy', 84, 84, 0)
    videos.next_video()
    assert not np.array_equal(videos.frame(0), videos.frame(30))
