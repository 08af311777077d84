# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Errors name what is wrong before a video is read."""

import pytest
import torch
from mmaction.models import TSMHead
from mmaction.registry import MODELS
from mmengine.config import Config

from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.network import find_class_names, read_config

OURS = 'motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'


def load(config, checkpoint, **options):
    return Predictor(config, checkpoint, device='cpu', **options)


def changed(files, tmp_path, change):
    """Write a checkpoint whose content was changed."""
    content = torch.load(files.checkpoint, weights_only=True)
    change(content)
    path = tmp_path / 'changed.pth'
    torch.save(content, path)
    return path


def test_configs_by_name_path_and_object(files):
    by_name, name = read_config(f'selfy_mmaction::{OURS}')
    assert by_name.model.cls_head.num_classes == 12
    assert name == f'selfy_mmaction::{OURS}'
    assert read_config(files.config)[0].model.cls_head.num_classes == 4
    config = Config.fromfile(files.config)
    copy, _ = read_config(config)
    copy.model.cls_head.num_classes = 9
    assert config.model.cls_head.num_classes == 4


def test_wrong_configs(files, tmp_path):
    for name in ('none.py', 'selfy_mmaction::none.py'):
        with pytest.raises(FileNotFoundError, match=f"config '{name}'"):
            load(name, files.checkpoint)
    with pytest.raises(TypeError, match='config is int'):
        load(3, files.checkpoint)
    wrong = tmp_path / 'wrong.py'
    for text, message in (
        ('model = (', r'wrong\.py cannot be read as a config: SyntaxError'),
        ('x = 1', r'wrong\.py has no model'),
        ('model = dict(type="Recognizer2D")', r'wrong\.py has no test pipeline'),
        (
            'model = dict()\ntest_pipeline = [dict(type="FormatShape", '
            'input_format="NCHW")]',
            'does not read videos.*not FormatShape',
        ),
        (
            'model = dict()\ntest_pipeline = [dict(type="RawFrameDecode")]',
            'does not read videos.*not RawFrameDecode',
        ),
        ('model = dict()\ntest_pipeline = [dict(type="Nonsense")]', 'Nonsense'),
        (f'_base_ = "{files.config}"\nmodel = dict(type="Nonsense")', 'Nonsense'),
    ):
        wrong.write_text(text)
        with pytest.raises(ValueError, match=message):
            load(wrong, files.checkpoint)


def test_pipeline_of_the_test_dataset_or_test_pipeline(files, clips):
    config = Config.fromfile(files.config)
    config.test_pipeline = None
    assert [*load(config, files.checkpoint).predict(clips[0])]
    config = Config.fromfile(files.config)
    config.test_dataloader = None
    assert [*load(config, files.checkpoint).predict(clips[0])]
    # As in test.py, the pipeline of the dataset wins.
    config = Config.fromfile(files.config)
    expected = [*load(config, files.checkpoint).predict(clips[0])][0].probabilities
    config.test_pipeline[3] = dict(type='Resize', scale=(64, 64), keep_ratio=False)
    dataset = config.test_dataloader.dataset
    config.test_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dataset
    )
    (result,) = load(config, files.checkpoint).predict(clips[0])
    assert (result.probabilities == expected).all()


def test_config_and_checkpoint_belong_together(files):
    with pytest.raises(ValueError, match='needs a checkpoint'):
        load(files.config, None)
    with pytest.raises(ValueError, match='needs its config'):
        load(None, files.checkpoint)


def test_wrong_checkpoints(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint 'none\.pth'"):
        load(files.config, 'none.pth')
    damaged = tmp_path / 'damaged.pth'
    for content in (b'', b'no checkpoint', files.checkpoint.read_bytes()[:5000]):
        damaged.write_bytes(content)
        with pytest.raises(ValueError, match=r'damaged\.pth cannot be loaded'):
            load(files.config, damaged)
    for content in ([1, 2], dict(state_dict=3), dict(state_dict=dict(a='b'))):
        torch.save(content, damaged)
        with pytest.raises(ValueError, match=r'damaged\.pth cannot be loaded'):
            load(files.config, damaged)


def test_weights_of_another_network(files, tmp_path):
    def drop(content):
        del content['state_dict']['cls_head.fc_cls.bias']

    with pytest.raises(ValueError, match=r'changed\.pth: .*bias is \(4,\).*missing'):
        load(files.config, changed(files, tmp_path, drop))
    config = Config.fromfile(files.config)
    config.model.cls_head.num_classes = 5
    with pytest.raises(ValueError, match=r'classifier.*\(5, 64\).*\(4, 64\)'):
        load(config, files.checkpoint)
    with pytest.raises(ValueError, match='which the network lacks'):
        load(f'selfy_mmaction::{OURS.replace("selfy-tsn", "tsn")}', files.checkpoint)


def test_weights_of_a_distributed_model(files, tmp_path):
    def wrap(content):
        weights = content.pop('state_dict')
        content.clear()
        content.update({f'module.{key}': value for key, value in weights.items()})

    predictor = load(files.config, changed(files, tmp_path, wrap))
    original = torch.load(files.checkpoint)['state_dict']
    for key, value in predictor.model.state_dict().items():
        assert (value == original[key]).all()
    assert predictor.class_names == ['0', '1', '2', '3']


def test_class_names_in_order_of_preference(files, names, tmp_path):
    config = Config.fromfile(files.config)
    meta = dict(dataset_meta=dict(classes=names))
    path = tmp_path / 'classes.txt'
    path.write_text('ü\nb b\nc\n4\n', encoding='utf-8')
    config.test_dataloader.dataset.class_file = str(path)
    of_file = ['ü', 'b b', 'c', '4']
    assert find_class_names(['p', 'q', 'r', 's'], meta, config, 4) == [*'pqrs']
    assert find_class_names(path, meta, config, 4) == of_file
    assert find_class_names(None, meta, config, 4) == [*names]
    assert find_class_names(None, {}, config, 4) == of_file
    path.unlink()
    assert find_class_names(None, {}, config, 4) == [*'0123']
    with pytest.raises(FileNotFoundError, match=r'classes\.txt'):
        find_class_names(path, meta, config, 4)


def test_wrong_number_of_class_names(files, tmp_path):
    path = tmp_path / 'three.txt'
    path.write_text('a\nb\nc\n')
    with pytest.raises(ValueError, match=r'three\.txt has 3 class names.* 4 classes'):
        load(files.config, files.checkpoint, classes=path)

    def shorten(content):
        content['meta']['dataset_meta'] = dict(classes=('a', 'b'))

    checkpoint = changed(files, tmp_path, shorten)
    with pytest.raises(ValueError, match='the checkpoint has 2 class names'):
        load(files.config, checkpoint)
    assert load(files.config, checkpoint, classes=['a', 'b', 'c', 'd']).class_names


def test_head_without_its_class_file(files, tmp_path):
    """The number of classes is that of the checkpoint."""

    @MODELS.register_module(force=True)
    class HeadOfClassFile(TSMHead):
        def __init__(self, *args, class_file, num_classes=None, **kwargs):
            if num_classes is None:
                raise FileNotFoundError(class_file)
            super().__init__(num_classes, *args, **kwargs)

    config = Config.fromfile(files.config)
    config.model.cls_head.update(
        type='HeadOfClassFile', class_file='none.txt', num_classes=None
    )
    assert load(config, files.checkpoint).num_classes == 4
    config.model.cls_head.num_classes = 5
    with pytest.raises(ValueError, match='classifier'):
        load(config, files.checkpoint)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(top_k=0), 'top_k must be an integer from 1'),
        (dict(top_k=2.5), 'top_k'),
        (dict(batch_size=0), 'batch_size'),
        (dict(device='gpu'), "device 'gpu' cannot be used"),
        (dict(device='cuda:99'), "device 'cuda:99' cannot be used"),
    ],
)
def test_wrong_options(files, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor(*files, **options)


def test_more_classes_than_there_are(files, clips):
    (result,) = load(*files, top_k=100).predict(clips[0])
    assert len(result.top) == 4
