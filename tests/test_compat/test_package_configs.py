# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import shutil
import sys
from pathlib import Path

import pkg_resources
import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmengine.registry import MODELS
from mmengine.utils import get_installed_path, is_installed

from selfy_mmaction.compat import package_configs
from selfy_mmaction.compat.package_configs import apply_package_configs, find_configs

BASE = "model = dict(type='TSNHead', num_classes=2, in_channels=3)\n"


@pytest.fixture
def shipped_config(monkeypatch, tmp_path):
    """A config that the package ships."""
    (tmp_path / 'head.py').write_text(BASE)
    monkeypatch.setattr(package_configs, '_CONFIGS', tmp_path)


def test_package_is_unknown_without_the_workaround(symptoms):
    seen = symptoms['package_configs']
    assert seen['before'] == (
        'AssertionError: mmengine does not support to load selfy_mmaction config.'
    )
    assert seen['after'].startswith('FileNotFoundError: ')
    assert 'none.py' in seen['after']


@pytest.mark.usefixtures('shipped_config')
def test_base_resolves_and_builds(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text("_base_ = 'selfy_mmaction::head.py'\nmodel = dict(num_classes=4)")
    config = Config.fromfile(child)
    head = MODELS.build(config.model)
    assert type(head).__name__ == 'TSNHead'
    assert head.num_classes == 4


def test_other_packages_and_plain_paths_are_unchanged(tmp_path):
    path, scope = Config._get_cfg_path('mmaction::_base_/default_runtime.py', 'x.py')
    assert scope == 'mmaction'
    assert Path(path).is_file()
    found = Config._get_cfg_path('base.py', str(tmp_path / 'x.py'))
    assert found == (str(tmp_path / 'base.py'), None)


def test_own_configs_resolve():
    path, scope = Config._get_cfg_path(
        'selfy_mmaction::_base_/default_runtime.py', 'x.py'
    )
    assert scope == 'mmaction'
    assert 'selfy_mmaction' in Path(path).read_text()


def test_registered_name_is_found_on_the_path(monkeypatch):
    def not_installed(name):
        raise pkg_resources.DistributionNotFound(name)

    name = MODULE2PACKAGE['selfy_mmaction']
    assert is_installed(name)
    monkeypatch.setattr(pkg_resources, 'get_distribution', not_installed)
    here = Path(package_configs.__file__).parents[1]
    assert Path(get_installed_path(name)) == here


def test_registered_name_is_found_when_installed(monkeypatch, tmp_path):
    name = MODULE2PACKAGE['selfy_mmaction']
    # The files of `pip install`; the distribution's name has a hyphen.
    metadata = tmp_path / 'selfy_mmaction-0.1.0.dist-info'
    metadata.mkdir()
    (metadata / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: selfy-mmaction\nVersion: 0.1.0\n'
    )
    (metadata / 'top_level.txt').write_text('selfy_mmaction\n')
    (tmp_path / 'selfy_mmaction').mkdir()
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    # pkg_resources reads sys.path again.
    assert is_installed(name)
    assert Path(get_installed_path(name)) == tmp_path / 'selfy_mmaction'


def test_hub_reads_the_installed_package(monkeypatch, tmp_path):
    # For an editable install pkg_resources returns site-packages, which lacks the
    # package.
    package = tmp_path / 'selfy_mmaction'
    (package / '.mim').mkdir(parents=True)
    (package / '.mim' / 'model-index.yml').write_text('Import: [metafile.yml]')
    config = 'configs/a/head.py'
    (package / '.mim' / 'metafile.yml').write_text(f'Models: [{{Config: {config}}}]')
    (package / '.mim' / config).parent.mkdir(parents=True)
    (package / '.mim' / config).write_text(BASE)
    monkeypatch.setattr(package_configs, '_PACKAGE', package)
    assert get_config('selfy_mmaction::a/head.py').model.type == 'TSNHead'
    shutil.rmtree(package / '.mim')
    with pytest.raises(FileNotFoundError, match=f'pip install -e {tmp_path}$'):
        get_config('selfy_mmaction::a/head.py')
    assert 'mmaction' in get_config('mmaction::_base_/default_runtime.py').default_scope


def test_configs_of_an_installed_package_and_of_a_checkout(tmp_path):
    package = tmp_path / 'selfy_mmaction'
    # site-packages may have a `configs` folder of another package.
    (tmp_path / 'configs').mkdir()
    assert find_configs(package) == package / '.mim' / 'configs'
    (tmp_path / 'model-index.yml').touch()
    assert find_configs(package) == tmp_path / 'configs'


def test_wrapped_once():
    method = Config._get_cfg_path
    assert apply_package_configs() is False
    assert Config._get_cfg_path is method
