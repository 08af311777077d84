# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The official form is compared with recorded runs of the official code."""

import importlib.util
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor

from selfy_mmaction.checkpoints.official import (
    convert_official,
    fit_config,
    official_name,
)

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'data' / 'golden'
TOOL = ROOT / 'tools' / 'convert_official.py'
CONFIG = ROOT / 'configs/selfy/official/selfy-tsm-r18_1x1x8_sthv1-rgb.py'
RTOL = 1e-5


def assert_near(ours: Tensor, golden, name: str) -> None:
    """Check that no element differs by more than 1e-5 of the largest one."""
    golden = torch.as_tensor(golden, dtype=torch.float64)
    assert ours.shape == golden.shape, name
    error = (ours - golden).abs().max() / golden.abs().max()
    assert error <= RTOL, f'{name}: {error:.1e}'


class GoldenBlock:
    """A recording, and our block with its parameters."""

    def __init__(self, mode: str) -> None:
        with np.load(GOLDEN / f'official_block_{mode}.npz') as file:
            self.recorded = {
                name: torch.from_numpy(file[name]).double()
                for name in file.files
                if name != 'meta'
            }
            meta = json.loads(str(file['meta']))
        reach = meta['window'][0] // 2
        self.block = MODELS.build(
            dict(
                type='SELFYBlock',
                in_channels=meta['d_in'],
                num_segments=meta['num_segments'],
                offsets=range(-reach, reach + 1),
                window=meta['window'][1:],
                reduced_channels=meta['d_hid'],
                extraction=dict(channels=meta['ext_chnls']),
                integration=dict(
                    type='ReleasedIntegration', channels=meta['int_chnls']
                ),
                restoration=dict(type='TransposedConvRestoration'),
                fusion=dict(type='ResidualFusion', relu='after'),
            )
        ).double()
        self.block.train(meta['train'])
        self.meta = meta
        state = {
            name: self.find('param', name, value)
            for name, value in self.block.state_dict().items()
            if not name.endswith('num_batches_tracked')
        }
        self.block.load_state_dict(state, strict=False)
        n_recorded = sum(name.startswith('param:') for name in self.recorded)
        assert len(state) == n_recorded

        self.outputs = {}
        for step in (self.block.transformation, self.block.extraction):
            step.register_forward_hook(
                lambda step, args, out: self.outputs.update({type(step).__name__: out})
            )
        self.x = self.recorded['x'].clone().requires_grad_()
        self.y = self.block(self.x)
        self.y.backward(self.recorded['grad_y'])

    def find(self, kind: str, name: str, like: Tensor) -> Tensor:
        """Return the recorded values of one of our parameters, in our shape."""
        official = official_name(f'backbone.inserted_blocks.layer2.{name}')
        official = official.removeprefix('base_model.selfy.')
        # Official kernels have a third dimension of size 1.
        return self.recorded[f'{kind}:{official}'].reshape(like.shape)


@pytest.fixture(scope='module', params=['eval', 'train'])
def golden(request) -> GoldenBlock:
    return GoldenBlock(request.param)


def test_stss(golden):
    stss = golden.outputs['STSSTransformation']
    assert_near(stss, golden.recorded['stss'].squeeze(4), 'stss')


def test_extraction(golden):
    feats = golden.outputs['ConvExtraction']  # (N, T, h, w, L, C_F)
    feats = feats.permute(0, 4, 5, 1, 2, 3).flatten(0, 1)
    assert_near(feats, golden.recorded['feat'], 'feat')


def test_output(golden):
    assert_near(golden.y, golden.recorded['y'], 'y')


def test_gradients(golden):
    assert_near(golden.x.grad, golden.recorded['grad_x'], 'grad_x')
    checked = 0
    for name, parameter in golden.block.named_parameters():
        assert_near(parameter.grad, golden.find('grad', name, parameter), name)
        checked += 1
    assert checked == sum(name.startswith('grad:') for name in golden.recorded)


def draw(name: str, shape: tuple[int, ...]) -> Tensor:
    """Draw a tensor of the recorded network's checkpoint, as for the recording."""
    if name.endswith('num_batches_tracked'):
        return torch.tensor(0)
    seed = zlib.crc32(name.encode()) & 0xFFFFFFFF
    value = np.random.RandomState(seed).standard_normal(shape)
    if name.endswith('running_var'):
        value = 0.5 + abs(value)
    elif name.endswith('running_mean'):
        value = 0.1 * value
    elif len(shape) == 1:
        value = 0.1 * value + name.endswith('.weight')
    else:
        value = value * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(value)


def convert(*args) -> None:
    spec = importlib.util.spec_from_file_location('convert_official', TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.convert(*args)


def test_converted_network(tmp_path):
    """A converted official checkpoint yields the recorded scores."""
    recorded = json.loads((GOLDEN / 'official_net_r18.json').read_text())
    state = {
        name: draw(name, tuple(shape)) for name, shape in recorded['checkpoint'].items()
    }
    torch.save({'epoch': 50, 'state_dict': state}, tmp_path / 'in.pth.tar')
    convert(tmp_path / 'in.pth.tar', tmp_path / 'out.pth', 'selfy', None)
    model = MODELS.build(Config.fromfile(CONFIG).model).double().eval()
    converted = torch.load(tmp_path / 'out.pth', weights_only=True)
    model.load_state_dict(converted['state_dict'], strict=True)

    taps = {}
    block = model.backbone.inserted_blocks['layer2']
    block.register_forward_hook(
        lambda module, args, out: taps.update(layer2=args[0], selfy=out)
    )
    model.backbone.layer4.register_forward_hook(
        lambda module, args, out: taps.update(layer4=out)
    )
    size, num_segments = recorded['size'], recorded['num_segments']
    shape = (recorded['batch'], num_segments, 3, size, size)
    x = np.random.RandomState(recorded['input_seed']).standard_normal(shape)
    with torch.no_grad():
        feats = model.backbone(torch.from_numpy(x).flatten(0, 1))
        logits = model.cls_head(feats, num_segments)

    assert_near(logits, recorded['logits'], 'logits')
    assert set(taps) == set(recorded['taps'])
    for name, expected in recorded['taps'].items():
        out = taps[name]
        assert list(out.shape) == expected['shape']
        assert out.mean().item() == pytest.approx(expected['mean'], rel=RTOL)
        assert out.std().item() == pytest.approx(expected['std'], rel=RTOL)
        assert_near(out.flatten()[:8], expected['first'], name)


def recorded_state() -> dict[str, Tensor]:
    """Return the weights of the recorded network, without the prefix ``module.``."""
    names = json.loads((GOLDEN / 'official_net_r18.json').read_text())['checkpoint']
    return {
        name.removeprefix('module.'): draw(name, tuple(shape))
        for name, shape in names.items()
    }


def test_arch_tsm_is_the_network_without_the_block():
    """The scores with a block that adds zeros equal those without a block."""
    state = recorded_state()
    for key in ('weight', 'bias'):
        state[f'base_model.selfy.stss_integration.upsample.1.{key}'].zero_()
    scores = []
    for part in (state, {k: v for k, v in state.items() if '.selfy.' not in k}):
        config = Config.fromfile(CONFIG)
        fit_config(config, part, 'selfy')
        model = MODELS.build(config.model).double().eval()
        model.load_state_dict(convert_official(part, model), strict=True)
        clips = torch.randn(1, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            scores.append(model.extract_feat(clips.double(), stage='head')[0])
    assert scores[0].shape == (1, 174)
    torch.testing.assert_close(*scores)


def test_ten_training_steps():
    """Training from official weights with our config repeats the recorded training.

    In float64, losses differ only by rounding, by at most 4e-15.
    """
    recorded = json.loads((GOLDEN / 'official_curve_r18.json').read_text())
    state = recorded_state()
    config = Config.fromfile(CONFIG)
    config.model.cls_head.dropout_ratio = recorded['dropout']
    model = MODELS.build(config.model).double().train()
    model.load_state_dict(convert_official(state, model), strict=True)
    optimizer = build_optim_wrapper(model, config.optim_wrapper)

    shape = (recorded['batch'], recorded['num_segments'], 3)
    shape += (recorded['size'], recorded['size'])
    losses, grad_norms = [], []
    for step in range(recorded['steps']):
        random = np.random.RandomState(1000 + step % 3)
        clips = torch.from_numpy(random.standard_normal(shape))
        labels = random.randint(0, recorded['num_classes'], recorded['batch'])
        samples = [ActionDataSample().set_gt_label(int(label)) for label in labels]
        loss = model(clips, samples, mode='loss')['loss_cls']
        optimizer.update_params(loss)
        losses.append(loss.item())
        grad_norm = optimizer.message_hub.get_scalar('train/grad_norm').current()
        grad_norms.append(float(grad_norm))
    assert losses == pytest.approx(recorded['losses'], rel=0, abs=1e-10)
    assert grad_norms == pytest.approx(recorded['grad_norms'], rel=1e-10)

    checked = 0
    for name, value in model.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        final = recorded['final'][f'module.{official_name(name)}']
        found = [value.mean(), value.std(correction=0), *value.flatten()[:4]]
        expected = [final['mean'], final['std'], *final['first']]
        assert found == pytest.approx(expected, rel=0, abs=1e-10), name
        checked += 1
    assert checked == len(recorded['final'])
