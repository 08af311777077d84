# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints that do not match the network are rejected by all ways to load them."""

import copy
from pathlib import Path

import pytest
import torch
from mmaction.apis import init_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint

CONFIGS = Path(__file__).parents[2] / 'configs'
RES3, RES4 = 'backbone.inserted_blocks.layer2', 'backbone.inserted_blocks.layer3'
NO_BLOCK = f'no weights for {RES3} '
FOREIGN = f'weights for {RES3} .*, which the network lacks'


@pytest.fixture
def make_config(motion_tiny, tmp_path):
    def make(name='selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py', **options):
        config = Config.fromfile(CONFIGS / 'motion' / name)
        loader = dict(
            batch_size=4,
            num_workers=0,
            persistent_workers=False,
            dataset=dict(
                ann_file=str(motion_tiny / 'val.txt'),
                data_prefix=dict(video=str(motion_tiny / 'videos')),
                num_classes=4,
            ),
        )
        train = copy.deepcopy(loader)
        train['dataset']['ann_file'] = str(motion_tiny / 'train.txt')
        config.merge_from_dict(
            dict(
                train_dataloader=train,
                val_dataloader=loader,
                test_dataloader=loader,
                model=dict(cls_head=dict(num_classes=4)),
                train_cfg=dict(max_epochs=1),
                param_scheduler=[],
                work_dir=str(tmp_path),
                experiment_name=tmp_path.name + str(id(options)),
            )
        )
        config.merge_from_dict(options)
        return config

    return make


@pytest.fixture
def save(tmp_path):
    def write(config, change=lambda state_dict: state_dict):
        torch.manual_seed(1)
        model = MODELS.build(config.model)
        path = tmp_path / 'checkpoint.pth'
        torch.save(dict(meta={}, state_dict=change(model.state_dict())), path)
        return str(path)

    return write


def without(part):
    def change(state_dict):
        return {k: v for k, v in state_dict.items() if part not in k}

    return change


def only(part):
    def change(state_dict):
        return {k: v for k, v in state_dict.items() if part in k}

    return change


def plain(make_config, **options):
    return make_config('tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py', **options)


def start(config, checkpoint, how):
    """Let a runner load the checkpoint, without testing or training."""
    config.load_from = checkpoint
    config.resume = how == 'resume'
    runner = Runner.from_cfg(config)
    if how != 'test':
        runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.load_or_resume()
    return runner


@pytest.mark.parametrize('how', ['test', 'fine-tune', 'resume'])
def test_block_without_weights(make_config, save, how):
    path = save(plain(make_config))
    with pytest.raises(ValueError, match=f'checkpoint.pth: .*{NO_BLOCK}.*new=True'):
        start(make_config(), path, how)


@pytest.mark.parametrize('how', ['test', 'fine-tune'])
def test_block_with_other_shapes(make_config, save, how):
    path = save(make_config())
    options = {'model.backbone.selfy.block.reduced_channels': 16}
    with pytest.raises(ValueError, match='in the checkpoint and .* in the network'):
        start(make_config(**options), path, how)


@pytest.mark.parametrize('how', ['test', 'fine-tune'])
def test_block_that_the_network_lacks(make_config, save, how):
    path = save(make_config())
    with pytest.raises(ValueError, match=FOREIGN):
        start(plain(make_config), path, how)


def test_block_at_another_stage(make_config, save):
    path = save(make_config())
    config = make_config(**{'model.backbone.selfy.after': 'res4'})
    match = f'no weights for {RES4} .*; it has {FOREIGN}'
    with pytest.raises(ValueError, match=match):
        start(config, path, 'test')


def test_part_of_a_block(make_config, save):
    path = save(make_config(), without('extraction.layers.1'))
    with pytest.raises(ValueError, match=rf'no weights for {RES3} \(5 tensors\)'):
        start(make_config(), path, 'fine-tune')


def test_matching_checkpoint_loads(make_config, save):
    config = make_config()
    path = save(config)
    for how in ('test', 'fine-tune'):
        runner = start(copy.deepcopy(config), path, how)
        loaded = torch.load(path, weights_only=True)['state_dict']
        for key, value in runner.model.state_dict().items():
            assert torch.equal(value, loaded[key]), key


def test_error_names_the_folder_if_mmengine_finds_the_checkpoint(
    make_config, save, tmp_path
):
    found = torch.load(save(plain(make_config)), weights_only=True)
    torch.save(dict(found, message_hub={}), tmp_path / 'epoch_1.pth')
    match = f'newest checkpoint in {tmp_path}: .*{NO_BLOCK}'
    with pytest.raises(ValueError, match=match):
        start(make_config(), None, 'resume')


@pytest.mark.parametrize('published', [False, True])
def test_training_cannot_resume_from_weights_only(make_config, save, published):
    path = save(make_config())
    weights = torch.load(path, weights_only=True)['state_dict']
    torch.save(dict(state_dict=weights, meta={}) if published else weights, path)
    start(make_config(), path, 'fine-tune')
    with pytest.raises(ValueError, match='has only weights'):
        start(make_config(), path, 'resume')


def test_new_block_is_initialized_and_the_rest_is_loaded(make_config, save):
    path = save(plain(make_config))
    config = make_config(**{'model.backbone.selfy.new': True})
    runner = start(config, path, 'fine-tune')
    loaded = torch.load(path, weights_only=True)['state_dict']
    state_dict = runner.model.state_dict()
    assert all(torch.equal(state_dict[key], value) for key, value in loaded.items())
    with pytest.raises(ValueError, match=NO_BLOCK):  # new does not apply to tests
        start(make_config(**{'model.backbone.selfy.new': True}), path, 'test')


def test_new_block_is_loaded_if_the_checkpoint_has_it(make_config, save):
    path = save(make_config())
    runner = start(make_config(**{'model.backbone.selfy.new': True}), path, 'fine-tune')
    loaded = torch.load(path, weights_only=True)['state_dict']
    key = f'{RES3}.reduction.conv.conv.weight'
    assert torch.equal(runner.model.state_dict()[key], loaded[key])


def test_new_block_replaces_another(make_config, save):
    path = save(make_config())
    options = {'model.backbone.selfy.after': 'res4', 'model.backbone.selfy.new': True}
    runner = start(make_config(**options), path, 'fine-tune')
    assert any(key.startswith(RES4) for key in runner.model.state_dict())


def test_classifier_of_another_size(make_config, save, tmp_path):
    path = save(make_config(**{'model.cls_head.num_classes': 7}))
    start(make_config(), path, 'fine-tune')
    (log,) = tmp_path.glob('*/*.log')
    assert 'this part of the classifier starts from its init' in log.read_text()
    with pytest.raises(ValueError, match='does not fit the classifier.*fc_cls'):
        start(make_config(), path, 'test')


def test_missing_weights_of_the_host(make_config, save):
    path = save(make_config(), without('layer3.1'))
    start(make_config(), path, 'fine-tune')
    with pytest.raises(ValueError, match='does not fit the network.*layer3.1'):
        start(make_config(), path, 'test')


def test_checkpoint_of_another_network(make_config, save):
    path = save(
        plain(make_config), lambda state: {f'encoder.{k}': v for k, v in state.items()}
    )
    with pytest.raises(ValueError, match=r"none of the weights.*'encoder"):
        start(plain(make_config), path, 'fine-tune')


def test_inference(make_config, save):
    path = save(plain(make_config))
    with pytest.raises(ValueError, match=NO_BLOCK):
        init_recognizer(make_config(), path, device='cpu')
    with pytest.raises(ValueError, match=NO_BLOCK):
        ActionRecogInferencer(make_config(), path, device='cpu')
    with pytest.raises(ValueError, match=NO_BLOCK):
        load_checkpoint(MODELS.build(make_config().model), path)
    path = save(make_config())
    init_recognizer(make_config(), path, device='cpu')
    with pytest.raises(ValueError, match=FOREIGN):
        init_recognizer(plain(make_config), path, device='cpu')


def test_inference_with_another_clip_length(make_config, save):
    config = make_config()
    path = save(config)
    config.test_dataloader.dataset.pipeline[1].num_clips = 16
    with pytest.raises(ValueError, match='samples 16 frames .* num_segments=8'):
        ActionRecogInferencer(copy.deepcopy(config), path, device='cpu')
    config.test_pipeline = config.test_dataloader.dataset.pipeline
    with pytest.raises(ValueError, match='samples 16 frames .* num_segments=8'):
        init_recognizer(config, path, device='cpu')


def backbone(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='ResNetSELFY',
            depth=18,
            base_channels=8,
            selfy=dict(after='res3', block=dict(type='SELFYBlock', reduced_channels=8)),
            **kwargs,
        )
    )


@pytest.mark.parametrize('prefix', ['backbone.', ''])
@pytest.mark.parametrize('how', ['init_cfg', 'pretrained'])
def test_initialization_from_a_checkpoint_loads_the_block(tmp_path, prefix, how):
    trained = backbone()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.normal_()
    path = tmp_path / 'trained.pth'
    state_dict = {prefix + k: v for k, v in trained.state_dict().items()}
    torch.save(dict(state_dict=state_dict), path)
    if how == 'init_cfg':
        init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix=prefix or None)
        network = backbone(init_cfg=init_cfg)
    else:
        network = backbone(pretrained=str(path), torchvision_pretrain=False)
    network.init_weights()
    for key, value in network.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key]), key


def test_initialization_logs_that_the_block_is_new(tmp_path, log):
    network = backbone()
    weights = without('inserted_blocks')(network.state_dict())
    torch.save(dict(state_dict=weights), tmp_path / 'host.pth')
    network = backbone(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'host.pth'))
    )
    network.init_weights()
    assert any('after layer2 start from their own init' in line for line in log)


def test_initialization_with_a_block_of_other_shapes(tmp_path):
    network = backbone()
    state_dict = network.state_dict()
    key = 'inserted_blocks.layer2.reduction.conv.conv.weight'
    state_dict[key] = state_dict[key][:4]
    torch.save(dict(state_dict=state_dict), tmp_path / 'other.pth')
    network = backbone(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'))
    )
    with pytest.raises(ValueError, match=key):
        network.init_weights()
