# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""SELFY_DECODER sets the decoder of every config."""

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmaction.apis import ActionRecogInferencer, inference_recognizer, init_recognizer
from mmaction.registry import DATASETS
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / 'configs'
DATASETS_OF_THE_PAPER = [
    path.stem
    for path in sorted((ROOT / '_base_' / 'datasets').glob('*.py'))
    if not path.stem.startswith(('motion', 'own'))
]
NAMES = ['Moving something up', 'Pushing something from left to right']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two clips as videos and as frames; frame i of 40 has gray level 6 i."""
    root = tmp_path_factory.mktemp('sth')
    (root / 'videos').mkdir()
    for name in ('1', '2'):
        folder = root / 'rawframes' / name
        folder.mkdir(parents=True)
        video = cv2.VideoWriter(
            str(root / 'videos' / f'{name}.avi'),
            cv2.VideoWriter_fourcc(*'MJPG'),
            12,
            (426, 240),
        )
        for number in range(40):
            image = np.full((240, 426, 3), 6 * number, np.uint8)
            video.write(image)
            assert cv2.imwrite(str(folder / f'img_{number + 1:05}.jpg'), image)
        video.release()
    (root / 'videos.txt').write_text('1.avi 0\n2.avi 1\n')
    (root / 'rawframes.txt').write_text('1 40 0\n2 40 1\n')
    (root / 'classes.txt').write_text('\n'.join(NAMES))
    return root


def on_data(config, data):
    """Change a config of SS-V2 to read the two clips."""
    for loader in ('train', 'val', 'test'):
        dataset = config[f'{loader}_dataloader'].dataset
        for key, folder in dataset.data_prefix.items():
            dataset.data_prefix[key] = str(data / Path(folder).name)
            dataset.ann_file = str(data / f'{Path(folder).name}.txt')
        dataset.num_classes = len(NAMES)
        for step in dataset.pipeline:
            if step.type == 'SelectiveFlip':
                step.class_names = str(data / 'classes.txt')
    return config


@pytest.mark.parametrize(
    ('decoder', 'steps', 'kind'),
    [
        (None, ['DecordInit', 'DecordDecode'], 'Video'),
        ('OpenCV', ['OpenCVInit', 'OpenCVDecode'], 'Video'),
        ('PyAV', ['PyAVInit', 'PyAVDecode'], 'Video'),
        ('RawFrame', ['RawFrameDecode'], 'Rawframe'),
    ],
)
@pytest.mark.parametrize('name', DATASETS_OF_THE_PAPER)
def test_one_override_for_every_dataset(name, decoder, steps, kind, monkeypatch):
    monkeypatch.delenv('SELFY_DECODER', raising=False)
    if decoder:
        monkeypatch.setenv('SELFY_DECODER', decoder)
    elif name.startswith('sthv1'):  # the official download has frames
        steps, kind = ['RawFrameDecode'], 'Rawframe'
    config = Config.fromfile(ROOT / '_base_' / 'datasets' / f'{name}.py')
    for loader in ('train', 'val', 'test'):
        dataset = config[f'{loader}_dataloader'].dataset
        types = [step.type for step in dataset.pipeline]
        assert [t for t in types if 'Init' in t or 'Decode' in t] == steps
        assert dataset.type == f'Checked{kind}Dataset'
        assert list(dataset.data_prefix) == [dict(Video='video', Rawframe='img')[kind]]
        ending = dict(Video='_list_videos.txt', Rawframe='_list_rawframes.txt')[kind]
        assert dataset.ann_file.endswith(ending)
        assert ('filename_tmpl' in dataset) == (kind == 'Rawframe')
        # Only the reading changes.
        default = [t for t in types if 'Init' not in t and 'Decode' not in t]
        assert default[0] in ('SampleFrames', 'DenseSampleFrames')
        assert default[-1] == 'PackActionInputs'
    assert config.test_pipeline == config.test_dataloader.dataset.pipeline


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV', 'PIMS', 'RawFrame'])
@pytest.mark.parametrize('loader', ['train', 'val'])
def test_decoders_read_the_same_clips(data, decoder, loader, monkeypatch):
    monkeypatch.setenv('SELFY_DECODER', decoder)
    config = Config.fromfile(ROOT / '_base_' / 'datasets' / 'sthv2.py')
    dataset = DATASETS.build(on_data(config, data)[f'{loader}_dataloader'].dataset)
    for index in range(2):
        np.random.seed(index)
        expected = np.arange(8) * 5
        expected += np.random.randint(5, size=8) if loader == 'train' else 2
        np.random.seed(index)
        random.seed(index)
        sample = dataset[index]
        assert sample['inputs'].shape == (8, 3, 224, 224)
        assert sample['data_samples'].gt_label.item() == index
        values = sample['inputs'].float().mean((1, 2, 3)).numpy()
        np.testing.assert_allclose(values, 6 * expected, atol=2.5)


@pytest.fixture(scope='module')
def config(data):
    config = Config.fromfile(
        ROOT / 'ablations' / 'selfy-tsn-r18_8xb8-1x1x8-50e_sthv1-rgb.py'
    )
    config.model.backbone.pretrained = None
    sthv2 = Config.fromfile(ROOT / '_base_' / 'datasets' / 'sthv2.py')
    for key in ('test_pipeline', 'test_dataloader'):
        config[key] = sthv2[key]
    return config


def test_inference_recognizer_reads_a_video(config, data):
    model = init_recognizer(config, device='cpu')
    result = inference_recognizer(model, str(data / 'videos' / '1.avi'))
    assert result.pred_score.shape == (174,)


@pytest.mark.parametrize('input_format', ['video', 'rawframes', 'array'])
def test_inferencer_replaces_the_reading_transforms(data, input_format, tmp_path):
    # mmaction2's inferencer searches for the names of the transforms.
    path = ROOT / 'ablations' / 'selfy-tsn-r18_8xb8-1x1x8-50e_sthv1-rgb.py'
    config = Config.fromfile(path)
    config.model.backbone.pretrained = None
    config.dump(tmp_path / 'config.py')
    inputs = {
        'video': str(data / 'videos' / '1.avi'),
        'rawframes': str(data / 'rawframes' / '1'),
        'array': np.zeros((20, 240, 320, 3), np.uint8),
    }[input_format]
    inferencer = ActionRecogInferencer(
        str(tmp_path / 'config.py'), device='cpu', input_format=input_format
    )
    (prediction,) = inferencer(inputs)['predictions']
    assert len(prediction['pred_scores']) == 174
