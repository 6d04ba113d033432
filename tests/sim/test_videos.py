# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import cv2
import numpy as np
import pytest

from samg_ros.errors import VideoError
from samg_ros.sim.env import SimEnv
from samg_ros.sim.visual.videos import ProceduralBackgrounds, VideoFolder

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


FAULTS = ('truncated', 'no frames', 'not a video', 'empty')


def spoil(path: Path, fault: str) -> None:
    if fault == 'truncated':
        path.write_bytes(path.read_bytes()[:400])
    elif fault == 'no frames':
        write_video(path, 0)
    else:
        path.write_bytes(b'hello' * 100 if fault == 'not a video' else b'')


@pytest.mark.parametrize('fault', FAULTS)
def test_an_unreadable_video_is_named_and_left_out(folder: Path, fault: str) -> None:
    spoil(folder / '1.mp4', fault)
    with pytest.warns(UserWarning, match=r"the video '.*1\.mp4': left out, for it cannot be read"):
        videos = VideoFolder(folder, 20, 20, 0)
    assert list(videos.faults) == ['1.mp4']
    shades = set()
    for _ in range(4):
        videos.next_video()
        shades.add(brightness(videos.frame(0)) // 80)
    assert shades == {0, 2}


@pytest.mark.filterwarnings('ignore:the video')
def test_a_folder_of_unreadable_videos_is_an_error_that_names_them(folder: Path) -> None:
    for name in ('0.mp4', '1.mp4', '2.mp4'):
        spoil(folder / name, 'not a video')
    with pytest.raises(VideoError, match=r'no video that can be read: 0\.mp4: left out.*2\.mp4'):
        VideoFolder(folder, 20, 20, 0)


def test_a_video_that_is_lost_later_is_left_out_then(folder: Path) -> None:
    videos = VideoFolder(folder, 20, 20, 0)
    videos.next_video()
    first = brightness(videos.frame(0))
    for path in folder.glob('*.mp4'):
        if path.name != f'{first // 80}.mp4':
            spoil(path, 'empty')
    videos.next_video()
    with pytest.warns(UserWarning, match='left out'):
        assert brightness(videos.frame(0)) == first
    assert len(videos.faults) == 2
    videos.next_video()
    assert brightness(videos.frame(1)) > first


def test_a_video_that_is_cut_short_is_shown_as_far_as_it_goes_and_named(tmp_path: Path) -> None:
    path = tmp_path / 'a.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), dtype=np.uint8)
    for frame in noise:
        writer.write(frame)
    writer.release()
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    videos = VideoFolder(tmp_path, 24, 32, 0)
    assert not videos.faults
    with pytest.warns(UserWarning, match='cut short, it gives 1. of its 30 frames'):
        frames = [videos.frame(index) for index in range(30)]
    length = next(i for i in range(1, 30) if np.array_equal(frames[i], frames[0]))
    assert f'gives {length} of' in videos.faults['a.avi']


def test_a_hundred_videos_in_turn_take_no_more_memory_than_allowed(
        tmp_path: Path, shared_data: Path) -> None:
    public = sorted((shared_data / 'dmcgb' / 'video_hard').glob('*.mp4'))
    for number in range(100):
        (tmp_path / f'{number}.mp4').symlink_to(public[number % len(public)])

    def resident_mb() -> float:
        return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20

    before = resident_mb()
    videos = VideoFolder(tmp_path, 84, 84, 0)
    for _ in range(100):
        videos.next_video()
        for index in range(20):
            videos.frame(index)
    assert resident_mb() - before < 300


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
