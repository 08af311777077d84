# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
from pathlib import Path

import pytest
import yaml

from selfy_mmaction.evaluation.reproduction.findings import (
    Finding,
    judge,
    read_findings,
    write_findings,
)
from selfy_mmaction.evaluation.reproduction.rows import (
    Row,
    Table,
    default_configs,
    read_tables,
)


def make_row(label: str, paper: float | None = None) -> Row:
    return Row(label, 'TSN', f'{label}.py', Path(label), paper, False, ())


A, B, C = make_row('a', 30.0), make_row('b', 20.0), make_row('c')
TABLE = Table('table9_letters', 'Table 9: letters', (A, B, C))


def make_summary(*accuracies: dict[int, float], **changes: dict[int, float]) -> dict:
    rows = [
        dict(
            label=row.label,
            accuracies=values,
            corrupted=dict(val_blurred=dict(changes=changes.get(row.label, {}))),
        )
        for row, values in zip(TABLE.rows, accuracies, strict=True)
    ]
    orders = {'all rows': None}
    return dict(
        table=TABLE.key,
        title='Table 9: letters',
        splits=dict(val=1000, val_blurred=1000),
        rows=rows,
        rank_correlations=orders,
    )


@pytest.mark.parametrize(
    ('better', 'worse', 'agreeing', 'verdict'),
    [
        # 10 and 12 points: the interval is 11 ± 12.7, with the t quantile 12.706.
        ({0: 40, 1: 42}, {0: 30, 1: 30}, 2, 'not told apart'),
        ({0: 40, 1: 40.1}, {0: 30, 1: 30}, 2, 'holds'),
        ({0: 30, 1: 30}, {0: 40, 1: 40.1}, 0, 'does not hold'),
        ({0: 30, 1: 30}, {0: 30, 1: 30}, 0, 'not told apart'),
        ({0: 90}, {0: 30}, 1, 'not told apart'),  # one seed has no interval
        ({0: 90}, {1: 30}, 0, 'not run'),
    ],
)
def test_verdict_of_a_comparison(better, worse, agreeing, verdict):
    found = judge(Finding('a > b', TABLE, ((A, B),)), make_summary(better, worse, {}))
    assert found['verdict'] == verdict
    assert found['source'] == 'Table 9'
    (pair,) = found['pairs']
    assert (pair['paper'], pair['agreeing_seeds']) == (10, agreeing)


def test_verdict_of_several_comparisons():
    high, low, unknown = {0: 9.0, 1: 9.1}, {0: 1.0, 1: 1.0}, {0: 1.0, 1: 9.0}

    def verdict(*accuracies):
        finding = Finding('', TABLE, ((A, B), (A, C)), is_ours=True)
        found = judge(finding, make_summary(*accuracies))
        assert found['pairs'][1]['paper'] is None
        assert found['source'] == 'ours'
        return found['verdict']

    assert verdict(high, low, low) == 'holds'
    assert verdict(high, low, unknown) == 'not told apart'
    assert verdict(low, high, unknown) == 'does not hold'
    assert verdict(high, low, {}) == 'not run'


def test_corrupted_frames_are_compared_by_what_is_lost():
    summary = make_summary({}, {}, {}, a={0: -1.0, 1: -1.0}, b={0: -9.0, 1: -9.1})
    (pair,) = judge(Finding('', TABLE, ((A, B),), 'val_blurred'), summary)['pairs']
    assert pair['ours']['mean'] == pytest.approx(8.05)
    assert pair['paper'] is None  # Fig. 5 has no numbers
    assert pair['verdict'] == 'holds'


def test_report(tmp_path):
    summary = make_summary({0: 40, 1: 40.1}, {0: 30, 1: 30}, {0: 3})
    summary['rank_correlations']['all rows'] = dict(
        rows=3, spearman=0.5, spearman_p=0.5, kendall=0.3, kendall_p=0.0001
    )
    findings = [
        Finding('a | first', TABLE, ((A, B), (A, C))),
        Finding('last', TABLE, ((C, B),), 'val_blurred'),
    ]
    text, data = write_findings(findings, {TABLE.key: summary}, tmp_path)
    lines = text.read_text(encoding='utf-8').splitlines()
    assert lines[2:5] == [
        '| a \\| first (Table 9) | a > b | +10.0 | +10.1 [+9.4, +10.7] | 2 of 2 | '
        '**not told apart** |',
        '|  | a > c | – | +37.0 | 1 of 1 |  |',
        '| last (Table 9) | c > b | – | – | – | **not run** |',
    ]
    assert (
        '| Table 9: letters | all rows | 3 | 0.50 (p = 0.500) | 0.30 (p < 0.001) |'
        in (lines)
    )
    assert [each['verdict'] for each in json.loads(data.read_text())] == [
        'not told apart',
        'not run',
    ]


def test_no_findings(tmp_path):
    assert read_findings(tmp_path, {}) == []
    assert write_findings([], {}, tmp_path) == []


def test_comparisons_are_those_of_the_paper():
    """Where the paper has both figures, its first row is the better one."""
    configs = default_configs()
    findings = read_findings(configs, read_tables(configs))
    assert len({finding.sentence for finding in findings}) == len(findings)
    tables = {finding.table.key for finding in findings}
    assert tables | {'moss_orders'} == set(read_tables(configs))
    for finding in findings:
        for better, worse in finding.pairs:
            if not finding.is_ours:
                assert better.paper > worse.paper, (finding.sentence, better.label)


VALID = {'Finding': 'f', 'Table': 'table9_letters', 'Better': [['a', 'b']]}


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({**VALID, 'Table': 'table8'}, "the table 'table8' in 'f', expected one of ta"),
        ({**VALID, 'Split': 'val'}, "the split 'val' in 'f', expected one of val_occ"),
        (
            {**VALID, 'Better': [['a', 'd']]},
            "compares .'a', 'd'. in 'f', .* 'a', 'b', 'c'",
        ),
        ({**VALID, 'Better': [['a']]}, "compares .'a'. in 'f', expected two rows"),
        ({'Finding': 'f'}, "is not a list of Findings.*'Table'"),
        ('f', 'is not a list of Findings'),
        (None, 'is not a list of Findings'),
    ],
)
def test_bad_file(tmp_path, entry, message):
    path = tmp_path / 'findings.yml'
    path.write_text(yaml.safe_dump({'Findings': [entry]} if entry else None))
    with pytest.raises(ValueError, match=f'(?s)findings.yml.*{message}'):
        read_findings(tmp_path, {TABLE.key: TABLE})
