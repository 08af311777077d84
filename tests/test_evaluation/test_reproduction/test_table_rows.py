# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import yaml

from selfy_mmaction.evaluation.reproduction.rows import choose_tables, read_tables

TOP1 = 'Top 1 Accuracy reported by the paper'


def model(config: str, top1: float | None = None, **metadata) -> dict:
    metrics = {} if top1 is None else {TOP1: top1}
    return dict(
        Name=config,
        Config=f'configs/{config}.py',
        Metadata=metadata,
        Results=[dict(Metrics=metrics)],
    )


@pytest.fixture
def write(tmp_path):
    """Write the metafile of a table and its configs."""

    def write_table(key: str, *models: dict) -> Path:
        folder = tmp_path / 'configs' / key
        folder.mkdir(parents=True, exist_ok=True)
        for each in models:
            (tmp_path / each['Config']).touch()
        text = yaml.safe_dump(dict(Models=list(models)), allow_unicode=True)
        (folder / 'metafile.yml').write_text(text, encoding='utf-8')
        return tmp_path / 'configs'

    return write_table


def test_rows_have_what_the_metafile_says(write):
    configs = write(
        'table4a_similarity',
        model('tsn', 16.2, Row='TSN, ohne Größe 光'),
        model('selfy-tsn-r18', 46.9),
        model('table4a_similarity/selfy-tsm-x', 48.6, Group='Neues'),
        model('table4a_similarity/control', **{'Learning rates': [0.002, 1]}),
    )
    tables = read_tables(configs)
    rows = tables['table4a_similarity'].rows
    assert [row.label for row in rows] == [
        'TSN, ohne Größe 光',
        'selfy-tsn-r18',
        'selfy-tsm-x',
        'control',
    ]
    assert [row.group for row in rows] == ['TSN', 'TSN', 'Neues', '']
    assert [row.paper for row in rows] == [16.2, 46.9, 48.6, None]
    # The default is next to the folders of the tables.
    assert [row.is_reference for row in rows] == [False, True, False, False]
    assert rows[3].learning_rates == (0.002, 1.0)
    assert all(row.path.is_file() for row in rows)
    assert tables['section4.7'].rows == rows
    assert tables['section4.7'].title == 'Section 4.7: corrupted center frame'


def test_title_of_the_metafile_wins_over_the_name_of_the_folder(write):
    metafile = write('our_table', model('a')) / 'our_table' / 'metafile.yml'
    metafile.write_text('Title: Größe\n' + metafile.read_text('utf-8'), 'utf-8')
    assert read_tables(metafile.parents[1])['our_table'].title == 'Größe'


def test_reference_of_the_metafile_wins_over_the_default(write):
    configs = write(
        'table6_x', model('selfy-tsn', Reference=False), model('b-tsn', Reference=True)
    )
    rows = read_tables(configs)['table6_x'].rows
    assert [row.is_reference for row in rows] == [False, True]


def test_tables_are_found_by_key_and_number(write):
    for key in ('sup3a_matching_region', 'table4a_similarity', 'table5_other'):
        configs = write(key, model(f'{key}/net'))
    tables = read_tables(configs)
    order = ['table4a_similarity', 'table5_other', 'sup3a_matching_region']
    assert list(tables) == [*order, 'section4.7']
    assert tables['sup3a_matching_region'].title == (
        'Supplement, Table 3a: matching region'
    )

    def keys(*names: str) -> list[str]:
        return [table.key for table in choose_tables(tables, names)]

    assert keys('sup3a', 'table4a_similarity', 'table4a') == [order[2], order[0]]
    assert keys('table5', 'all') == list(tables)
    with pytest.raises(ValueError, match="no table 'tabel4a'.*did you mean table4a"):
        keys('tabel4a')


@pytest.mark.parametrize('values', ['2e-3', [0.002, 0.002], [-1], ['a'], [True, 1]])
def test_wrong_learning_rates_are_refused(write, values):
    configs = write('table5_x', model('net', **{'Learning rates': values}))
    with pytest.raises(ValueError, match='Learning rates.*expected a list'):
        read_tables(configs)


def test_shared_config_needs_the_same_search_in_each_table(write):
    write('table4b_x', model('net'))
    configs = write('table5_x', model('net', **{'Learning rates': [0.002]}))
    with pytest.raises(ValueError, match=r'net.py has the learning rates \[0.002\]'):
        read_tables(configs)


def test_damaged_metafiles_are_refused(write, tmp_path):
    with pytest.raises(FileNotFoundError, match='has no tables.*--configs'):
        read_tables(tmp_path)
    configs = write('table5_x', model('a', Row='same'), model('b', Row='same'))
    with pytest.raises(ValueError, match="several rows with the label 'same'"):
        read_tables(configs)
    write('table5_x', model('a', Reference=True), model('b', Reference=True))
    with pytest.raises(ValueError, match='references a, b in group'):
        read_tables(configs)
    (tmp_path / 'configs' / 'a.py').unlink()
    with pytest.raises(FileNotFoundError, match=r"config 'configs/a.py' of .*metafile"):
        read_tables(configs)
    for text in ('', 'Models: 7', 'Models: [7]', '{', 'Models: [{Name: a}]'):
        (configs / 'table5_x' / 'metafile.yml').write_text(text)
        with pytest.raises(ValueError, match='is not a metafile with Models'):
            read_tables(configs)
