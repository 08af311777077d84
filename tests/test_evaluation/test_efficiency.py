# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Costs of networks: counts, memory, times, sweeps, reported figures and files."""

import csv
import itertools
import json
from pathlib import Path

import pytest
import torch
import yaml
from config_files import read
from mmaction.registry import MODELS
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config

from selfy_mmaction.evaluation.efficiency import measure as measuring
from selfy_mmaction.evaluation.efficiency.costs import training_memory
from selfy_mmaction.evaluation.efficiency.figure import draw_accuracy
from selfy_mmaction.evaluation.efficiency.measure import Row, Settings, Variant, measure
from selfy_mmaction.evaluation.efficiency.networks import build_untrained, clip_shape
from selfy_mmaction.evaluation.efficiency.report import show_table, write_results
from selfy_mmaction.evaluation.efficiency.reported import (
    Reported,
    find_reported,
    find_table,
)
from selfy_mmaction.evaluation.efficiency.variants import (
    parse_sweep,
    read_table,
    read_variants,
    sweep_variants,
)

ROOT = Path(__file__).parents[2]
MOTION = 'motion/{}-slim_1xb12-1x1x8-6e_motion-rgb.py'
PLAIN, SELFY, VIDEO = (
    MOTION.format(name) for name in ('tsn-r18', 'selfy-tsn-r18', 'selfy-timesformer')
)
STHV1 = 'selfy/tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py'
CPU = torch.device('cpu')
SETTINGS = Settings(CPU, batch_size=2, repeats=3)


def variant(name: str, reported: Reported | None = None, **model) -> Variant:
    config = read(name)
    config.model.update(model)
    return Variant(Path(name).stem, name, config, {}, reported)


def row(name: str, multiply_adds: float, latency=None, reported=None, **more) -> Row:
    return Row(
        variant(PLAIN, reported)._replace(name=name),
        multiply_adds=multiply_adds,
        latency=latency,
        **more,
    )


def paper(top1: float, dataset: str = 'Data', **more) -> Reported:
    return Reported('paper', dataset, {'Top 1 Accuracy': top1}, **more)


@pytest.mark.parametrize('name', [PLAIN, SELFY, VIDEO])
def test_counts_are_those_of_get_flops(name):
    (found,) = measure([variant(name)], SETTINGS._replace(measures=()))
    # As in mmaction2's get_flops.py.
    model = MODELS.build(read(name).model).eval()
    model.forward = model.extract_feat
    expected = get_model_complexity_info(model, found.shape, show_arch=False)
    assert found.errors == []
    assert found.multiply_adds == expected['flops'] > 1e6
    assert found.parameters == expected['params']
    assert found.training_bytes is found.latency is found.throughput is None


@pytest.mark.parametrize(
    ('name', 'given', 'expected'),
    [
        (STHV1, None, (8, 3, 224, 224)),
        (STHV1, [96], (8, 3, 96, 96)),
        (STHV1, [96, 128], (8, 3, 96, 128)),
        (STHV1, [8, 3, 50, 40], (8, 3, 50, 40)),
        # Of 10 clips with 3 crops, one counts.
        (
            'selfy/tsm-r50_8xb8-dense-1x1x16-65e_kinetics400-rgb.py',
            None,
            (16, 3, 256, 256),
        ),
        (VIDEO, None, (1, 3, 8, 64, 64)),
        (VIDEO, [32], (1, 3, 8, 32, 32)),
    ],
)
def test_shape_of_a_clip(name, given, expected):
    config = read(name)
    assert clip_shape(config, build_untrained(config), given) == expected


def test_shape_with_other_frames_than_the_network():
    config = read(STHV1)
    network = build_untrained(config)
    with pytest.raises(ValueError, match='16 frames, but the network takes clips of 8'):
        clip_shape(config, network, [16, 3, 64, 64])
    config = Config(dict(model=config.model))
    with pytest.raises(ValueError, match='give --shape T 3 H W'):
        clip_shape(config, network)


def test_no_weights_are_loaded():
    config = read(STHV1)
    config.model.backbone.pretrained = 'torchvision://resnet50'
    network = build_untrained(config)
    assert network.backbone.pretrained is None
    assert config.model.backbone.pretrained == 'torchvision://resnet50'


def test_training_memory():
    config, sizes = read(SELFY), []
    for batch_size in (1, 2, 3):
        network = build_untrained(config)
        args = network, config, (8, 3, 32, 32), batch_size, torch.float32
        sizes.append(training_memory(*args))
    weights = sum(parameter.nbytes for parameter in network.parameters())
    assert sizes[0] > 3 * weights  # with gradients and momentum
    first, second = (b - a for a, b in itertools.pairwise(sizes))
    assert first == pytest.approx(second, rel=0.1)
    # At least the uint8 and the normalized float32 clip.
    assert first > 5 * 8 * 3 * 32 * 32


def test_all_figures_and_their_order():
    first, second = measure([variant(PLAIN), variant(VIDEO)], SETTINGS)
    assert [first.variant.path, second.variant.path] == [PLAIN, VIDEO]
    for found in (first, second):
        assert found.errors == []
        assert 0 < found.latency[0] <= found.latency[1] <= found.latency[2]
        assert 0 < found.throughput[0] <= found.throughput[1] <= found.throughput[2]
        assert found.training_bytes > 0


@pytest.mark.slow
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    (found,) = measure([variant(SELFY)], SETTINGS._replace(dtype=dtype))
    assert found.errors == []
    assert found.latency[0] > 0
    assert found.training_bytes > 0


def test_throughput_of_one_clip_is_that_of_the_latency():
    (found,) = measure([variant(PLAIN)], SETTINGS._replace(batch_size=1))
    # Medians of three rounds.
    assert found.throughput[1] == pytest.approx(1 / found.latency[1])


def test_failures_do_not_stop_the_others():
    saved = []
    wrong = [
        variant(PLAIN, backbone=dict(type='NoBackbone')),
        variant(PLAIN, cls_head=dict(in_channels=7)),
    ]
    rows = measure(
        [*wrong, variant(PLAIN)],
        SETTINGS,
        lambda rows: saved.append([bool(row.parameters) for row in rows]),
    )
    assert 'building: KeyError' in rows[0].errors[0]
    assert 'NoBackbone' in rows[0].errors[0]
    # The head only runs in training and timing.
    assert [error.split(':')[0] for error in rows[1].errors] == [
        'training memory',
        'latency',
        'throughput',
    ]
    assert rows[1].multiply_adds == rows[2].multiply_adds
    assert rows[2].errors == []
    assert rows[2].latency
    # After each network and after the times.
    assert saved == [
        [False, False, False],
        [False, True, False],
        [False, True, True],
        [False, True, True],
    ]


def test_failure_in_a_later_round(monkeypatch):
    calls = []

    def forward_pass(network, shape, batch_size):
        def forward():
            calls.append(batch_size)
            if batch_size == 2 and calls.count(2) > 3:
                raise torch.OutOfMemoryError('out of memory')
            return torch.zeros(1)

        return forward

    monkeypatch.setattr(measuring, 'forward_pass', forward_pass)
    settings = SETTINGS._replace(measures=('time',))
    (found,) = measure([variant(PLAIN)], settings)
    assert found.errors == ['throughput: OutOfMemoryError: out of memory']
    assert found.throughput is None
    assert found.latency


def test_missing_operator_in_half_precision():
    found = row('a', 1)

    def fail():
        raise NotImplementedError('"erf" not implemented for \'Half\'')

    assert found.attempt('latency', fail) is None
    assert 'lacks the operator in half precision' in found.errors[0]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('offsets=(-1,0,1) (-2, 2)', {'offsets': [(-1, 0, 1), (-2, 2)]}),
        ('window=5  9 ', {'window': [5, 9]}),
        (
            'a.b=conv [1, 2] "two words" None',
            {'a.b': ['conv', [1, 2], 'two words', None]},
        ),
        ('x={"k": 1}', {'x': [{'k': 1}]}),
    ],
)
def test_values_of_a_sweep(text, expected):
    assert parse_sweep([text]) == expected


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['window'], 'must be NAME='),
        (['window='], 'must be NAME='),
        (['=5'], 'must be NAME='),
        (['window=(5'], 'unmatched bracket'),
        (['window=5)'], 'unmatched bracket'),
        (['x="a'], 'unmatched bracket or quote'),
        (['window=(5,a)'], 'neither a Python literal'),
        (['window=5', 'window=9'], 'window twice'),
        (['window=5 9 5'], 'the value 5 twice'),
    ],
)
def test_wrong_sweeps(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_sweep(texts)


def test_sweep_is_the_product_in_order():
    sweep = dict(offsets=[(0, 1), (-1, 0, 1)], window=[3, (3, 5)])
    found = sweep_variants(variant(SELFY), sweep)
    assert [each.name for each in found] == [
        'offsets=(0,1) window=3',
        'offsets=(0,1) window=(3,5)',
        'offsets=(-1,0,1) window=3',
        'offsets=(-1,0,1) window=(3,5)',
    ]
    blocks = [each.config.model.backbone.selfy.block for each in found]
    products = itertools.product(*sweep.values())
    assert [(block.offsets, block.window) for block in blocks] == [*products]
    rows = measure(found, SETTINGS._replace(measures=()))
    assert len({each.multiply_adds for each in rows}) == 4


@pytest.mark.parametrize(
    ('name', 'option', 'values'),
    [
        (VIDEO, 'window', [3, 5]),  # InsertBlocks
        (SELFY, 'extraction.channels', [(4, 8), (4, 16)]),
        (SELFY, 'model.backbone.depth', [18, 34]),
    ],
)
def test_options_of_a_sweep(name, option, values):
    found = sweep_variants(variant(name), {option: values})
    rows = measure(found, SETTINGS._replace(measures=()))
    assert rows[0].errors == rows[1].errors == []
    assert rows[0].multiply_adds != rows[1].multiply_adds


def test_option_of_a_default_block():
    base = variant(SELFY)
    base.config.model.backbone.selfy = dict(after='res3')
    found = sweep_variants(base, dict(window=[3], **{'integration.channels': [(8,)]}))
    block = found[0].config.model.backbone.selfy.block
    assert block == dict(window=3, integration=dict(channels=(8,)))


@pytest.mark.parametrize(
    ('name', 'sweep', 'message'),
    [
        (SELFY, dict(offset=[(0, 1)]), r"offset=.*no argument 'offset'.*\['offsets'\]"),
        (SELFY, dict(offsets=[(0, 1)], window=[5, 4]), 'window=4: .* odd integers'),
        (SELFY, {'model.bakbone.depth': [18]}, "model has no 'bakbone'.*backbone"),
        (SELFY, {'model.backbone.depth': [18, 19]}, 'depth=19'),
        (PLAIN, dict(window=[5]), 'has no block'),
    ],
)
def test_wrong_options_of_a_sweep(name, sweep, message):
    with pytest.raises(ValueError, match=message):
        sweep_variants(variant(name), sweep)


def test_wrong_changes_of_configs():
    path = str(ROOT / 'configs' / PLAIN)
    for key, message in (
        ('modell', "has no 'modell'; it has model"),
        ('model.backbone.depth.x', "model.backbone.depth is 18, which has no 'x'"),
        ('test_pipeline.99.type', "test_pipeline has no '99'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_variants([path], {key: 1})
    with pytest.raises(ValueError, match='given twice'):
        read_variants([path, path])


def test_configs_of_one_name(tmp_path):
    path = ROOT / 'configs' / PLAIN
    copy = tmp_path / path.name
    copy.write_text(f'_base_ = {str(path)!r}')
    found = read_variants([str(path), str(copy)])
    assert [each.name for each in found] == [str(path), str(copy)]


def test_table_of_the_paper():
    tables = yaml.safe_load((ROOT / 'tests/data/tables.yml').read_text())
    found = read_table('sup3g_efficiency')
    for each, figures in zip(
        found, tables['ablations']['sup3g_efficiency'], strict=True
    ):
        reported = each.reported
        assert reported.source == 'paper'
        assert list(reported.metrics.values()) == [figures['top1'], figures['top5']]
        assert reported.gflops == figures['gflops']
        assert reported.training_gb == figures['memory_gb']
        assert reported.inference_ms == figures['runtime_ms']
        assert each.config.model.cls_head.num_segments == figures['frames']
    # Rows with ensembles are omitted.
    assert len(find_table('sthv1_sthv2')) == 10
    with pytest.raises(ValueError, match='choose sup3g_efficiency'):
        find_table('sup3g_eficiency')


def test_reported_figures_of_a_config():
    found = find_reported(ROOT / 'configs' / STHV1)
    assert found.metrics['Top 1 Accuracy'] == 45.6
    assert found.training_gb == 8.2
    diving = 'selfy/tsm-r50_8xb8-1x1x16-30e_diving48-rgb.py'
    assert find_reported(ROOT / 'configs' / diving).note == '2 clips'
    assert find_reported(ROOT / 'configs' / PLAIN) is None
    # Another network has no reported figures; other data do not make one.
    path = str(ROOT / 'configs' / STHV1)
    for key, reported in (('model.backbone.shift_div', None), ('load_from', found)):
        (each,) = read_variants([path], {key: 4})
        assert each.reported == reported


def test_metafile_of_another_package(tmp_path):
    config = tmp_path / 'configs' / 'a.py'
    config.parent.mkdir()
    config.write_text('model = dict()')
    assert find_reported(config) is None
    (tmp_path / 'model-index.yml').write_text('Import: [m.yml]')
    metrics = {'Top 1 Accuracy': 70, 'Published': 'no'}
    models = [
        dict(
            Config='configs/a.py',
            Metadata=dict(FLOPs='3G'),
            Results=[dict(Dataset='K', Metrics=metrics)],
        )
    ]
    (tmp_path / 'm.yml').write_text(yaml.safe_dump(dict(Models=models)))
    expected = Reported('metafile', 'K', {'Top 1 Accuracy': 70.0})
    assert find_reported(config) == expected
    (tmp_path / 'm.yml').write_text('Models: [a.py')
    with pytest.raises(ValueError, match=r'm\.yml cannot be read as a metafile'):
        find_reported(config)


@pytest.fixture
def rows() -> list[Row]:
    full = row(
        'tsm-r50_8xb8, é | "x"',
        33e9,
        [0.1, 0.2, 0.4],
        paper(45.6, gflops=33.1, training_gb=8.2, inference_ms=15.6),
        shape=(8, 3, 224, 224),
        parameters=24_000_000,
        training_bytes=2**30,
        throughput=[5.0, 6.0, 8.0],
    )
    other = row('b', 2e9, reported=paper(50, note='2 clips'), errors=['latency: no'])
    return [full, other, row('c', None, errors=['building: wrong'])]


def test_files_can_be_read_back(rows, tmp_path):
    for name in ('a.json', 'a.CSV'):
        write_results(tmp_path / name, rows, SETTINGS)
    content = json.loads((tmp_path / 'a.json').read_text(encoding='utf-8'))
    assert content['settings']['dtype'] == 'float32'
    assert content['settings']['torch'] == torch.__version__
    assert content['settings']['threads'] == torch.get_num_threads()
    assert content['settings']['device_name']
    first, second, third = content['rows']
    assert first['name'] == rows[0].variant.name
    assert first['shape'] == '8x3x224x224'
    assert first['latency_ms_median'] == 200
    assert first['clips_per_second_q3'] == 8
    assert first['reported_top_1_accuracy'] == 45.6
    assert second['error'] == 'latency: no'
    assert third['multiply_adds'] is None
    with (tmp_path / 'a.CSV').open(encoding='utf-8', newline='') as file:
        lines = [*csv.DictReader(file)]
    assert [line['name'] for line in lines] == [
        each['name'] for each in content['rows']
    ]
    for line, each in zip(lines, content['rows'], strict=True):
        for key, value in {**each, **content['settings']}.items():
            assert line[key] == ('' if value is None else str(value))
    again = (tmp_path / 'a.json').read_bytes()
    write_results(tmp_path / 'a.json', rows, SETTINGS)
    assert (tmp_path / 'a.json').read_bytes() == again


def test_table_in_the_terminal(rows):
    table = show_table(rows, SETTINGS)
    header, _, first, *_ = table.splitlines()
    cells = dict(
        zip(header.split(' | '), first.replace('\\|', '/').split(' | '), strict=True)
    )
    assert cells['multiply-adds (G)'] == '33'
    assert cells['multiply-adds, paper (G)'] == '33.1'
    assert cells['training memory (GiB)'] == '1'
    assert cells['training memory, paper (GB)'] == '8.2'
    assert cells['latency (ms)'] == '200 (100 to 400)'
    assert cells['latency, paper (ms)'] == '15.6'
    assert 'Not measured on a GPU.' in table
    assert 'building: wrong' in table
    # Without them, there are no columns of the paper and no errors.
    plain = show_table([row('a', 1e9)], SETTINGS._replace(measures=()))
    assert plain.splitlines()[0] == '| network | multiply-adds (G) |'


def test_points_of_the_figure(rows, tmp_path):
    path = tmp_path / 'a.png'
    more = row('other', 5e9, reported=Reported('metafile', 'K', {'Top 1': 70}))
    figure = draw_accuracy(path, [*rows, more], SETTINGS)
    assert path.read_bytes().startswith(b'\x89PNG')
    left, right = figure.axes
    points = [(*line.get_xdata(), *line.get_ydata()) for line in left.lines]
    assert points == [(33, 45.6), (2, 50)]
    assert 'reported by the paper' in left.get_ylabel()
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ['tsm-r50, 8 frames', 'b, 0 frames (2 clips)']
    assert left.get_title() == 'Data'
    assert 'paper' not in right.get_ylabel()


def test_figure_over_latency(rows, tmp_path):
    figure = draw_accuracy(tmp_path / 'a.svg', rows, SETTINGS, 'latency')
    (axes,) = figure.axes
    (container,) = axes.containers
    line, _, (bars,) = container
    assert [*line.get_xdata(), *line.get_ydata()] == [200, 45.6]
    assert bars.get_segments()[0][:, 0].tolist() == pytest.approx([100, 400])
    assert 'latency of one clip (ms)' in axes.get_xlabel()
    with pytest.raises(ValueError, match='no network has both'):
        draw_accuracy(tmp_path / 'b.png', rows[1:], SETTINGS, 'latency')
    assert not (tmp_path / 'b.png').exists()


def test_points_look_different(tmp_path):
    many = [row(f'n{i}', i * 1e9, reported=paper(i)) for i in range(1, 30)]
    (axes,) = draw_accuracy(tmp_path / 'a.png', many, SETTINGS).axes
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == len(many)


def test_other_models_than_recognizers():
    config = Config(dict(model=dict(type='ResNet', depth=18, pretrained=None)))
    (found,) = measure([Variant('a', 'a', config, {})], SETTINGS)
    assert 'only recognizers of clips can be measured' in found.errors[0]
