# SPDX-License-Identifier: Apache-2.0
"""Checkpoints x settings x seeds: what is averaged over what, and what the command leaves."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from samg_ros import cli
from samg_ros.errors import ReportError
from samg_ros.evaluation.episode_files import load_episodes, save_episodes
from samg_ros.evaluation.episodes import EpisodeResults, View
from samg_ros.rl.evaluation.episodes import evaluate_policy
from samg_ros.rl.evaluation.policy import load_policy
from samg_ros.rl.evaluation.scores import Score, score_table, summarise
from samg_ros.rl.presets import preset
from samg_ros.rl.training.learner import Learner
from samg_ros.sim.reference import render_reference


@pytest.fixture
def checkpoint(tmp_path, small):
    """A checkpoint of a policy that was never trained, whose episodes take ten steps."""

    def make(name, **changes):
        config = small(action_repeat=100, **changes)
        learner = Learner(config, [-1.0], [1.0], tmp_path / name)
        learner.save()
        learner.close()
        return tmp_path / name

    return make


def score(returns, *, seed=0, setting='train', train_seed=0, source='masked', iou=0.8,
          trained_in='train', **more):
    config = preset('quick', 'walker_walk', seed=train_seed, setting=trained_in,
                    observation={'source': source})
    ious = tuple((iou,) * 4 for _ in returns) if source == 'masked' else ()
    result = EpisodeResults(setting, tuple(returns), ious, seed=seed, **more)
    return Score(f'run-{source}-{train_seed}', config, None, result)


def test_a_policy_can_be_shown_other_frames_than_it_was_trained_on(tmp_path, capsys):
    """The catcher needs to see: with its own masks, or true ones, but not with black frames."""
    figures = tmp_path / 'figures.json'
    assert cli.main(['eval', 'policy', 'ball_in_cup_catch', '--setting', 'train', '--episodes', '1',
                     '--shown', 'truth,blind', '--json', str(figures)]) == 0
    truth, blind = json.loads(figures.read_text())['records']
    assert (truth['variant'], blind['variant']) == ('shown truth', 'shown blind')
    assert truth['mean_return'] > 800 > 300 > blind['mean_return']
    assert truth['mean_iou'] is None
    assert 'masked, shown blind' in capsys.readouterr().out
    assert cli.main(['eval', 'policy', 'walker_walk', '--shown', 'fog']) == 2
    assert "not 'fog'" in capsys.readouterr().err


def test_runs_of_one_policy_are_averaged_and_the_error_is_over_them():
    home, hard = summarise([
        score([100.0, 300.0]), score([400.0, 400.0], train_seed=1),
        score([100.0, 100.0], setting='video_hard'),
        score([200.0, 400.0], setting='video_hard', train_seed=1)])
    assert (home.mean_return, home.error) == (300.0, (100.0, 'runs'))
    assert (hard.mean_return, hard.error) == (200.0, (100.0, 'runs'))
    assert hard.share_kept == pytest.approx(2 / 3) and home.share_kept == 1
    assert hard.record()['runs'] == 2 and hard.record()['episodes'] == 4


def test_a_single_run_has_its_error_over_seeds_and_one_seed_over_episodes():
    several, = summarise([score([100.0], seed=0), score([300.0], seed=1)])
    assert several.error == (100.0, 'seeds')
    one, = summarise([score([100.0, 300.0])])
    assert one.error == (100.0, 'episodes')


def test_an_episode_that_failed_is_seen_beside_a_good_mean():
    summary, = summarise([score([900.0, 20.0, 880.0]), score([910.0], train_seed=1)])
    assert summary.record()['returns'] == [900.0, 20.0, 880.0, 910.0]
    table = score_table([summary])
    assert table.rows[0][table.head.index('lowest')] == '20.0'


def test_success_counts_where_the_task_knows_it():
    home = score([5.0, 5.0], successes=(True, True))
    hard = score([4.0, 4.0], setting='video_hard', successes=(True, False))
    summaries = summarise([home, hard])
    assert summaries[1].success_rate == 0.5
    assert summaries[1].share_kept == 0.5
    assert 'success' in score_table(summaries).head
    assert 'success' not in score_table(summarise([score([5.0])])).head


def test_policies_that_differ_in_more_than_the_seed_are_told_apart_by_it():
    other = score([1.0])
    other = replace(other, checkpoint='b', config=replace(other.config, batch_size=7))
    summaries = summarise([score([2.0]), other, score([3.0], source='raw')])
    assert [summary.policy for summary in summaries] == [
        'masked, batch_size 96', 'masked, batch_size 7', 'raw']
    assert summaries[2].record()['mean_iou'] is None


def test_a_variant_is_named_also_where_there_is_no_other():
    raw = replace(score([1.0]), variant='shown raw')
    assert [summary.policy for summary in summarise([raw])] == ['masked, shown raw']
    assert [summary.policy for summary in summarise([score([2.0]), raw])] == [
        'masked', 'masked, shown raw']


def test_nothing_is_kept_of_what_was_never_measured_at_home():
    hard, = summarise([score([100.0], setting='video_hard')])
    assert hard.share_kept is None
    home, hard = summarise([score([0.0]), score([10.0], setting='video_hard')])
    assert hard.share_kept is None


def test_what_is_kept_is_of_the_setting_train_wherever_the_policy_was_trained():
    home, hard = summarise([
        score([200.0], trained_in='video_hard'),
        score([150.0], trained_in='video_hard', setting='video_hard')])
    assert (home.share_kept, hard.share_kept) == (1, 0.75)


def test_the_command_writes_the_same_figures_everywhere(checkpoint, tmp_path, capsys):
    runs = [checkpoint('a'), checkpoint('b', seed=1),
            checkpoint('raw', observation={'size': 16, 'source': 'raw'})]
    (tmp_path / 'raw').rename(tmp_path / 'elsewhere')
    runs[2] = tmp_path / 'elsewhere'
    assert cli.main(['eval', 'policy', *map(str, runs), '--setting', 'train,video_hard',
                     '--seed', '0,1', '--episodes', '1', '--max-steps', '4',
                     '--json', str(tmp_path / 'figures.json'), '--out', str(tmp_path / 'out')]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert len(figures['records']) == 3 * 2 * 2 and len(figures['summary']) == 2 * 2
    assert [row['policy'] for row in figures['summary']] == ['truth', 'truth', 'raw', 'raw']
    assert figures['summary'][0]['error_over'] == 'runs'
    assert figures['summary'][2]['error_over'] == 'seeds'
    for line, row in zip(lines[2:6], figures['summary'], strict=True):
        assert row['setting'] in line and f'{row["mean_return"]:.1f} ±' in line
    assert lines[-1] == str(tmp_path / 'out' / 'policies.html')
    with (tmp_path / 'out' / 'policies.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['mean_return']) for row in rows] == [
        record['mean_return'] for record in figures['records']]
    assert rows[0]['mean_iou'] == ''  # nothing was masked by a masker
    page = (tmp_path / 'out' / 'policies.html').read_text()
    assert page.count('<img src="data:image/png') == (2 * 3 + 2 * 2) * 5  # raw ones have no masks
    assert 'http' not in page.replace('http://www.w3.org', '')


@pytest.mark.parametrize(('options', 'message'), [
    (['nowhere'], "there is no checkpoint 'nowhere'"),
    (['nowhere', '--setting', 'fog'], "no visual setting is called 'fog'"),
    (['nowhere', '--episodes', '0'], "--episodes: '0': expected a whole number of at least 1"),
    (['nowhere', '--videos', '/none'], "no folder of videos at '/none'"),
    (['nowhere', '--nuisance', 'fog=1'], "no nuisance is called 'fog'"),
])
def test_a_wrong_argument_is_one_line_and_status_2(options, message, capsys):
    assert cli.main(['eval', 'policy', *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_episodes_come_back_from_their_file(tmp_path):
    reference = render_reference('cartpole_swingup')
    view = View(reference.image, reference.mask, reference.image)
    results = [
        EpisodeResults('train', (1.5, 2.5), ((0.5, 0.75), (1.0,)), (view, view), (), 9.0, 3,
                       (True, False)),
        EpisodeResults('video_hard', (3.0,))]
    save_episodes(tmp_path / 'episodes.npz', results, {'what': [1, None]})
    (first, second), facts = load_episodes(tmp_path / 'episodes.npz')
    assert facts == {'what': [1, None]} and second == results[1]
    assert replace(first, strip=()) == replace(results[0], strip=())
    np.testing.assert_array_equal(first.strip[1].mask, reference.mask)
    (tmp_path / 'episodes.npz').write_bytes(b'cut short')
    with pytest.raises(ReportError, match='delete it'):
        load_episodes(tmp_path / 'episodes.npz')


def test_rendering_and_composite_are_the_policys_unless_asked_for(monkeypatch):
    seen = []

    class Stop(Exception):
        pass

    def env(**options):
        seen.append((options['quality'], options['composite']))
        raise Stop

    monkeypatch.setattr('samg_ros.sim.env.SimEnv', env)
    policy = load_policy('cartpole_swingup')
    policy.config = replace(policy.config, quality='paper', composite='chroma_key')
    for options in ({}, {'quality': 'fast', 'composite': 'segmentation'}):
        with pytest.raises(Stop):
            evaluate_policy(policy, policy.task, 'video_hard', **options)
    assert seen == [('paper', 'chroma_key'), ('fast', 'segmentation')]
    assert preset('paper', 'walker_walk').quality == 'paper'
