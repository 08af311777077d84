# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What cannot stream is refused by name, with the reason."""

import pytest
import torch
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS
from streaming_networks import build, make_clips, offline
from torch import nn

from selfy_mmaction.deployment.streaming import StreamingRecognizer
from selfy_mmaction.models import ConvExtraction, insert_blocks


class Mine(ConvExtraction):
    pass


def shifted():
    network = build()
    stage = network.backbone.layer1
    stage[0].conv1.conv = TemporalShift(stage[0].conv1.conv, num_segments=8).eval()
    return network


def with_head(**attributes):
    network = build()
    for name, value in attributes.items():
        setattr(network.cls_head, name, value)
    return network


def with_batch_statistics():
    network = build()
    network.backbone.inserted_blocks['layer2'].reduction.conv.bn.running_mean = None
    return network


def with_step():
    network = build()
    block = network.backbone.inserted_blocks['layer2']
    block.extraction = Mine(window=(5, 3)).eval()
    return network


def with_hook():
    network = build()
    network.backbone.layer1.register_forward_hook(lambda *_: None)
    return network


def inserted(after, **spec):
    network = build(backbone=dict(selfy=None))
    block = dict(type='SELFYBlock', reduced_channels=4, window=3, num_segments=8)
    spec = dict(after=after, block=block | spec.pop('block', {}), **spec)
    insert_blocks(network.backbone, [spec], input_shape=(8, 3, 64, 64))
    return network.eval()


def into_recognizer():
    network = build(backbone=dict(selfy=None))
    block = dict(type='SELFYBlock', reduced_channels=4, window=3, num_segments=8)
    spec = dict(after='backbone.layer2', block=block)
    insert_blocks(network, [spec], input_shape=(8, 3, 64, 64))
    return network.eval()


def recognizer_3d():
    backbone = dict(type='ResNet3dSlowOnly', depth=18, pretrained=None)
    head = dict(type='I3DHead', num_classes=2, in_channels=512)
    return MODELS.build(
        dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    ).eval()


def other_host():
    network = build()
    network.backbone = MODELS.build(dict(type='MobileNetV2', pretrained=None))
    network.backbone.eval()  # returns None
    return network


def in_training():
    network = build()
    network.backbone.layer1.train()
    return network


CASES = {
    'tsm': (
        lambda: build(backbone=dict(type='ResNetTSMSELFY', pretrained2d=False)),
        'ResNetTSMSELFY cannot stream: each of its temporal shifts',
    ),
    'shift': (shifted, r'ResNetSELFY\.layer1\.0\.conv1\.conv \(TemporalShift\)'),
    '3d': (recognizer_3d, 'Recognizer3D cannot stream: .* 3D networks mix'),
    'other host': (other_host, 'the backbone MobileNetV2 cannot stream'),
    'inside a stage': (
        lambda: inserted('layer2.0'),
        "the block after 'layer2-0' cannot stream: it is inside a stage",
    ),
    'recognizer with blocks': (into_recognizer, 'blocks inserted into the recognizer'),
    'another block': (
        lambda: build(
            backbone=dict(selfy=dict(after='res3', block=dict(type='NonLocalBlock')))
        ),
        "the block NonLocalBlock after 'layer2' cannot stream",
    ),
    'own step': (with_step, "the extraction Mine of the block SELFYBlock after 'layer"),
    'another similarity': (
        lambda: inserted(
            'layer2', block=dict(transformation=dict(similarity='softmax'))
        ),
        "similarity='softmax' of the transformation of the block SELFYBlock after",
    ),
    'other ends': (
        lambda: inserted('layer2', block=dict(transformation=dict(clip_ends='repeat'))),
        "clip_ends='repeat' of the transformation",
    ),
    'norms of clips': (
        lambda: inserted(
            'layer2',
            block=dict(
                integration=dict(norm_scope='clip', channels=(4,)),
                norm_cfg=dict(type='GN', num_groups=1),
            ),
        ),
        "norm_scope='clip' of the integration .* its norms see all frames",
    ),
    'levels': (
        lambda: build(backbone=dict(out_indices=(2, 3))),
        r'out_indices=\(2, 3\) cannot stream: it returns several',
    ),
    'head': (lambda: with_head(avg_pool=None, spatial_type='x'), "spatial_type='x'"),
    'consensus': (lambda: with_head(consensus=nn.Identity()), 'consensus=Identity'),
    'pooled': (
        lambda: with_head(is_shift=True, temporal_pool=True),
        'temporal_pool=True; expected',
    ),
    'batch statistics': (
        with_batch_statistics,
        r'inserted_blocks\.layer2\.reduction\.conv\.bn .* without running statistics',
    ),
    'hook': (with_hook, "layer 'layer1' with a forward hook cannot stream"),
    'training': (in_training, r'backbone\.layer1 is in training mode.*network\.eval'),
}


@pytest.mark.parametrize(('make', 'message'), CASES.values(), ids=CASES)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        StreamingRecognizer(make())


def test_blocks_of_insert_blocks_stream():
    network = inserted('layer3', block=dict(zero_init_last_norm=False)).double()
    clips = make_clips(1, 8)
    out, _ = StreamingRecognizer(network).forward_steps(clips, pad_end=True)
    torch.testing.assert_close(out[:, -1], offline(network, clips)[1])


def test_a_deleted_block_does_not_run():
    network = build().double()
    del network.backbone.inserted_blocks['layer2']
    stream = StreamingRecognizer(network)
    assert stream.delay == 0
    clips = make_clips(1, 8)
    out, _ = stream.forward_steps(clips)
    torch.testing.assert_close(out[:, -1], offline(network, clips)[1])


def test_training_mode_after_construction():
    network = build()
    stream = StreamingRecognizer(network)
    with pytest.raises(ValueError, match='no training mode'):
        stream.train()
    network.train()
    with pytest.raises(ValueError, match=r'network\.eval\(\)'):
        stream.forward_step(torch.zeros(1, 3, 32, 32))
    stream.eval()
    stream.forward_step(torch.zeros(1, 3, 32, 32))


def test_invalid_frames_and_states():
    stream = StreamingRecognizer(build())
    _, state = stream.forward_step(torch.zeros(1, 3, 32, 32))
    for shape in ((2, 3, 32, 32), (1, 3, 64, 32)):
        with pytest.raises(ValueError, match='give the state of the last step'):
            stream.forward_step(torch.zeros(shape), state)
    for shape in ((3, 32, 32), (1, 1, 32, 32), (0, 3, 32, 32), (1, 8, 3, 32, 32)):
        with pytest.raises(ValueError, match=r'expected \(N, 3, H, W\)'):
            stream.forward_step(torch.zeros(shape))
    with pytest.raises(ValueError, match=r'expected \(N, T, 3, H, W\)'):
        stream(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r'expected \(N, T, 3, H, W\)'):
        stream.forward_steps(torch.zeros(1, 0, 3, 32, 32))
    frame = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'uint8, expected normalized .*preprocessor'):
        stream.forward_step(frame)
    with pytest.raises(ValueError, match='average_frames'):
        StreamingRecognizer(build(), average_frames=0)
