# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import ConfigError
from samg_ros.evaluation.mask_quality.rollouts import Rollouts, collect_frames, frames_apart
from samg_ros.evaluation.mask_quality.scores import evaluate_masks, score_table
from samg_ros.evaluation.metrics import mask_iou
from samg_ros.masking import Masker, MaskerSettings
from samg_ros.rl.agents import make_agent
from samg_ros.rl.commands.eval_masks import find_reference
from samg_ros.rl.evaluation.policy import camera_actor, load_policy
from samg_ros.rl.presets import preset
from samg_ros.rl.training.checkpoint import Checkpoint, save_checkpoint
from samg_ros.sim.reference import best_view, choose_points, render_reference

SMALL = Rollouts('walker_walk', 'video_hard', 32, seed=1, size=48)


def quick_masker(task: str, **options: int) -> Masker:
    settings = MaskerSettings(fit_weights=False)
    return Masker.load('mini', settings).fit(render_reference(task, **options))


def test_frames_are_varied_and_repeat_with_the_seed() -> None:
    frames, again = collect_frames(SMALL), collect_frames(SMALL)
    assert frames.images.shape == (32, 48, 48, 3) and frames.truths.shape == (32, 48, 48)
    assert np.array_equal(frames.images, again.images)
    assert frames.truths.any(axis=(1, 2)).all()
    assert len(np.unique(frames.truths.reshape(32, -1), axis=0)) == 32
    assert frames.episodes.tolist() == [0] * 15 + [1] * 15 + [2] * 2
    assert len(np.unique(frames.images[[0, 15, 30], 0, 0], axis=0)) == 3


def test_bodies_are_known_where_the_object_is() -> None:
    frames = collect_frames(Rollouts('walker_walk', count=3))
    assert np.array_equal(frames.bodies > 0, frames.truths)
    assert len(np.unique(frames.bodies)) == 5  # world, torso, thigh, leg, foot


def test_a_hidden_object_is_not_in_the_frames() -> None:
    hidden = collect_frames(Rollouts('walker_walk', count=3, hide_object=True))
    shown = collect_frames(Rollouts('walker_walk', count=3))
    assert not hidden.truths.any() and shown.truths.any(axis=(1, 2)).all()
    beside = ~shown.truths
    assert np.array_equal(hidden.images[beside], shown.images[beside])
    assert not np.array_equal(hidden.images, shown.images)


def test_a_masker_is_scored_against_the_truth() -> None:
    frames = collect_frames(Rollouts('cheetah_run', count=12))
    masker = quick_masker('cheetah_run')
    result = evaluate_masks(masker, frames)
    row = result.summary()
    assert row['frames'] == len(result.iou) == 12
    assert 0 < row['iou_p5'] <= row['iou_median'] <= 1
    assert row['share_under_half'] == pytest.approx((result.iou < 0.5).mean(), abs=1e-4)
    assert 0 <= row['prompts_on_object'] <= 1 and row['frame_ms'] > 0
    assert row['clicks_on_body'] is None
    masks = masker(frames.images)
    assert row['false_area_mean'] == pytest.approx((masks & ~frames.truths).mean(), abs=1e-3)
    assert row['steadiness'] == pytest.approx(
        mask_iou(masks[1:], masks[:-1]).mean()
        - mask_iou(frames.truths[1:], frames.truths[:-1]).mean(), abs=0.02)
    assert [worst.iou for worst in result.worst] == sorted(result.iou)[:8]
    for moment in (*result.worst, *result.typical):
        assert np.array_equal(moment.truth, frames.truths[moment.index])
        both, either = (moment.mask & moment.truth).sum(), (moment.mask | moment.truth).sum()
        assert moment.iou == pytest.approx(both / either)
    assert f'{row["iou_mean"]:.3f}' in score_table([result]).text().splitlines()[1]


def test_clicks_are_put_on_different_bodies_and_followed() -> None:
    step, bodies = best_view('walker_walk')
    assert step.mask is not None
    points = choose_points(bodies, step.mask, 3).astype(int)
    clicked = [int(bodies[y, x]) for x, y in points]
    assert len(set(clicked)) == 3 and 0 not in clicked
    frames = collect_frames(Rollouts('walker_walk', count=4))
    result = evaluate_masks(quick_masker('walker_walk', clicks=3), frames, clicked)
    assert result.clicks_on_body in [share / 12 for share in range(13)]
    assert result.clicks_on_body > 0.5
    never = evaluate_masks(quick_masker('walker_walk', clicks=3), frames, [99] * 3)
    assert never.clicks_on_body == 0
    with pytest.raises(ConfigError, match='ask for at most 4'):
        choose_points(bodies, step.mask, 9)


def test_the_command_prints_a_table_and_writes_the_same_figures(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['eval', 'masks', '--task', 'cartpole_swingup', '--setting',
                     'train,video_easy', '--frames', '6', '--json', str(tmp_path / 'a.json'),
                     '--nuisance', 'light=0.3', '--clicks', '2', '--passes', '2',
                     '--out', str(tmp_path / 'out')]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads((tmp_path / 'a.json').read_text())
    assert [(row['task'], row['setting']) for row in figures] == [
        ('cartpole_swingup', 'train'), ('cartpole_swingup', 'video_easy')]
    assert figures[0]['rollouts']['nuisances'] == {'light': 0.3}
    for line, row in zip(lines[1:3], figures, strict=True):
        assert f'{row["iou_mean"]:.3f}' in line and f'{row["clicks_on_body"]:.1%}' in line
    page = (tmp_path / 'out' / 'masks.html').read_text()
    assert lines[3] == str(tmp_path / 'out' / 'masks.html')
    assert json.loads((tmp_path / 'out' / 'masks.json').read_text()) == figures
    assert page.count('<img src="data:image/png') == 2 * 2 * 3 * 6
    assert all(f'{row["iou_mean"]:.3f}' in page for row in figures)
    assert 'http' not in page.replace('http://www.w3.org', '')


@pytest.mark.parametrize(('wrong', 'message'), [
    ({'count': 0}, 'count of frames is 0'), ({'every': 0}, 'every of frames is 0')])
def test_wrong_numbers_are_told(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collect_frames(Rollouts(**wrong))


@pytest.mark.parametrize(('options', 'message'), [
    (['--task', 'walker_fly'], "no task is called 'walker_fly'"),
    (['--setting', 'fog'], "no visual setting is called 'fog'"),
    (['--reference', '/none'], 'no such file or folder'),
    (['--setting', 'video_hard', '--videos', '/none'], "no folder of videos at '/none'"),
    (['--nuisance', 'fog=1'], "no nuisance is called 'fog'"),
    (['--device', 'warp'], "'warp'"),
    (['--clicks', '1', '--reference', '/none'], '--clicks needs a rendered reference'),
    (['--policy', 'walker_walk', '--no-second-look'], '--second-look is what a policy brings'),
    (['--policy', 'walker_walk', '--task', 'walker_walk'], '--task is what a policy brings'),
    (['--policy', 'walker_wark'], 'did you mean walker_walk'),
])
def test_a_wrong_argument_is_one_line_and_status_2(
        options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['eval', 'masks', '--frames', '2', *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith('samg: error:')


def test_a_policys_masks_are_scored_in_its_own_episodes(tmp_path: Path) -> None:
    """A policy that stands up is upright later in the episode; one that acts at random is not."""
    figures = tmp_path / 'figures.json'
    assert cli.main(['eval', 'masks', '--policy', 'walker_stand', '--setting', 'train',
                     '--frames', '2', '--json', str(figures)]) == 0
    (row,) = json.loads(figures.read_text())
    assert (row['task'], row['frames'], row['rollouts']['policy']) == ('walker_stand', 2,
                                                                       'walker_stand')
    assert row['rollouts']['every'] == frames_apart(1000, 2) == 35
    assert row['rollouts']['action_repeat'] == 2 and row['iou_mean'] > 0.8

    policy = load_policy('walker_stand')
    rollouts = Rollouts('walker_stand', count=3, every=35, action_repeat=2)
    acting = collect_frames(rollouts, camera_actor(policy, policy.masker()))
    chance = collect_frames(rollouts)
    assert np.array_equal(acting.images[0], chance.images[0])
    top = [np.flatnonzero(truth.any(axis=1))[0] for truth in (acting.truths[2], chance.truths[2])]
    assert top[0] < top[1]  # the head is higher in the picture


def test_a_policy_without_a_masker_has_no_masks_to_score(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = preset('quick', 'cartpole_swingup', observation={'source': 'raw'})
    agent = make_agent(config, 1)
    save_checkpoint(tmp_path / 'checkpoint.pt', Checkpoint(
        config=config, action_low=-np.ones(1), action_high=np.ones(1), agent=agent.state_dict(),
        reference=None, masker=None))
    assert cli.main(['eval', 'masks', '--policy', str(tmp_path)]) == 2
    assert "sees raw frames and no masker's" in capsys.readouterr().err


def test_a_folder_of_references_gives_each_task_its_own(tmp_path: Path) -> None:
    (tmp_path / 'walker_0.png').touch()
    (tmp_path / 'cheetah_run').mkdir()
    assert find_reference(tmp_path, 'walker_walk') == tmp_path / 'walker_0.png'
    assert find_reference(tmp_path, 'cheetah_run') == tmp_path / 'cheetah_run'
    assert find_reference(tmp_path, 'reacher_easy') == tmp_path
    assert find_reference(None, 'walker_walk') is None


def test_an_episode_that_ends_between_two_frames_is_followed_by_another():
    frames = collect_frames(Rollouts('adroit_pen', count=6, every=36))  # of 100 steps
    assert frames.episodes.tolist() == [0, 0, 0, 0, 1, 1]
