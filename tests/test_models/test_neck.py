# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from small_blocks import SMALL_BLOCK
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.ops import self_similarity_loops

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'mixing.md'
CHANNELS = (6, 5, 10)


def build_neck(**kwargs) -> nn.Module:
    """Build a neck for levels with 6, 5 and 10 channels, in evaluation mode."""
    torch.manual_seed(0)
    block = {**SMALL_BLOCK, **kwargs.pop('block', {})}
    cfg = dict(type='SELFYNeck', in_channels=CHANNELS, num_segments=3, block=block)
    neck = MODELS.build({**cfg, **kwargs}).eval()
    neck.init_weights()
    return neck


def make_levels(num_frames=(3, 3, 3), num_clips=2, size=16) -> list[torch.Tensor]:
    return [
        torch.randn(num_clips, channels, length, size >> depth, size >> depth)
        for depth, (channels, length) in enumerate(
            zip(CHANNELS, num_frames, strict=True)
        )
    ]


def test_interface_of_necks():
    out, loss_aux = build_neck()(make_levels(), data_samples=[None, None])
    assert out.shape == (2, 10, 1, 4, 4)
    assert loss_aux == {}


@pytest.mark.parametrize('relu', ['before', 'none', 'after'])
@pytest.mark.parametrize('level', [0, 1])
def test_values_match_the_steps(level, relu):
    neck = build_neck(level=level, block=dict(fusion=dict(relu=relu)))
    levels = make_levels()
    block, clips = neck.block, []
    for clip, last in zip(levels[level], levels[-1], strict=True):
        reduced = block.reduction(clip.transpose(0, 1))
        stss = self_similarity_loops(reduced, (-1, 0, 1), (5, 5), 3)
        motion = block.integration(block.extraction(stss))  # (T, C, h, w)
        cells = motion.size(-1) // 4
        motion = motion.unflatten(-1, (4, cells)).unflatten(-3, (4, cells))
        motion = motion.mean((-1, -3)).transpose(0, 1)
        fused = dict(
            before=last + motion.relu(),
            none=last + motion,
            after=(last + motion).relu(),
        )
        clips.append(fused[relu].mean(1))
    out, _ = neck(levels)
    torch.testing.assert_close(out.squeeze(2), torch.stack(clips))


def test_parameter_names_are_those_of_the_block():
    block = MODELS.build(dict(SMALL_BLOCK, in_channels=6))
    names = {f'block.{name}' for name in block.state_dict()}
    assert set(build_neck().state_dict()) == names


def test_clips_do_not_mix():
    levels = make_levels(num_frames=(12, 12, 12))
    out, _ = build_neck()(levels)
    assert out.shape == (2 * 4, 10, 1, 4, 4)
    clips = [[level[:, :, t : t + 3] for level in levels] for t in (0, 3, 6, 9)]
    one_by_one = torch.stack([build_neck()(clip)[0] for clip in clips], 1)
    torch.testing.assert_close(out, one_by_one.flatten(0, 1))


def test_3d_networks_use_the_length_of_the_input():
    neck = build_neck(num_segments=None)
    for length in (2, 8):
        levels = make_levels((length,) * 3)
        out, _ = neck(levels)
        assert torch.equal(out, build_neck(num_segments=length)(levels)[0])


def test_last_level_with_fewer_frames():
    """Each frame of the last level counts for two frames of ``level``."""
    levels = make_levels((4, 4, 2))
    neck = build_neck(num_segments=None)
    longer = levels[-1][:, :, (0, 0, 1, 1)]
    assert torch.equal(neck(levels)[0], neck([*levels[:-1], longer])[0])


@pytest.mark.parametrize('size', [(9, 7), (3, 2)])
def test_average_over_the_positions(size):
    """Averages go from floor(i * H / h) to ceil((i + 1) * H / h), also for odd H."""
    x = torch.randn(2, 3, *size)
    restoration = MODELS.build(dict(type='UpsampleRestoration', mode='area'))
    out = restoration(x, (4, 4))
    for i in range(4):
        for j in range(4):
            rows = slice(i * size[0] // 4, -((i + 1) * size[0] // -4))
            cols = slice(j * size[1] // 4, -((j + 1) * size[1] // -4))
            expected = x[..., rows, cols].mean((-2, -1))
            torch.testing.assert_close(out[..., i, j], expected)


def test_checkpointing_changes_no_result():
    grads = []
    for with_cp in (False, True):
        neck = build_neck(block=dict(with_cp=with_cp)).train()
        torch.manual_seed(0)
        levels = [level.requires_grad_() for level in make_levels()]
        neck(levels)[0].square().sum().backward()
        grads.append(
            [levels[0].grad, levels[2].grad, *(p.grad for p in neck.parameters())]
        )
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert all(grad.any() for grad in grads[0][:2])


def test_autocast():
    neck, levels = build_neck(), make_levels()
    expected, _ = neck(levels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out, _ = neck(levels)
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in neck.parameters())
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


def test_figures_of_the_docs():
    neck = dict(type='SELFYNeck', in_channels=(512, 2048), num_segments=8)
    neck = MODELS.build(neck).to('meta').eval()
    levels = [(1, 512, 8, 28, 28), (1, 2048, 8, 7, 7)]
    with FlopCounterMode(display=False) as counter:
        neck([torch.zeros(level, device='meta') for level in levels])
    parameters = sum(parameter.numel() for parameter in neck.parameters())
    multiply_adds = counter.get_total_flops() / 2
    figures = f'{parameters / 1e6:.2f}M parameters and {multiply_adds / 1e9:.2f}G'
    assert figures in ' '.join(DOCS.read_text().split())


def test_every_parameter_is_in_exactly_one_group(grouped_parameters):
    grouped, all_parameters = grouped_parameters(build_neck())
    assert grouped == all_parameters


class Host(NamedTuple):
    """A recognizer, changes to its head after a neck, and arguments of the neck."""

    recognizer: str
    backbone: dict
    out_indices: tuple[int, int]
    head: dict
    after_neck: dict
    channels: tuple[int, int]
    num_segments: int | None
    clip: tuple[int, ...]

    def build(self, with_neck: bool, test_cfg=None) -> nn.Module:
        torch.manual_seed(0)
        head = dict(num_classes=3, dropout_ratio=0, average_clips='score', init_std=1)
        head.update(in_channels=self.channels[1], **self.head)
        backbone = dict(self.backbone, out_indices=self.out_indices[not with_neck :])
        cfg = dict(type=self.recognizer, backbone=backbone, test_cfg=test_cfg)
        if with_neck:
            head.update(self.after_neck)
            cfg['neck'] = dict(
                type='SELFYNeck',
                in_channels=self.channels,
                num_segments=self.num_segments,
                block=SMALL_BLOCK,
            )
        model = MODELS.build(dict(cfg, cls_head=head))
        model.init_weights()
        model.eval()
        return model


TSM = dict(type='ResNetTSM', depth=18, num_segments=4, pretrained2d=False)
TSM_HEADS = dict(type='TSMHead', num_segments=4), dict(num_segments=1)
I3D_HEADS = dict(type='I3DHead'), {}
FRAMES, CLIP = (4, 3, 32, 32), (1, 3, 4, 32, 32)
HOSTS = dict(
    tsn=Host('Recognizer2D', dict(type='ResNet', depth=18), (1, 3),
             dict(type='TSNHead'), {}, (128, 512), 4, FRAMES),
    tsm=Host('Recognizer2D', TSM, (1, 3), *TSM_HEADS, (128, 512), 4, FRAMES),
    tsm_tpn_head=Host('Recognizer2D', TSM, (1, 3),
                      dict(type='TPNHead'), {}, (128, 512), 4, FRAMES),
    mobilenet=Host('Recognizer2D',
                   dict(type='MobileNetV2TSM', num_segments=4, pretrained2d=False),
                   (2, 7), *TSM_HEADS, (32, 1280), 4, FRAMES),
    slowonly=Host('Recognizer3D',
                  dict(type='ResNet3dSlowOnly', depth=18, base_channels=8,
                       conv1_kernel=(1, 7, 7)),
                  (1, 3), *I3D_HEADS, (16, 64), None, CLIP),
    csn=Host('Recognizer3D',
             dict(type='ResNet3dCSN', depth=50, pretrained=None, base_channels=8,
                  temporal_strides=(1, 2, 2, 2)),
             (1, 3), *I3D_HEADS, (64, 256), None, (1, 3, 8, 32, 32)),
    swin=Host('Recognizer3D',
              dict(type='SwinTransformer3D', pretrained2d=False,
                   arch=dict(embed_dims=8, depths=[1] * 4, num_heads=[1] * 4)),
              (1, 3), *I3D_HEADS, (16, 64), None, (1, 3, 4, 64, 64)),
)  # fmt: skip


def same_weights(host: Host) -> tuple[nn.Module, nn.Module]:
    """Build a recognizer without a neck and one whose neck has a zero last scale."""
    plain, model = host.build(with_neck=False), host.build(with_neck=True)
    state = model.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    nn.init.zeros_(model.neck.block.last_norm.weight)
    return plain, model


def run(model: nn.Module, mode: str, clips: torch.Tensor):
    model.train(mode == 'loss')
    samples = [ActionDataSample().set_gt_label(label) for label in range(len(clips))]
    torch.manual_seed(0)  # for the stochastic depth of Swin
    return model(clips, samples, mode=mode)


@torch.no_grad()
def predict(model: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    return torch.stack([sample.pred_score for sample in run(model, 'predict', clips)])


every_host = pytest.mark.parametrize('name', HOSTS)


@every_host
def test_zero_scale_equals_the_plain_recognizer(name):
    plain, model = same_weights(HOSTS[name])
    clips = torch.randn(2, *HOSTS[name].clip)
    # The scores of an untrained MobileNet are tiny.
    close = dict(rtol=1e-4, atol=0)
    torch.testing.assert_close(predict(model, clips), predict(plain, clips), **close)
    losses = [run(m, 'loss', clips)['loss_cls'] for m in (model, plain)]
    torch.testing.assert_close(*losses)


@every_host
def test_trains(name):
    model = HOSTS[name].build(with_neck=True)
    clips = torch.randn(2, *HOSTS[name].clip)
    before = predict(model, clips)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run(model, 'loss', clips)['loss_cls'].backward()
    # DDP would wait for parameters without a gradient.
    assert all(p.grad is not None for p in model.parameters())
    still = {name for name, p in model.neck.named_parameters() if not p.grad.any()}
    assert not still
    optimizer.step()
    after = predict(model, clips)
    assert after.isfinite().all()
    assert not torch.equal(after, before)


def test_can_start_as_the_identity():
    block = dict(fusion=dict(relu='none'), zero_init_last_norm=True)
    levels = make_levels()
    out, _ = build_neck(block=block)(levels)
    torch.testing.assert_close(out, levels[-1].mean(2, keepdim=True))


@pytest.mark.parametrize(
    ('name', 'average_clips'),
    [('tsn', 'score'), ('tsm', 'prob'), ('tsm', 'score'), ('slowonly', 'prob')],
)
def test_zero_scale_equals_the_plain_recognizer_on_several_clips(name, average_clips):
    host = HOSTS[name]
    plain, model = same_weights(host)
    plain.cls_head.average_clips = model.cls_head.average_clips = average_clips
    views = torch.randn(2, 6 * host.clip[0], *host.clip[1:])
    torch.testing.assert_close(predict(model, views), predict(plain, views))


@pytest.mark.parametrize(
    ('name', 'test_cfg'),
    [
        ('tsn', None),
        ('tsm', None),
        ('tsm', dict(max_testing_views=8)),
        ('tsm_tpn_head', dict(fcn_test=True)),
        ('slowonly', None),
        ('slowonly', dict(max_testing_views=2)),
    ],
)
def test_views_are_separate_clips(name, test_cfg):
    """Two clips (twice_sample) with three crops are tested like six videos."""
    host = HOSTS[name]
    model = host.build(True, test_cfg)
    one_by_one = host.build(True)
    views = torch.randn(6, *host.clip)
    expected = predict(one_by_one, views).mean(0, keepdim=True)
    together = views.flatten(0, 1).unsqueeze(0)
    torch.testing.assert_close(predict(model, together), expected)


def test_single_level_backbone_is_rejected():
    host = HOSTS['tsn']._replace(out_indices=(3,))
    with pytest.raises(ValueError, match='set its out_indices .* got 8 levels'):
        predict(host.build(with_neck=True), torch.randn(2, *FRAMES))


@pytest.mark.parametrize('name', ['tsn', 'tsm'])
def test_training_on_clips_of_another_length(name):
    host = HOSTS[name]
    model = host._replace(num_segments=2).build(with_neck=True)
    with pytest.raises(ValueError, match='2 samples have 4 clips of num_segments=2'):
        run(model, 'loss', torch.randn(2, *host.clip))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(in_channels=512), 'at least two levels, .*but got 512'),
        (dict(in_channels=(512,)), r'at least two levels, .*but got \(512,\)'),
        (dict(level=3), 'level must be an integer from 0 to 2, but got 3'),
        (dict(level=-1), 'level .*but got -1'),
        (dict(num_segments=0), 'num_segments must be an integer .* got 0'),
        (dict(block=dict(zero_init_last_norm=True)),
         "zero_init_last_norm=True with fusion=dict\\(relu='before'\\)"),
        (dict(block=dict(integration=dict(type='ReleasedIntegration'))),
         'keeps the in_channels=64 .* out_channels=10'),
    ],
)  # fmt: skip
def test_bad_config(cfg, message):
    with pytest.raises(ValueError, match=message):
        build_neck(**cfg)


@pytest.mark.parametrize(
    ('levels', 'message'),
    [
        (torch.zeros(2, 10, 3, 4, 4), r'out_indices .*one tensor, \(2, 10, 3, 4, 4\)'),
        (make_levels()[:2], r'entry of in_channels=\(6, 5, 10\); .* got 2 levels'),
        (make_levels()[::-1], r'got channels \(10, 5, 6\)'),
        # Like those of MViT, which have class tokens in addition to the features.
        ([[level, level] for level in make_levels()], "got channels .*'list'"),
        (make_levels((4, 4, 4)), 'T=4 frames, .*multiple of num_segments=3'),
        (make_levels((3, 3, 2)), 'T=3 frames, which .* T=2 frames of the last level'),
        (make_levels((3, 3, 6)), 'T=3 frames, which .* T=6 frames of the last level'),
    ],
)
def test_bad_levels(levels, message):
    with pytest.raises(ValueError, match=message):
        build_neck()(levels)


def test_block_must_be_a_selfy_block():
    cfg = dict(type='SELFYNeck', in_channels=(4, 8), num_segments=4)
    with pytest.raises(ValueError, match='block must be a SELFYBlock, .* got a STCB'):
        MODELS.build({**cfg, 'block': dict(type='STCB')})
