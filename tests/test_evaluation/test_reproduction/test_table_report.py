# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
from pathlib import Path

import pytest

from selfy_mmaction.evaluation.reproduction.figure import draw_table
from selfy_mmaction.evaluation.reproduction.recipes import Run
from selfy_mmaction.evaluation.reproduction.report import write_report
from selfy_mmaction.evaluation.reproduction.results import Results
from selfy_mmaction.evaluation.reproduction.rows import Row, Table
from selfy_mmaction.evaluation.reproduction.run_log import (
    FAILED,
    FINISHED,
    RESUMED,
    STARTED,
    RunLog,
)
from selfy_mmaction.evaluation.reproduction.summary import summarize_table

PAPER = {'one': 10.0, 'two': 20.0, 'größer | λ': 30.0, 'control': None}


@pytest.fixture
def summarize(benchmark_of_stories, make_recipe, make_run_result, tmp_path):
    """Summarize a table whose rows have these accuracies, by name and seed."""

    def make(accuracies, key='table5_x', title='Table 5: x', rates=(), papers=PAPER):
        rows, recipes = [], {}
        results = Results(tmp_path / 'results', benchmark_of_stories)
        for name, paper in papers.items():
            rows.append(
                Row(
                    name,
                    'TSN',
                    f'configs/{name}.py',
                    Path(name),
                    paper,
                    name == 'two',
                    rates,
                )
            )
            recipe = make_recipe(name.replace(' | ', '-'), learning_rates=rates)
            recipes[Path(name)] = recipe
            for seed, accuracy in enumerate(accuracies.get(name, [])):
                run = Run(recipe, seed, 0.004)
                result = make_run_result(run, accuracy)
                result['splits']['val_blurred']['accuracy'] = accuracy - 0.1
                results.add(run, result)
            if rates and accuracies.get(name):
                slow = Run(recipe, 0, 0.002)
                results.add(slow, make_run_result(slow, 0.01))
        log = RunLog(tmp_path / 'results' / 'started.jsonl')
        run = Run(recipes[Path('one')], 0, 0.002)
        for event in (STARTED, RESUMED, FINISHED, STARTED, FAILED):
            log.add(run, event)
        log.add(Run(make_recipe('of another table'), 0, 0.004), STARTED)
        return summarize_table(Table(key, title, tuple(rows)), recipes, results, log)

    return make


ACCURACIES = {'one': [0.2, 0.3], 'two': [0.4, 0.6], 'größer | λ': [0.7]}


def test_summary_of_a_table(summarize):
    summary = summarize(ACCURACIES)
    one, two, larger, control = summary['rows']
    assert one['ours'] == dict(
        mean=pytest.approx(25), deviation=pytest.approx(50**0.5), seeds=2
    )
    # Differences are -20 and -30; the t quantile of one degree of freedom is 12.706.
    assert one['difference'] == dict(
        reference='two',
        mean=pytest.approx(-25),
        low=pytest.approx(-25 - 12.706 * 5, abs=0.01),
        high=pytest.approx(-25 + 12.706 * 5, abs=0.01),
        seeds=2,
    )
    assert two['difference'] is None
    assert larger['difference']['mean'] == pytest.approx(30)  # of seed 0 only
    assert larger['difference']['low'] is None
    assert one['minutes'] == 1
    assert control['ours'] is None
    assert summary['rank_correlations']['all rows']['rows'] == 3
    assert summary['rank_correlations']['all rows']['spearman'] == pytest.approx(1)
    assert summary['chance'] == 25
    json.dumps(summary)


def test_report_of_a_table(summarize, tmp_path):
    folder = tmp_path / 'out'
    paths = write_report(summarize(ACCURACIES), folder)
    assert [path.name for path in paths] == [
        'table5_x.md',
        'table5_x.json',
        'table5_x.png',
    ]
    text = paths[0].read_text(encoding='utf-8')
    assert '| one | 10.0 | 25.0 ± 7.1 | 2 | -25.0 [-88.5, +38.5] |' in text
    assert '| **two** | 20.0 | 50.0 ± 14.1 | 2 | – | 1.0 k | 1.0 M | 1.0 |' in text
    assert '| größer \\| λ | 30.0 | 70.0 | 1 | +30.0 |' in text
    assert '| control | – | – | – | – | – | – | – |' in text
    assert '| control | `configs/control.py` | – | not run |' in text
    assert '| all rows | 3 | 1.00 (p = 0.167) | 1.00 (p = 0.167) |' in text
    assert '![Table 5: x](table5_x.png)' in text
    assert 'Trained on: cpu, with selfy_mmaction 1.2, torch 3.4.' in text
    assert '2 from scratch, 1 resumed. Their ends: 1 finished, 1 failed' in text
    assert '0 interrupted, 1 killed.' in text
    assert str(tmp_path) not in text
    for line in text.splitlines():
        assert line.count('|') in (0, *range(3, 12)), line
    assert paths[2].read_bytes().startswith(b'\x89PNG')


def test_report_of_a_table_of_ours_does_not_mention_the_paper(summarize, tmp_path):
    summary = summarize(ACCURACIES, papers=dict.fromkeys(PAPER))
    path, _, picture = write_report(summary, tmp_path)
    text = path.read_text(encoding='utf-8')
    assert '| one | 25.0 ± 7.1 | 2 | -25.0 [-88.5, +38.5] |' in text
    assert 'paper' not in text.lower()
    assert 'Order of the rows' not in text
    assert len(draw_table(summary).axes) == 1
    assert len(draw_table(summarize(ACCURACIES)).axes) == 2
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_report_without_results_has_no_figure(summarize, tmp_path):
    (tmp_path / 'table5_x.png').touch()
    paths = write_report(summarize({}), tmp_path)
    assert [path.suffix for path in paths] == ['.md', '.json']
    assert 'png' not in paths[0].read_text(encoding='utf-8')
    assert not (tmp_path / 'table5_x.png').exists()


def test_report_shows_the_search(summarize, tmp_path):
    summary = summarize(ACCURACIES, rates=(0.002, 0.004, 0.008))
    assert [search['chosen'] for search in summary['searches']] == [None] * 4
    summary = summarize(ACCURACIES, rates=(0.002, 0.004))
    path, *_ = write_report(summary, tmp_path)
    assert '| two | 0.002: 1.0, 0.004: 40.0 | 0.004 |' in path.read_text('utf-8')


def test_report_of_corrupted_frames(summarize, tmp_path):
    path, *_ = write_report(summarize(ACCURACIES, 'section4.7', 'corrupted'), tmp_path)
    text = path.read_text('utf-8')
    assert text.startswith('# corrupted\n')
    # Occluded is like clean here, and blurred 10 points worse with both seeds. With 8
    # clips, rounding gives a deviation of 5.1 points; the t quantile is 12.706.
    assert (
        '| one | 25.0 ± 7.1 | 2 | 25.0 ± 7.1 | +0.0 [-45.8, +45.8] '
        '| 15.0 ± 7.1 | -10.0 [-55.8, +35.8] |'
    ) in text
    assert '| control | – | – | – | – | – | – |' in text
    assert (tmp_path / 'section4.7.png').stat().st_size > 1000
