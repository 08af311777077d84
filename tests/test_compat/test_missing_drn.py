# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import subprocess
import sys
from importlib import import_module

import mmaction
import pytest
from mmaction.registry import MODELS

from selfy_mmaction.compat.missing_drn import apply_missing_drn

PACKAGE = 'mmaction.models.localizers.drn'


@pytest.fixture
def forgotten(monkeypatch):
    """Remove the finder and the stub."""
    kept = [f for f in sys.meta_path if type(f).__name__ != '_DRNStubFinder']
    monkeypatch.setattr(sys, 'meta_path', kept)
    for name in (PACKAGE, f'{PACKAGE}.drn'):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
def test_mmaction2_models_do_not_import_without_the_stub():
    done = subprocess.run(
        [sys.executable, '-c', 'import mmaction.models'], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"ModuleNotFoundError: No module named '{PACKAGE}'" in done.stderr


def test_stub_finder_is_the_last_one(forgotten):
    with pytest.raises(ModuleNotFoundError, match='drn'):
        import_module(f'{PACKAGE}.drn')
    assert apply_missing_drn() is True
    assert type(sys.meta_path[-1]).__name__ == '_DRNStubFinder'
    assert import_module(f'{PACKAGE}.drn').DRN is MODELS.get('DRN')
    assert apply_missing_drn() is False
    with pytest.raises(ModuleNotFoundError):
        import_module('mmaction.models.localizers.none')


def test_stub_explains_why_it_cannot_be_built():
    with pytest.raises(ImportError, match='lacks .* git checkout'):
        MODELS.build({'type': 'mmaction.DRN', 'vocab_size': 3})


def test_real_folder_takes_precedence(forgotten, monkeypatch, tmp_path):
    # Without __init__.py, as in mmaction2's repository.
    drn = tmp_path / 'drn'
    drn.mkdir()
    (drn / 'drn.py').write_text('DRN = "real"\n')
    assert apply_missing_drn() is True
    localizers = import_module('mmaction.models.localizers')
    monkeypatch.setattr(localizers, '__path__', [*localizers.__path__, str(tmp_path)])
    assert import_module(f'{PACKAGE}.drn').DRN == 'real'


def test_not_applied_if_mmaction2_has_the_folder(forgotten, monkeypatch, tmp_path):
    (tmp_path / 'models' / 'localizers' / 'drn').mkdir(parents=True)
    monkeypatch.setattr(
        mmaction.__spec__, 'submodule_search_locations', [str(tmp_path)]
    )
    assert apply_missing_drn() is False


def test_mmaction2_not_installed(forgotten, monkeypatch):
    monkeypatch.setattr(
        'selfy_mmaction.compat.missing_drn.find_spec', lambda name: None
    )
    with pytest.raises(ModuleNotFoundError, match='pip install'):
        apply_missing_drn()
