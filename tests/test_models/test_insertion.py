# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy
import pickle
from collections import namedtuple

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.model import ExponentialMovingAverage
from small_blocks import SMALL_BLOCK
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from selfy_mmaction.models import (
    FeatureLayout,
    insert_block,
    insert_blocks,
    without_inserted_blocks,
)

RANDOM_BLOCK = dict(SMALL_BLOCK, zero_init_last_norm=False)
TSM = dict(type='ResNetTSM', depth=18, num_segments=4, pretrained2d=False)
SLOW_ONLY = dict(
    type='ResNet3dSlowOnly', depth=18, base_channels=8, conv1_kernel=(1, 7, 7)
)
TOKENS = dict(
    type='VisionTransformer', img_size=32, num_frames=4, embed_dims=8, depth=2,
    num_heads=2,
)  # fmt: skip
FRAMES, CLIP = (4, 3, 32, 32), (1, 3, 4, 32, 32)


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return x * self.factor


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.stage = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

    def forward(self, x):
        return self.stage(self.stem(x))


def make_host() -> Host:
    torch.manual_seed(0)
    return Host()


def test_runs_on_the_output_of_the_layer():
    host, x = make_host(), torch.randn(2, 3)
    expected = host.stage(2 * host.stem(x))
    insert_block(host, 'stem', Scale(2.0))
    torch.testing.assert_close(host(x), expected)


def test_nested_layer():
    host, x = make_host(), torch.randn(2, 3)
    expected = (3 * host.stage[0](host.stem(x))).relu()
    insert_block(host, 'stage.0', Scale(3.0))
    torch.testing.assert_close(host(x), expected)
    assert 'inserted_blocks.stage-0.factor' in host.state_dict()


def test_keys_of_the_host_do_not_change():
    host = make_host()
    keys = list(host.state_dict())
    insert_block(host, 'stem', Scale(2.0))
    assert list(host.state_dict()) == [*keys, 'inserted_blocks.stem.factor']


@pytest.mark.parametrize(
    'make_copy', [copy.deepcopy, lambda host: AveragedModel(host).module]
)
def test_copy_runs_its_own_block(make_copy):
    host, x = make_host(), torch.randn(2, 3)
    insert_block(host, 'stem', Scale(2.0))
    expected = host(x)
    copied = make_copy(host)
    with torch.no_grad():
        copied.inserted_blocks['stem'].factor.fill_(5.0)
    torch.testing.assert_close(host(x), expected)
    torch.testing.assert_close(copied(x), host.stage(5 * host.stem(x).div(2)))


def test_state_dict_round_trip():
    host, other, x = make_host(), make_host(), torch.randn(2, 3)
    insert_block(host, 'stem', Scale(2.0))
    insert_block(other, 'stem', Scale(7.0))
    other.load_state_dict(host.state_dict())
    assert torch.equal(host(x), other(x))


def test_blocks_are_hidden_and_restored_after_an_error():
    host = make_host()
    insert_block(host, 'stem', Scale(2.0))
    keys = []

    def run_code_of_the_host():
        with without_inserted_blocks(host):
            keys.extend(host.state_dict())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_code_of_the_host()
    assert keys
    assert 'inserted_blocks.stem.factor' not in keys
    assert 'inserted_blocks.stem.factor' in host.state_dict()


def test_unknown_layer_lists_the_closest_names():
    with pytest.raises(ValueError, match=r"no layer 'stage.2'.*'stage.1'"):
        insert_block(make_host(), 'stage.2', Scale(1.0))


def test_second_block_after_a_layer_is_rejected():
    host = make_host()
    insert_block(host, 'stem', Scale(2.0))
    with pytest.raises(ValueError, match="already inserted after 'stem'"):
        insert_block(host, 'stem', Scale(2.0))


def test_sequential_host_is_rejected():
    with pytest.raises(TypeError, match='Sequential'):
        insert_block(make_host().stage, '0', Scale(2.0))


def build(backbone, after='layer2', shape=FRAMES, block=RANDOM_BLOCK, **spec):
    """Build a host from a config, in evaluation mode."""
    torch.manual_seed(0)
    spec = dict(after=after, block=block, **spec)
    host = MODELS.build(
        dict(type='InsertBlocks', backbone=backbone, blocks=[spec], input_shape=shape)
    )
    host.eval()
    return host


def build_kind(kind: str, **kwargs):
    """Build a host of frames, clips or tokens, and an input of two clips."""
    if kind == 'frames':
        return build(TSM, **kwargs), torch.randn(8, 3, 32, 32)
    if kind == 'clips':
        return build(SLOW_ONLY, shape=CLIP, **kwargs), torch.randn(2, 3, 4, 32, 32)
    host = build(TOKENS, 'blocks.0', CLIP, layout='n (t h w) c', **kwargs)
    return host, torch.randn(2, 3, 4, 32, 32)


every_kind = pytest.mark.parametrize('kind', ['frames', 'clips', 'tokens'])


def block_of(host):
    (block,) = host.inserted_blocks.values()
    return block


@every_kind
def test_config_builds_the_host_itself(kind):
    host, _ = build_kind(kind)
    cfg = {'frames': TSM, 'clips': SLOW_ONLY, 'tokens': TOKENS}[kind]
    plain = MODELS.build(cfg)
    assert isinstance(host, type(plain))
    assert type(host).__name__ == type(plain).__name__
    assert type(host).__module__ == type(plain).__module__
    keys = [name for name in host.state_dict() if 'inserted_blocks' not in name]
    assert keys == list(plain.state_dict())
    assert set(vars(plain)) <= set(vars(host))


@every_kind
def test_clips_do_not_mix(kind):
    host, x = build_kind(kind)
    with torch.no_grad():
        out, first = host(x), host(x[: len(x) // 2])
    torch.testing.assert_close(out[: len(first)], first)


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(with_cp=True),
        dict(transformation=dict(type='EmbeddedGaussianTransformation')),
    ],
)
def test_other_clip_lengths_of_3d_networks(options):
    block = RANDOM_BLOCK | options
    host = build(SLOW_ONLY, shape=CLIP, block=block)
    built_for_it = build(SLOW_ONLY, shape=(1, 3, 6, 32, 32), block=block)
    assert block_of(host).transformation.num_segments == 4
    assert block_of(built_for_it).transformation.num_segments == 6
    x = torch.randn(2, 3, 6, 32, 32)
    assert torch.equal(host(x), built_for_it(x))


@pytest.mark.parametrize(
    ('after', 'scale'),
    [('maxpool', 0.25), ('layer1', 0.25), ('layer2', 0.5), ('layer3', 1),
     ('layer4', 2)],
)  # fmt: skip
def test_default_scale_is_that_of_the_supplement(after, scale):
    host = MODELS.build(TSM)
    insert_blocks(host, [dict(after=after, block=SMALL_BLOCK)])
    assert block_of(host).reduction.scale == scale


def test_temporal_pooling_and_several_places():
    host = MODELS.build(dict(TSM, num_segments=8, temporal_pool=True))
    places = [dict(after=after, block=SMALL_BLOCK) for after in ('layer1', 'layer2')]
    layouts = insert_blocks(host, places)
    assert [layout.sizes for layout in layouts] == [{'t': 8}, {'t': 4}]
    assert host(torch.randn(8, 3, 32, 32)).shape[0] == 4


@pytest.mark.parametrize(
    'block',
    [
        dict(type='SELFYSBlock', offsets=(-1, 0, 1), window=(5, 5)),
        dict(type='STCB'),
        dict(type='LocalSelfAttentionBlock', window=(3, 3, 3)),
        dict(type='NonLocalBlock'),
        dict(type='MultiHeadSelfAttentionBlock'),
        dict(type='SequentialBlocks', blocks=[dict(type='STCB'), SMALL_BLOCK]),
        dict(
            type='ParallelBlocks',
            blocks=[dict(type='STCB'), dict(type='NonLocalBlock')],
        ),
    ],
    ids=lambda block: block['type'],
)
def test_every_block_starts_as_the_identity(block):
    host = build(SLOW_ONLY, shape=CLIP, block=block)
    plain = MODELS.build(SLOW_ONLY)
    plain.load_state_dict(host.state_dict(), strict=False)
    plain.eval()
    # A clip length that it was not built for, and negative features.
    x = torch.randn(2, 3, 6, 32, 32)
    assert torch.equal(host(x), plain(x))
    features = torch.randn(12, 16, 4, 4)
    out = block_of(host)(features, num_segments=6)
    assert torch.equal(out, features)


def test_block_without_arguments_for_defaults():
    @MODELS.register_module(force=True)
    class Doubled(nn.Module):
        def __init__(self, in_channels):
            super().__init__()
            self.in_channels = in_channels

        def forward(self, x):
            return 2 * x

    host = build(SLOW_ONLY, shape=CLIP, block=dict(type='Doubled'))
    seen = []
    host.layer3.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    host.layer2.register_forward_hook(
        lambda layer, args, output: seen.append(output), prepend=True
    )
    host(torch.randn(1, 3, 4, 32, 32))
    before, after = seen
    assert torch.equal(after, 2 * before)
    assert block_of(host).in_channels == 16


class Several(nn.Module):
    """Network with a layer that returns several tensors."""

    def __init__(self, pack) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.layer = nn.Identity()
        self.pack = pack

    def forward(self, x):
        x = self.conv(x)
        return self.layer(self.pack(x, x[:, :, 0, 0]))


Pair = namedtuple('Pair', 'maps vectors')


@pytest.mark.parametrize(
    ('pack', 'output', 'other'),
    [
        (lambda *pair: pair, 0, 1),
        (lambda *pair: list(pair), 0, 1),
        (lambda *pair: dict(maps=pair[0], vectors=pair[1]), 'maps', 'vectors'),
        (Pair, 0, 1),
    ],
    ids=['tuple', 'list', 'dict', 'namedtuple'],
)
def test_one_of_several_outputs(pack, output, other):
    host, x = Several(pack), torch.randn(4, 3, 6, 6)
    plain = host(x)
    place = dict(after='layer', block=Scale(2.0), output=output)
    insert_blocks(host, [place], (4, 3, 6, 6))
    out = host(x)
    assert type(out) is type(plain)
    assert torch.equal(out[output], 2 * plain[output])
    assert torch.equal(out[other], plain[other])


@every_kind
def test_init_weights_and_pickle(kind):
    host, x = build_kind(kind, block=SMALL_BLOCK)
    host.init_weights()
    assert (block_of(host).last_norm.weight == 0).all()
    nn.init.constant_(block_of(host).last_norm.weight, 1)
    loaded = pickle.loads(pickle.dumps(host))
    assert type(loaded) is type(host)
    assert torch.equal(loaded(x), host(x))


def test_2d_checkpoint_loads_exactly(tmp_path):
    cfg = dict(type='MobileNetV2TSM', num_segments=4)
    state = MODELS.build(dict(type='MobileNetV2')).state_dict()
    torch.save(state, tmp_path / 'mobilenet_v2.pth')
    host = build(dict(cfg, pretrained=str(tmp_path / 'mobilenet_v2.pth')), 'layer3')
    host.init_weights()
    loaded = host.state_dict()
    for name, value in state.items():
        name = name if name in loaded else name.replace('.conv.0.', '.conv.0.net.')
        assert torch.equal(loaded[name], value), name


@pytest.mark.parametrize(
    ('cfg', 'after', 'frozen'),
    [
        (dict(TSM, frozen_stages=4, norm_eval=True), 'layer2', 'layer2'),
        (dict(TSM, partial_bn=True), 'layer2', None),
        (
            dict(type='MobileNetV2TSM', num_segments=4, frozen_stages=8,
                 norm_eval=True, pretrained2d=False),
            'layer3', 'layer3',
        ),
        (dict(SLOW_ONLY, frozen_stages=4, norm_eval=True), 'layer2', 'layer2'),
    ],
)  # fmt: skip
def test_freezing_does_not_affect_the_block(cfg, after, frozen):
    host = build(cfg, after, FRAMES if 'num_segments' in cfg else CLIP)
    assert host.train() is host
    block = block_of(host)
    assert all(parameter.requires_grad for parameter in block.parameters())
    own = {m for m in block.modules() if isinstance(m, _BatchNorm)}
    assert all(norm.training for norm in own)
    hosts = [m for m in host.modules() if isinstance(m, _BatchNorm) and m not in own]
    # partial_bn leaves the first norm in training mode.
    assert not any(norm.training for norm in hosts[1:])
    if frozen is not None:
        layer = host.get_submodule(frozen)
        assert not any(p.requires_grad for p in layer.parameters())
    assert not any(m.training for m in host.eval().modules())


@every_kind
def test_copies_run_their_own_block(kind):
    host, x = build_kind(kind)
    expected = host(x)
    ema = ExponentialMovingAverage(host).module
    assert torch.equal(ema(x), expected)
    nn.init.constant_(block_of(ema).last_norm.bias, 3)
    assert not torch.equal(ema(x), expected)
    assert torch.equal(host(x), expected)


@every_kind
def test_compiles_in_one_graph(kind):
    host, x = build_kind(kind)
    compiled = torch.compile(host, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), host(x), rtol=1e-4, atol=1e-4)


@every_kind
def test_distributed(kind):
    host, x = build_kind(kind)
    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        model = DistributedDataParallel(host.train())
        model(x).square().mean().backward()
        assert all(p.grad is not None for p in host.parameters())
        del model
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('after', ['layer2', 'layer2.0', 'layer2.0.conv2'])
def test_checkpointing_of_the_host(after):
    x = torch.randn(4, 3, 32, 32)
    gradients = []
    for with_cp in (False, True):
        host = build(dict(TSM, depth=50, with_cp=with_cp), after).train()
        host(x).square().mean().backward()
        gradients.append([parameter.grad for parameter in host.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize('type', ['ResNetTSM', 'TANet', 'MobileNetV2TSM'])
def test_every_parameter_is_in_exactly_one_group(type, grouped_parameters):
    cfg = dict(type=type, num_segments=4)
    if type != 'TANet':
        cfg['pretrained2d'] = False
    if type != 'MobileNetV2TSM':
        cfg['depth'] = 50
    grouped, all_parameters = grouped_parameters(build(cfg))
    assert grouped == all_parameters


def recognizer(test_cfg=None, **backbone):
    """Build a recognizer with a block from TSM, TSN or SELFYNet."""
    torch.manual_seed(0)
    if backbone['type'] == 'ResNetSELFY':
        cfg = dict(backbone, selfy=dict(after='res3', block=SMALL_BLOCK))
    else:
        block = dict(RANDOM_BLOCK, num_segments=4)
        cfg = dict(
            type='InsertBlocks',
            backbone=backbone,
            blocks=[dict(after='layer2', block=block)],
        )
    head = dict(type='TSNHead', num_classes=3, in_channels=512, average_clips='prob')
    model = dict(type='Recognizer2D', backbone=cfg, cls_head=head, test_cfg=test_cfg)
    model = MODELS.build(model).eval()
    nn.init.normal_(model.cls_head.fc_cls.weight)
    return model


HOSTS = dict(
    tsm=TSM,
    tsn=dict(type='ResNet', depth=18),
    selfynet=dict(type='ResNetSELFY', depth=18, num_segments=4),
)


@torch.no_grad()
@pytest.mark.parametrize('host', HOSTS)
@pytest.mark.parametrize('test_cfg', [None, dict(max_testing_views=8)])
def test_test_views_are_separate_clips(host, test_cfg):
    """Test two videos, each with two clips (twice_sample) and three crops."""
    views = torch.randn(2, 6, 4, 3, 32, 32)
    one_by_one = recognizer(**HOSTS[host])
    expected = torch.stack(
        [torch.stack([one_by_one.backbone(view) for view in video]) for video in views]
    )
    model = recognizer(test_cfg, **HOSTS[host])
    out, _ = model.extract_feat(views.flatten(1, 2), test_mode=True)
    torch.testing.assert_close(out, expected.flatten(0, 2))
    # mmaction2's TSN head averages over all frames of all views.
    samples = [ActionDataSample() for _ in views]
    scores = [s.pred_score for s in model(views.flatten(1, 2), samples, 'predict')]
    frame_scores = model.cls_head.fc_cls(expected.mean((-2, -1)))
    reference = frame_scores.flatten(1, 2).mean(1).softmax(-1)
    torch.testing.assert_close(torch.stack(scores), reference)


@torch.no_grad()
@pytest.mark.parametrize('host', ['tsm', 'selfynet'])
def test_fully_convolutional_test(host):
    views = torch.randn(2, 6, 4, 3, 32, 32)
    model = recognizer(dict(fcn_test=True), **HOSTS[host])
    out, _ = model.extract_feat(views.flatten(1, 2), test_mode=True)
    clips = [model.backbone(view) for view in views.flatten(0, 1)]
    torch.testing.assert_close(out, torch.stack(clips).transpose(1, 2))


def test_into_a_whole_recognizer():
    inside = recognizer(**TSM)
    outside = MODELS.build(
        dict(
            type='InsertBlocks',
            backbone=dict(
                type='Recognizer2D',
                backbone=TSM,
                cls_head=dict(type='TSNHead', num_classes=3, in_channels=512),
            ),
            blocks=[dict(after='backbone.layer2', block=RANDOM_BLOCK)],
        )
    ).eval()
    outside.init_weights()
    state = {
        name.replace('backbone.inserted_blocks.', 'inserted_blocks.backbone-'): value
        for name, value in inside.state_dict().items()
    }
    outside.load_state_dict(state)
    x = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(inside(x), outside(x))


def test_host_is_unchanged_if_one_block_is_invalid():
    host = MODELS.build(TSM)
    blocks = [
        dict(after='layer2', block=SMALL_BLOCK),
        dict(after='layer3', block=dict(SMALL_BLOCK, window=(4, 4))),
    ]
    with pytest.raises(ValueError, match='window'):
        insert_blocks(host, blocks)
    assert not hasattr(host, 'inserted_blocks')
    assert not host.layer2._forward_hooks


@pytest.mark.parametrize(
    ('cfg', 'spec', 'shape', 'message'),
    [
        (TSM, dict(after='layr2'), None, "no layer 'layr2'.*'layer2'"),
        (TSM, dict(block={}), None, r"keys .*'after'.* but got \{'block'"),
        (TSM, dict(after='layer2', where='x'), None, 'where'),
        (SLOW_ONLY, dict(after='layer2'), None, 'give input_shape'),
        (SLOW_ONLY, dict(after='layer2'), FRAMES, 'does not run on input_shape'),
        (dict(type='ResNet', depth=18), dict(after='layer2'), None, 'input_shape'),
        (TOKENS, dict(after='blocks.0'), CLIP, r'\(1, 8, 8\).*ambiguous.*layout='),
        (TOKENS, dict(after='blocks'), CLIP, r'ModuleList\) was not called'),
        (TOKENS, dict(after='fc_norm'), CLIP, r'\(1, 8\).*not a feature map'),
        (TOKENS, dict(after='patch_embed'), CLIP,
         r'tuple of \[0\] a tensor \(1, 8, 8\), .*output=INDEX, one of \[0, 1\]'),
        (TOKENS, dict(after='patch_embed', output=2), CLIP, 'has no output=2'),
        (TSM, dict(after='layer2', layout='n c t h w'), None, 'fits no layout'),
        (dict(type='mmpretrain.ResNet'), dict(after='layer2'), None,
         "around the recognizer.*'backbone.LAYER'"),
    ],
)  # fmt: skip
def test_invalid_block(cfg, spec, shape, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(
            dict(type='InsertBlocks', backbone=cfg, blocks=[spec], input_shape=shape)
        )


def test_given_layout_needs_no_probe():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x, mask):
            return self.layer(x * mask)

    host, x = Odd(), torch.randn(2, 3, 4, 5, 5)
    insert_block(host, 'layer', Scale(2.0), FeatureLayout('n c t h w'))
    assert torch.equal(host(x, 1), 2 * x)
