# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
from mmaction.registry import HOOKS, MODELS, TRANSFORMS
from mmengine.dataset import Compose
from torch import nn

WHENS = ['before_train', 'before_val', 'before_test']
BLOCK = dict(type='SELFYBlock', offsets=(-1, 0, 1))
TSN = dict(type='ResNet', depth=18)
C2D = dict(type='C2D', depth=18)
I3D = dict(type='ResNet3dSlowOnly', depth=18, base_channels=8)


def recognizer(**backbone):
    """A module with a backbone, as far as the hook looks."""
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
    """As far as the hook looks; a dataset is there only if it is given."""
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
def test_other_clip_length_is_refused(when):
    # 12 clips of 8 frames divide into clips of 16 frames: nothing else would fail.
    with pytest.raises(ValueError, match='samples 8 frames .* num_segments=16'):
        check(recognizer(num_segments=16), when, clip_len=1, num_clips=8)


def test_the_validation_data_are_checked_before_training():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    right, wrong = make_dataset(num_clips=8), make_dataset(num_clips=4)
    hook.before_train(make_runner(recognizer(num_segments=8), train=right, val=right))
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_train(
            make_runner(recognizer(num_segments=8), train=right, val=wrong)
        )


def test_other_loaders_of_a_training_are_checked():
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


def test_a_training_without_a_batch_is_refused():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    runner = make_runner(recognizer(), train=[])
    runner.train_dataloader.num_batches = 0
    with pytest.raises(ValueError, match='0 clips, less than one batch'):
        hook.before_train(runner)


def test_wrapped_samplers_are_checked():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    sampler = dict(type='SampleFrames', clip_len=1, num_clips=4)
    choice = dict(type='mmcv.RandomChoice', transforms=[[sampler], [sampler]])
    dataset = SimpleNamespace(pipeline=Compose([choice]))
    with pytest.raises(ValueError, match='samples 4 frames'):
        hook.before_test(make_runner(recognizer(num_segments=8), test=dataset))


@pytest.mark.parametrize('pipeline', [None, Compose([]), lambda info: info])
def test_a_pipeline_that_cannot_be_compared_is_named(pipeline, log):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    dataset = SimpleNamespace(pipeline=pipeline)
    hook.before_test(make_runner(recognizer(num_segments=8), test=dataset))
    assert 'pipeline of SimpleNamespace has no step with clip_len' in log[0]


@pytest.mark.parametrize(
    'sample',
    [
        dict(clip_len=1, num_clips=8),
        dict(clip_len=8, num_clips=1),
        dict(clip_len=8, num_clips=10),  # ten clips, one after the other
    ],
)
def test_same_clip_length_passes(sample):
    check(recognizer(num_segments=8), **sample)
    check(with_block(TSN, 8, 3, 32, 32), **sample)


def test_a_backbone_without_clips_is_left_alone():
    check(recognizer(), clip_len=1, num_clips=8)


@pytest.mark.parametrize('when', WHENS)
def test_frames_that_an_inserted_block_would_group_wrongly_are_refused(when):
    model = with_block(TSN, 8, 3, 32, 32)
    with pytest.raises(ValueError, match="16 frames .* after 'layer2' .* 8 frames"):
        check(model, when, clip_len=1, num_clips=16)


def test_clips_whose_features_have_fewer_frames_are_counted_at_the_input():
    # C2D pools over time before layer2: its features have 4 of 8 frames.
    model = with_block(C2D, 1, 3, 8, 32, 32)
    check(model, clip_len=8, num_clips=1)
    with pytest.raises(ValueError, match='4 frames .* clips of 8 frames'):
        check(model, clip_len=4, num_clips=1)


def test_features_that_show_their_frames_may_have_any_number():
    check(with_block(I3D, 1, 3, 8, 32, 32), clip_len=16, num_clips=1)


def test_blocks_inserted_into_the_whole_recognizer_are_found():
    head = dict(type='TSNHead', num_classes=2, in_channels=512)
    cfg = dict(type='Recognizer2D', backbone=TSN, cls_head=head)
    model = with_block(cfg, 8, 3, 32, 32, after='backbone.layer2').backbone
    with pytest.raises(ValueError, match="after 'backbone.layer2'"):
        check(model, clip_len=1, num_clips=16)


@pytest.mark.parametrize('head_segments', [4, 16])
def test_the_head_is_checked(head_segments):
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


def test_the_head_after_a_neck_has_one_segment():
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


def test_frames_that_a_neck_would_group_wrongly_are_refused():
    model = with_neck('Recognizer2D', dict(TSN, out_indices=(1, 3)), 'TSNHead')
    check(model, clip_len=1, num_clips=8)
    with pytest.raises(ValueError, match='16 frames .* the neck has num_segments=8'):
        check(model, clip_len=1, num_clips=16)


def test_frames_of_a_neck_behind_strides_over_time_are_not_those_of_the_pipeline():
    backbone = dict(I3D, out_indices=(1, 3), conv1_stride_t=2)
    check(with_neck('Recognizer3D', backbone, 'I3DHead'), clip_len=16, num_clips=1)


def test_samplers_with_a_length_for_each_modality_do_not_matter():
    sample = dict(clip_len=dict(RGB=8, Pose=32), num_clips=1)
    check(recognizer(), sampler='MMUniformSampleFrames', **sample)
