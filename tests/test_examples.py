# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""examples/external_project, installed without access to our checkout."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from selfy_mmaction.run import tools_folder

EXAMPLE = Path(__file__).parents[1] / 'examples' / 'external_project'
RECIPE = '_1xb12-1x1x8-6e_motion-rgb'
EXTRACTION = f'selfy-moments-tsn-r18-slim{RECIPE}'
BLOCK = f'difference-tsm-mobilenet-v2{RECIPE}'
INSERTED_EXTRACTION = f'selfy-moments-tsm-mobilenet-v2{RECIPE}'
TOP1 = r'acc/top1: (\S+)'
# Eight clips for training (in two steps), validation and testing.
FEW = (
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    *(f'{name}_dataloader.dataset.indices=8' for name in ('train', 'val', 'test')),
)


@pytest.fixture(scope='module')
def project(make_user_project, motion_tiny, tmp_path_factory):
    """Install a copy of the example next to the wheel, as its README describes."""
    folder = tmp_path_factory.mktemp('external') / 'project'
    made = ('data', 'work_dirs', 'build', '*.egg-info', '__pycache__')
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*made))
    (folder / 'data').mkdir()
    (folder / 'data' / 'motion').symlink_to(motion_tiny)
    project = make_user_project(folder)
    # All dependencies must be installed already, as there is no index.
    offline = ('--no-index', '--no-build-isolation', '--disable-pip-version-check')
    project.python('-m', 'pip', 'install', *offline, '-e', '.')
    return project


def train(project, name: str, ok: bool = True) -> str:
    """Train with mmaction2's train.py."""
    tool, config = tools_folder() / 'train.py', f'configs/{name}.py'
    return project.python(tool, config, '--cfg-options', *FEW, ok=ok)


def weights(project, name: str) -> dict[str, torch.Tensor]:
    path = project.folder / 'work_dirs' / name / 'epoch_1.pth'
    return torch.load(path, weights_only=True)['state_dict']


@pytest.fixture(scope='module')
def output_of_extraction(project) -> str:
    return train(project, EXTRACTION)


def test_extraction_in_our_backbone(project, output_of_extraction):
    assert 'Epoch(train) [1][2/2]' in output_of_extraction
    state = weights(project, EXTRACTION)
    extraction = 'backbone.inserted_blocks.layer2.extraction.'
    assert state[f'{extraction}layer.conv.weight'].shape == (16, 6, 1, 1)
    # The extraction ran in both steps.
    assert state[f'{extraction}layer.bn.num_batches_tracked'] == 2
    # No key of the replaced extraction is left.
    parts = {key.removeprefix(extraction).split('.')[0] for key in state
             if key.startswith(extraction)}  # fmt: skip
    assert parts == {'layer'}


@pytest.mark.slow
def test_dumped_config_tests_the_checkpoint(project, output_of_extraction):
    # The dump has no bases, so only custom_imports can register the modules.
    work_dir = project.folder / 'work_dirs' / EXTRACTION
    config = work_dir / f'{EXTRACTION}.py'
    assert 'selfy_mmaction' not in config.read_text()
    tool = tools_folder() / 'test.py'
    output = project.python(tool, config, work_dir / 'epoch_1.pth')
    (top1,) = re.findall(TOP1, output)
    assert [top1] == re.findall(TOP1, output_of_extraction)


@pytest.mark.slow
def test_extraction_in_a_network_of_mmaction2(project):
    output = train(project, INSERTED_EXTRACTION)
    assert "SELFYBlock runs after 'layer3'" in output
    assert "(layout '(n t) c h w' with t=8)" in output
    state = weights(project, INSERTED_EXTRACTION)
    tracked = 'backbone.inserted_blocks.layer3.extraction.layer.bn.num_batches_tracked'
    assert state[tracked] == 2


@pytest.mark.slow
def test_block_in_a_network_of_mmaction2(project):
    output = train(project, BLOCK)
    assert "FrameDifferenceBlock runs after 'layer3'" in output
    assert "(layout '(n t) c h w' with t=8)" in output
    # The scale is initialized to zero and has been trained.
    scale = weights(project, BLOCK)['backbone.inserted_blocks.layer3.norm.weight']
    assert scale.shape == (32,)
    assert scale.abs().min() > 0


@pytest.mark.slow
def test_forgotten_custom_imports(project):
    lines = (EXAMPLE / 'configs' / f'{EXTRACTION}.py').read_text().splitlines()
    config = project.folder / 'configs' / 'forgotten.py'
    config.write_text(
        '\n'.join(line for line in lines if not line.startswith('custom_imports'))
    )
    output = train(project, 'forgotten', ok=False)
    last = output.strip().splitlines()[-1]
    assert "a registered module, but got type='MomentExtraction'" in last
    assert 'custom_imports' in last
    # The README explains this message.
    readme = (EXAMPLE / 'README.md').read_text()
    assert "a registered module, but got type='MomentExtraction'" in readme


def test_readme_names_every_file():
    readme = (EXAMPLE / 'README.md').read_text()
    sources = [
        path
        for folder in ('configs', 'my_motion', 'tests')
        for path in (EXAMPLE / folder).rglob('*.py')
    ]
    assert len(sources) >= 9
    assert [path.name for path in sources if path.name not in readme] == []
