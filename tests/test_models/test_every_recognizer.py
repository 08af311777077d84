# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Insert a SELFY block into one config per family of mmaction2's recognizers.

Config, layer and layout are from the table in docs/mixing.md. Its figures are counted
at full size; the tests that run the networks make them smaller.
"""

import copy
import re
from pathlib import Path
from typing import NamedTuple

import mmaction
import numpy as np
import pytest
import torch
from mmaction.models.backbones import C3D
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config, ConfigDict
from torch import nn

from selfy_mmaction.models.insertion.cost import insertion_cost

CONFIGS = Path(mmaction.__file__).parent / '.mim' / 'configs' / 'recognition'
DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'mixing.md'


class Row(NamedTuple):
    """A row of the table."""

    family: str
    config: str
    layer: str
    layout: str
    input_shape: str
    features: str
    parameters: str
    multiply_adds: str
    plain_multiply_adds: str

    @property
    def name(self) -> str:
        return self.config.strip('`')

    @property
    def spec(self) -> dict:
        """Element of ``blocks``, without options that have the default value."""
        spec = dict(after=re.match('`(.*?)`', self.layer)[1])
        if output := re.search(r'output=(\d+)', self.layer):
            spec['output'] = int(output[1])
        pattern = re.match("'(.*?)'", self.layout)[1]
        if pattern not in ('(n t) c h w', 'n c t h w'):
            spec['layout'] = pattern
        return spec


def read_table() -> list[Row]:
    lines = [line.strip('|').split('|') for line in DOCS.read_text().splitlines()]
    rows = [
        Row(*(cell.strip() for cell in cells)) for cells in lines if len(cells) == 9
    ]
    return [row for row in rows if row.layer.startswith('`')]


TABLE = read_table()
every_row = pytest.mark.parametrize(
    'row', TABLE, ids=lambda row: f'{row.name[:35]}:{row.spec["after"]}'
)


@MODELS.register_module()
class SmallC3D(C3D):
    """C3D with a first linear layer for 16x32x32 instead of 16x112x112."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.fc6 = nn.Linear(2048, 4096)


def backbone(**kwargs) -> dict:
    return dict(backbone=kwargs)


def head(**kwargs) -> dict:
    return dict(cls_head=kwargs)


def arch(**kwargs) -> dict:
    return backbone(arch=dict(_delete_=True, **kwargs))


def tpn(width: int) -> dict:
    return dict(
        neck=dict(
            in_channels=(width, 2 * width),
            out_channels=32,
            spatial_modulation_cfg=dict(
                in_channels=(width, 2 * width), out_channels=2 * width
            ),
            temporal_modulation_cfg=dict(downsample_scales=(4, 4)),
            level_fusion_cfg=dict(
                in_channels=(32, 32), mid_channels=(32, 32), out_channels=2048
            ),
        ),
    )


FRAMES, CLIP = (4, 3, 32, 32), (1, 3, 4, 32, 32)
R18, FOUR = [backbone(depth=18), head(in_channels=512)], [backbone(num_segments=4)]
NARROW = [backbone(base_channels=8), head(in_channels=256)]
WIDTH_24 = head(in_channels=24)

# By prefix of the config's name: shape of a clip, and changes to the config.
SMALL = {
    'tsn_': (FRAMES, R18),
    'tsm_imagenet-pretrained-r50': (FRAMES, [*R18, *FOUR, head(num_segments=4)]),
    'tsm_imagenet-pretrained-mob': (FRAMES, [*FOUR, head(num_segments=4)]),
    'tanet_': (FRAMES, [*FOUR, head(num_segments=4)]),
    'trn_': (FRAMES, [*R18, head(num_segments=4)]),
    'tpn-tsm': ((4, 3, 64, 64), [backbone(depth=18), *FOUR, tpn(256)]),
    'tpn-slowonly': ((1, 3, 4, 64, 64), [backbone(base_channels=8), tpn(128)]),
    'c2d_': (CLIP, R18),
    'c3d_': ((1, 3, 16, 32, 32), [backbone(type='SmallC3D')]),
    'i3d_': ((1, 3, 16, 32, 32), NARROW),
    'r2plus1d_': (
        (1, 3, 8, 64, 64),
        [backbone(base_channels=8, norm_cfg=dict(type='BN3d')), head(in_channels=64)],
    ),
    'ircsn_': (CLIP, [backbone(depth=50), *NARROW]),
    'slowonly_r50_8xb16-8x8x1-256e_k': (CLIP, NARROW),
    'slowonly_r50_8xb16-8x8x1-256e_i': (CLIP, []),
    'slowfast_': (
        (1, 3, 16, 32, 32),
        [
            backbone(slow_pathway=dict(base_channels=16)),
            backbone(fast_pathway=dict(base_channels=2)),
            head(in_channels=576),
        ],
    ),
    'x3d_': (CLIP, [backbone(gamma_d=1)]),
    'timesformer_': (
        (1, 3, 4, 64, 64),
        [backbone(num_frames=4, img_size=64, embed_dims=24), WIDTH_24],
    ),
    'swin-': (
        (1, 3, 4, 64, 64),
        [
            arch(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 1, 1]),
            head(in_channels=64),
        ],
    ),
    'mvit-': (
        (1, 3, 4, 64, 64),
        [
            backbone(temporal_size=4, spatial_size=64),
            arch(embed_dims=8, num_layers=5, num_heads=1, downscale_indices=[1, 3, 4]),
            head(in_channels=64),
        ],
    ),
    'uniformer-': (
        (1, 3, 4, 64, 64),
        [
            backbone(depth=[1, 4, 1, 1], embed_dim=[8, 16, 32, 64], head_dim=8),
            head(in_channels=64),
        ],
    ),
    'uniformerv2-': (
        (1, 3, 4, 64, 64),
        [
            backbone(input_resolution=64, width=24, heads=2, t_size=4),
            backbone(n_dim=24, n_head=2),
            WIDTH_24,
        ],
    ),
    'vit-': (
        (1, 3, 8, 64, 64),
        [
            backbone(img_size=64, num_frames=8, embed_dims=24, num_heads=2),
            WIDTH_24,
        ],
    ),
}

# Backbones whose loaders of 2D weights fail without a pretrained file.
LOADS_2D_WEIGHTS = (
    'ResNetTSM',
    'MobileNetV2TSM',
    'UniFormer',
    'SwinTransformer3D',
)


def read_model(row: Row) -> ConfigDict:
    """Return the config of the model, without downloads of weights."""
    model = Config.fromfile(CONFIGS / row.family / f'{row.name}.py').model
    if 'pretrained' in model.backbone:
        model.backbone.pretrained = None
    if 'clip_pretrained' in model.backbone:
        model.backbone.clip_pretrained = False
    if model.backbone.type in LOADS_2D_WEIGHTS:
        model.backbone.pretrained2d = False
    return model


def make_small(row: Row) -> tuple[ConfigDict, tuple[int, ...]]:
    """Return a smaller config of the model, and the shape of its clips."""
    (name,) = (name for name in SMALL if row.name.startswith(name))
    shape, changes = SMALL[name]
    model = read_model(row)
    for change in changes:
        model = Config._merge_a_into_b(change, model)
    return ConfigDict(model), shape


def with_block(model: ConfigDict, row: Row, shape: tuple[int, ...]) -> ConfigDict:
    """Put the backbone into InsertBlocks, as a user would."""
    spec = dict(row.spec, block=dict(type='SELFYBlock', offsets=(-1, 0, 1)))
    backbone = dict(
        type='InsertBlocks', backbone=model.backbone, blocks=[spec], input_shape=shape
    )
    return ConfigDict({**model, 'backbone': backbone})


def run(model: nn.Module, mode: str, clips: torch.Tensor):
    """Run a recognizer of any kind on clips of classes 0, 1, ..."""
    model.train(mode == 'loss')
    samples = [ActionDataSample().set_gt_label(label) for label in range(len(clips))]
    # Some hosts drop features or layers at random; TRN samples relations of frames.
    torch.manual_seed(0)
    np.random.seed(0)
    if type(model).__name__ == 'RecognizerOmni':
        return model(dict(inputs=clips, data_samples=samples), mode=mode)
    return model(clips, samples, mode=mode)


@torch.no_grad()
def predict(model: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    (sample,) = run(model, 'predict', clips[:1])
    return sample.pred_score


def loss_of(model: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    losses = run(model, 'loss', clips)
    return sum(value.mean() for name, value in losses.items() if 'loss' in name)


@every_row
def test_starts_as_the_plain_model_and_trains(row):
    cfg, shape = make_small(row)
    plain = MODELS.build(copy.deepcopy(cfg))
    model = MODELS.build(with_block(cfg, row, shape))
    model.init_weights()
    name = 'backbone.inserted_blocks.' + row.spec['after'].replace('.', '-')
    block = model.get_submodule(name)
    state = model.state_dict()
    plain.load_state_dict({k: state[k] for k in state if not k.startswith(name)})
    clips = torch.randn(2, *shape)

    scores = predict(model, clips)
    assert scores.isfinite().all()
    assert torch.equal(scores, predict(plain, clips))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    untouched = {name for name, _ in block.named_parameters()}
    for step in range(2):
        loss = loss_of(model, clips)
        assert loss.isfinite()
        if step == 0:
            torch.testing.assert_close(loss, loss_of(plain, clips))
        optimizer.zero_grad()
        loss.backward()
        untouched -= {name for name, p in block.named_parameters() if p.grad.any()}
        optimizer.step()
    assert not untouched
    assert predict(model, clips).isfinite().all()


@pytest.mark.slow
@every_row
def test_figures_in_the_docs(row):
    shape = tuple(map(int, row.input_shape.split('x')))
    host = MODELS.build(read_model(row).backbone)
    cost = insertion_cost(host, row.spec, shape)
    assert str(cost.layout) == row.layout
    assert 'x'.join(map(str, cost.features)) == row.features
    assert f'{cost.parameters / 1e6:.2f}M' == row.parameters
    assert f'{cost.multiply_adds / 1e9:.2f}G' == row.multiply_adds
    assert f'{cost.plain_multiply_adds / 1e9:.2f}G' == row.plain_multiply_adds


def test_every_family_is_in_the_docs():
    families = {path.parent.name for path in CONFIGS.glob('*/*.py')}
    listed = {row.family for row in TABLE}
    assert listed | {'tin'} == families
    assert '| tin |' in DOCS.read_text()
