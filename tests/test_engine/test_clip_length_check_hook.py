# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
from mmaction.registry import HOOKS, MODELS, TRANSFORMS
from mmengine.dataset import Compose
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

WHENS = ['before_train', 'before_val', 'before_test']
BLOCK = dict(type='SELFYBlock', offsets=(-1, 0, 1))
TSN = dict(type='ResNet', depth=18)
C2D = dict(type='C2D', depth=18)
I3D = dict(type='ResNet3dSlowOnly', depth=18, base_channels=8)


def recognizer(**backbone):
    """Build a module with the attributes that the hook reads."""
    model = nn.Module()
    model.backbone = nn.Module()
    for name, value in backbone.items():
        setattr(model.backbone, name, value)
    return model


def with_block(host, *input_shape, after='layer2'):
    model = nn.Module()
    model.backbone = MODELS.build(
        dict(
            type='InsertBlocks',
            backbone=host,
            blocks=[dict(after=after, block=BLOCK)],
            input_shape=input_shape,
        )
    )
    return model


def make_dataset(sampler='SampleFrames', clip_len=1, **sample):
    steps = [TRANSFORMS.build(dict(type=sampler, clip_len=clip_len, **sample))]
    return SimpleNamespace(pipeline=Compose(steps))


class Loader:
    def __init__(self, dataset, num_batches=1):
        self.dataset = dataset
        self.num_batches = num_batches

    def __len__(self):
        return self.num_batches


def make_runner(model, **datasets):
    """Build a runner with the attributes that the hook reads, and given datasets."""
    loaders = {
        f'{name}_dataloader': Loader(dataset) for name, dataset in datasets.items()
    }
    val_loop = object() if 'val' in datasets else None
    return SimpleNamespace(
        model=model, train_loop=object(), val_loop=val_loop, **loaders
    )


def check(model, when='before_train', **sample):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    name = when.removeprefix('before_')
    getattr(hook, when)(make_runner(model, **{name: make_dataset(**sample)}))


@pytest.mark.parametrize('when', WHENS)
def test_another_clip_length_is_rejected(when):
    # 12 clips of 8 frames can be divided into clips of 16: nothing else would fail.
    with pytest.raises(ValueError, match='samples 8 frames .* num_segments=16'):
        check(recognizer(num_segments=16), when, clip_len=1, num_clips=8)


def test_validation_data_are_checked_before_training():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    right, wrong = make_dataset(num_clips=8), make_dataset(num_clips=4)
    hook.before_train(make_runner(recognizer(num_segments=8), train=right, val=right))
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_train(
            make_runner(recognizer(num_segments=8), train=right, val=wrong)
        )


def test_additional_training_loaders_are_checked():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    right, wrong = make_dataset(num_clips=8), make_dataset(num_clips=4)
    runner = make_runner(recognizer(num_segments=8), train=right)
    loaders = [runner.train_dataloader, SimpleNamespace(dataset=wrong)]
    runner.train_loop = SimpleNamespace(multi_loaders=loaders)
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_train(runner)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda dataset: SimpleNamespace(dataset=dataset),
        lambda dataset: SimpleNamespace(datasets=[make_dataset(num_clips=8), dataset]),
        lambda dataset: SimpleNamespace(
            dataset=SimpleNamespace(datasets=(SimpleNamespace(dataset=dataset),))
        ),
    ],
)
def test_wrapped_datasets_are_checked(wrap):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    dataset = wrap(make_dataset(num_clips=4))
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_test(make_runner(recognizer(num_segments=8), test=dataset))


def test_training_without_a_batch_is_rejected():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    runner = make_runner(recognizer(), train=[])
    runner.train_dataloader.num_batches = 0
    with pytest.raises(ValueError, match='0 clips, less than one batch'):
        hook.before_train(runner)


@pytest.mark.parametrize(
    ('processes', 'batch_size', 'fix'),
    [(1, 8, 'set train_dataloader.batch_size=7 or less'), (2, 4, 'batch_size=3 or')],
)
def test_training_with_less_than_a_batch_is_rejected(
    processes, batch_size, fix, monkeypatch
):
    monkeypatch.setattr(
        'selfy_mmaction.engine.data_check_hook.get_world_size', lambda: processes
    )
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    runner = make_runner(recognizer(), train=[0] * 7)
    runner.train_loop = object.__new__(EpochBasedTrainLoop)
    runner.train_dataloader.batch_size = batch_size
    match = f'7 clips, fewer than a batch of {batch_size} clips.*; .*{fix}'
    with pytest.raises(ValueError, match=match):
        hook.before_train(runner)
    runner.train_dataloader.batch_size = batch_size - 1
    hook.before_train(runner)


def test_more_processes_than_clips(monkeypatch):
    monkeypatch.setattr(
        'selfy_mmaction.engine.data_check_hook.get_world_size', lambda: 8
    )
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    runner = make_runner(recognizer(), train=[0] * 7)
    runner.train_loop = object.__new__(EpochBasedTrainLoop)
    runner.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match='on each of 8 .* at most 7 processes'):
        hook.before_train(runner)


def test_wrapped_samplers_are_checked():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    sampler = dict(type='SampleFrames', clip_len=1, num_clips=4)
    choice = dict(type='mmcv.RandomChoice', transforms=[[sampler], [sampler]])
    dataset = SimpleNamespace(pipeline=Compose([choice]))
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_test(make_runner(recognizer(num_segments=8), test=dataset))


@pytest.mark.parametrize('pipeline', [None, Compose([]), lambda info: info])
def test_pipeline_without_a_sampler_triggers_a_warning(pipeline, log):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    dataset = SimpleNamespace(pipeline=pipeline)
    hook.before_test(make_runner(recognizer(num_segments=8), test=dataset))
    assert 'pipeline of SimpleNamespace has no transform with clip_len' in log[0]


@pytest.mark.parametrize(
    'sample',
    [
        dict(clip_len=1, num_clips=8),
        dict(clip_len=8, num_clips=1),
        dict(clip_len=8, num_clips=10),  # ten clips of 8 frames
    ],
)
def test_equal_clip_length_passes(sample):
    check(recognizer(num_segments=8), **sample)
    check(with_block(TSN, 8, 3, 32, 32), **sample)


def test_backbone_without_a_clip_length_is_not_checked():
    check(recognizer(), clip_len=1, num_clips=8)


@pytest.mark.parametrize('when', WHENS)
def test_clip_length_of_an_inserted_block_is_checked(when):
    model = with_block(TSN, 8, 3, 32, 32)
    with pytest.raises(ValueError, match="16 frames .* after 'layer2' .* 8 frames"):
        check(model, when, clip_len=1, num_clips=16)


def test_clip_length_of_an_inserted_block_is_that_of_the_input():
    # C2D pools over time before layer2: its features have 4 of 8 frames.
    model = with_block(C2D, 1, 3, 8, 32, 32)
    check(model, clip_len=8, num_clips=1)
    with pytest.raises(ValueError, match='4 frames .* clips of 8 frames'):
        check(model, clip_len=4, num_clips=1)


def test_block_in_a_3d_network_accepts_any_clip_length():
    check(with_block(I3D, 1, 3, 8, 32, 32), clip_len=16, num_clips=1)


def test_block_inserted_into_a_recognizer_is_checked():
    head = dict(type='TSNHead', num_classes=2, in_channels=512)
    cfg = dict(type='Recognizer2D', backbone=TSN, cls_head=head)
    model = with_block(cfg, 8, 3, 32, 32, after='backbone.layer2').backbone
    with pytest.raises(ValueError, match="after 'backbone.layer2'"):
        check(model, clip_len=1, num_clips=16)


@pytest.mark.parametrize('head_segments', [4, 16])
def test_head_is_checked(head_segments):
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='ResNetTSMSELFY', depth=18, num_segments=8),
            cls_head=dict(
                type='TSMHead',
                num_classes=2,
                in_channels=512,
                num_segments=head_segments,
            ),
        )
    )
    match = f'8 frames .* the head has num_segments={head_segments}'
    with pytest.raises(ValueError, match=match):
        check(model, clip_len=1, num_clips=8)


@pytest.mark.parametrize('part', ['backbone', 'cls_head'])
def test_one_segment_does_not_fit_a_clip_of_eight(part):
    # The frames of a clip would be predicted separately, and nothing else would fail.
    options = dict(
        backbone=dict(type='ResNetTSMSELFY', depth=18, num_segments=8),
        cls_head=dict(type='TSMHead', num_classes=2, in_channels=512, num_segments=8),
    )
    options[part]['num_segments'] = 1
    model = MODELS.build(dict(type='Recognizer2D', **options))
    with pytest.raises(ValueError, match='samples 8 frames .* num_segments=1'):
        check(model, clip_len=1, num_clips=8)


@pytest.mark.parametrize(('backbone', 'head'), [(8, 16), (16, 8)])
def test_parts_that_each_fit_the_pipeline_must_agree(backbone, head):
    backbone = dict(type='ResNetSELFY', depth=18, num_segments=backbone)
    cls_head = dict(type='TSMHead', num_classes=2, in_channels=512, num_segments=head)
    model = MODELS.build(
        dict(type='Recognizer2D', backbone=backbone, cls_head=cls_head)
    )
    with pytest.raises(ValueError, match='the backbone has .*, but the head has'):
        check(model, clip_len=8, num_clips=2)


def test_neck_and_backbone_must_agree():
    backbone = dict(type='ResNetSELFY', depth=18, num_segments=16, out_indices=(1, 3))
    model = with_neck('Recognizer2D', backbone, 'TSNHead')
    with pytest.raises(ValueError, match='the backbone has .*, but the neck has'):
        check(model, clip_len=8, num_clips=2)


def test_head_after_a_neck_has_one_segment():
    backbone = dict(TSN, out_indices=(1, 3))
    model = with_neck('Recognizer2D', backbone, 'TSMHead')
    model.cls_head.num_segments = 1
    check(model, clip_len=1, num_clips=8)
    model.cls_head.num_segments = 8
    with pytest.raises(ValueError, match='head has num_segments=8.*set num_segments=1'):
        check(model, clip_len=1, num_clips=8)


def with_neck(kind, backbone, head):
    neck = dict(
        type='SELFYNeck',
        in_channels=(128, 512),
        num_segments=8,
        block=dict(offsets=(-1, 0, 1), reduced_channels=8),
    )
    head = dict(type=head, num_classes=2, in_channels=512)
    return MODELS.build(dict(type=kind, backbone=backbone, neck=neck, cls_head=head))


def test_clip_length_of_a_neck_is_checked():
    model = with_neck('Recognizer2D', dict(TSN, out_indices=(1, 3)), 'TSNHead')
    check(model, clip_len=1, num_clips=8)
    with pytest.raises(ValueError, match='16 frames .* the neck has num_segments=8'):
        check(model, clip_len=1, num_clips=16)


def test_neck_after_temporal_strides_is_not_checked():
    backbone = dict(I3D, out_indices=(1, 3), conv1_stride_t=2)
    check(with_neck('Recognizer3D', backbone, 'I3DHead'), clip_len=16, num_clips=1)


def test_sampler_with_one_length_per_modality_is_ignored():
    sample = dict(clip_len=dict(RGB=8, Pose=32), num_clips=1)
    check(recognizer(), sampler='MMUniformSampleFrames', **sample)
