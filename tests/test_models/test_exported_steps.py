# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Every step and comparator, exported to three formats, computes the same numbers.

Exporters may drop an operation without an error. So each result is compared, for
another number of clips than the exporter saw, and no weight or result is zero.
"""

import io
import warnings
from functools import partial

import pytest
import torch
from mmaction.registry import MODELS
from small_blocks import randomize_norms
from test_block_contract import BLOCKS, build, off_the_identity
from torch import nn

from selfy_mmaction.ops import self_similarity

onnx = pytest.importorskip('onnx', reason='needs the extra "deploy"')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs the extra "deploy"')
pytest.importorskip('onnxscript', reason='needs the extra "deploy"')

T, CHANNELS, SIZE = 3, 16, (8, 6)
OFFSETS, WINDOW, WIDTH = (-1, 0, 1), (5, 5), 5
INTEGRATION = dict(in_channels=WIDTH, out_channels=6, num_offsets=len(OFFSETS))
RESTORATION = dict(in_channels=CHANNELS, out_channels=CHANNELS)
MATCHING = dict(num_segments=T, offsets=OFFSETS, window=(3, 5))


def similarity(name, has_keys, x):
    keys = x.flip(1) if has_keys else None
    options = dict(similarity=name, keys=keys, num_segments=T)
    return self_similarity(x, OFFSETS, (3, 5), **options)


# Functions of x, (N*T, C, H, W).
OF_FEATURES = {
    **{
        f'{name} {has_keys}': partial(similarity, name, has_keys)
        for name in ('cosine', 'dot')
        for has_keys in (False, True)
    },
    'STSSTransformation': dict(**MATCHING),
    'STSSTransformation replicate': dict(**MATCHING, clip_ends='replicate'),
    'STSSTransformation repeat': dict(**MATCHING, clip_ends='repeat'),
    'STSSTransformation scaled': dict(**MATCHING, similarity='scaled_dot'),
    'STSSTransformation softmax': dict(
        **MATCHING, similarity='softmax', clip_ends='replicate'
    ),
    'DifferenceTransformation': dict(num_segments=T, offsets=OFFSETS),
    'LayerNormReduction 0.5': dict(in_channels=CHANNELS, out_channels=4, scale=0.5),
    'LayerNormReduction 2': dict(in_channels=CHANNELS, out_channels=4, scale=2),
    'EmbeddedGaussianTransformation': dict(in_channels=CHANNELS, **MATCHING),
    'ConvTransformation': dict(in_channels=CHANNELS, **MATCHING),
    'ConvReduction 0.25': dict(in_channels=CHANNELS, out_channels=4, scale=0.25),
    'ConvReduction 0.5': dict(in_channels=CHANNELS, out_channels=4),
    'ConvReduction 2': dict(in_channels=CHANNELS, out_channels=4, scale=2),
    'UpsampleRestoration nearest': dict(),
    'UpsampleRestoration other size': dict(),
    'UpsampleRestoration bilinear': dict(mode='bilinear'),
    'UpsampleRestoration area': dict(mode='area'),
    'TransposedConvRestoration': RESTORATION,
    'ExpansionRestoration': RESTORATION,
    'ResidualFusion before': dict(),
    'ResidualFusion after': dict(relu='after'),
    'ResidualFusion none': dict(relu='none'),
    'ReplacementFusion': dict(),
}
SIZES = {
    'UpsampleRestoration nearest': (16, 18),
    'UpsampleRestoration other size': (11, 9),
    'UpsampleRestoration bilinear': (11, 9),
    'UpsampleRestoration area': (4, 3),
    'TransposedConvRestoration': (15, 12),
    'ExpansionRestoration': SIZE,
}
# Functions of the STSS tensor, (N, T, h, w, L, U, V).
OF_STSS = {
    'ConvExtraction': dict(window=WINDOW, channels=(2, 3)),
    # Two positions of a window of 11 are left, and averaged.
    'ConvExtraction average': dict(window=(11, 11), channels=(2, 3, 4)),
    'ConvExtraction over l': dict(window=WINDOW, channels=(2, 3), temporal_kernel=3),
    'MLPExtraction': dict(window=WINDOW, channels=(4, 5)),
    'MLPExtraction GELU': dict(
        window=WINDOW,
        channels=(4,),
        norm_scope='clip',
        norm_cfg=dict(type='GN', num_groups=1),
        act_cfg=dict(type='GELU'),
    ),
    'SoftArgmaxExtraction': dict(window=WINDOW, temperature=0.5),
    'KernelSoftArgmaxExtraction': dict(window=WINDOW, temperature=0.5),
}
# Functions of the STSS features, (N, T, h, w, L, C_F).
OF_STSS_FEATURES = {
    'ConvIntegration': dict(**INTEGRATION, channels=(4, 4)),
    'MLPIntegration': dict(**INTEGRATION, channels=(4, 4)),
    'FCIntegration': INTEGRATION,
    'ReleasedIntegration': dict(**INTEGRATION, channels=(4, 4)),
    'ReleasedIntegration of clips': dict(
        **INTEGRATION, channels=(4, 4), norm_scope='clip'
    ),
    'LiteIntegration': INTEGRATION,
    'IdentityExtraction': dict(out_channels=WIDTH),
    'DepthwiseIntegration': INTEGRATION,
}
STEPS = [*OF_FEATURES, *OF_STSS, *OF_STSS_FEATURES]
# The combinations run blocks one after the other, or add them.
COMPARATORS = {
    **{name: cfg for name, cfg in BLOCKS.items() if name not in ('stcb', 'selfy_s')},
    'local, integrated': dict(
        BLOCKS['local'], integration=dict(channels=(4, 4)), num_heads=4
    ),
}


class Step(nn.Module):
    """A step as a function of tensors of at most five dimensions."""

    def __init__(self, name, options):
        super().__init__()
        self.name = name
        torch.manual_seed(0)
        if not callable(options):
            options = MODELS.build(dict(type=name.split()[0], **options))
            randomize_norms(options)
        self.step = options

    def forward(self, x, stss, stss_feats):
        size = (T, 2, 2, len(OFFSETS))
        if self.name in OF_STSS:
            sides = self.step.window
            stss = stss[..., : sides[0] * sides[1]].reshape(-1, *size, *sides)
            return self.step(stss).flatten(1)
        if self.name in OF_STSS_FEATURES:
            return self.step(stss_feats.reshape(-1, *size, WIDTH)).flatten(3)
        if 'Restoration' in self.name:
            return self.step(x, SIZES[self.name])
        if 'Fusion' in self.name:
            return self.step(x, x.flip(1))
        out = self.step(x)
        return out.flatten(2) if out.dim() > 5 else out


class Group(nn.Module):
    """Several networks in one, because an export takes seconds."""

    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)
        self.eval().requires_grad_(False)

    def forward(self, clips, *others):
        return tuple(member(clips.flatten(0, 1), *others) for member in self.members)


def make_inputs(num_clips, group):
    generator = torch.Generator().manual_seed(num_clips)
    normal = partial(torch.randn, generator=generator)
    clips = normal(num_clips, T, CHANNELS, *SIZE)
    if group != 'steps':
        return (clips,)
    positions = T * 2 * 2
    stss = normal(num_clips, positions, len(OFFSETS), 11 * 11)
    return clips, stss, normal(num_clips, positions, len(OFFSETS), WIDTH)


@pytest.fixture(
    scope='module',
    params=['steps', pytest.param('comparators', marks=pytest.mark.slow)],
)
def group(request):
    """Names, ONNX graph, and the results of the network and of its three exports."""
    if request.param == 'steps':
        options = {**OF_FEATURES, **OF_STSS, **OF_STSS_FEATURES}
        names = STEPS
        members = [Step(name, options[name]) for name in names]
    else:
        names = list(COMPARATORS)
        members = [
            randomize_norms(off_the_identity(build(cfg)))
            for cfg in COMPARATORS.values()
        ]
    network = Group(members)
    example = make_inputs(2, request.param)
    shapes = [{0: torch.export.Dim('clips')} for _ in example]
    shapes = (shapes[0], tuple(shapes[1:])) if shapes[1:] else tuple(shapes)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.export.export(network, example, dynamic_shapes=shapes)
        model = torch.onnx.export(program, verbose=False).model_proto
        traced = torch.jit.trace(network, example, check_trace=False)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), file)
    file.seek(0)
    inputs = make_inputs(3, request.param)
    feeds = {
        each.name: value.numpy()
        for each, value in zip(session.get_inputs(), inputs, strict=True)
    }
    results = dict(
        expected=network(*inputs),
        onnx=[torch.from_numpy(x) for x in session.run(None, feeds)],
        torchscript=torch.jit.load(file)(*inputs),
        pt2=program.module()(*inputs),
    )
    return names, model, results


@pytest.mark.parametrize('format', ['onnx', 'torchscript', 'pt2'])
def test_results(group, format):
    names, _, results = group
    actual = dict(zip(names, results[format], strict=True))
    expected = dict(zip(names, results['expected'], strict=True))
    for name in names:
        assert expected[name].std() > 0.01, name
        options = dict(rtol=1e-3, atol=1e-5, msg=f'{name}: other numbers')
        torch.testing.assert_close(actual[name], expected[name], **options)


def test_results_of_comparators_depend_on_motion():
    # If they did not, a dropped operator would not be seen.
    (clips,) = make_inputs(2, 'comparators')
    for name, cfg in COMPARATORS.items():
        block = randomize_norms(off_the_identity(build(cfg))).eval()
        x = clips.flatten(0, 1)
        assert (block(x) - x).abs().mean() > 0.05, name


def test_no_tensor_has_more_than_five_dimensions(group):
    _, model, _ = group
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    graph = inferred.graph
    ranks = {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.output, *graph.input)
        if info.type.tensor_type.HasField('shape')
    }
    ranks.update((each.name, len(each.dims)) for each in graph.initializer)
    assert not model.functions  # whose tensors would have been missed
    for node in graph.node:
        assert not any(a.HasField('g') for a in node.attribute), node.name
        for name in filter(None, (*node.input, *node.output)):
            assert ranks[name] <= 5, f'{name} of {node.name}: {ranks[name]} dimensions'
        assert 'selfy' not in node.domain


def test_every_registered_step_and_comparator_is_exported():
    ours = {
        name: module
        for name, module in MODELS.module_dict.items()
        if module.__module__.startswith(
            ('selfy_mmaction.models.selfy.', 'selfy_mmaction.models.comparators.')
        )
    }
    names = {name.split()[0] for name in STEPS}
    names |= {cfg['type'] for cfg in [*BLOCKS.values(), *COMPARATORS.values()]}
    names.add('SELFYBlock')  # in tests/test_ops/test_exportable.py, whole
    assert len(ours) > 20
    assert set(ours) <= names
