# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Package metadata. pyproject.toml configures the build system and the tools."""

import os
import runpy
import shutil
import warnings
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Read by OpenMMLab's tools from `.mim` in an installed package.
MIM = ('configs', 'tools', 'model-index.yml')


def requirements(name: str) -> list[str]:
    """Read requirements/NAME.txt without its comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


class BuildWithMim(build_py):
    """Build step that adds ``.mim``: copies in a wheel, links in editable installs."""

    def run(self) -> None:
        if self.editable_mode:
            make_mim(ROOT / 'selfy_mmaction' / '.mim')
        target = os.path.join(self.build_lib, 'selfy_mmaction', '.mim')
        self.data_files.append(('selfy_mmaction', str(ROOT), target, mim_files()))
        super().run()


def mim_files() -> list[str]:
    """List the files of ``.mim``, relative to the root."""
    paths = [path for name in MIM for path in (ROOT / name, *(ROOT / name).rglob('*'))]
    return sorted(
        str(path.relative_to(ROOT))
        for path in paths
        if path.is_file() and '__pycache__' not in path.parts
    )


def make_mim(folder: Path) -> None:
    """Recreate ``.mim`` for an editable install."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in MIM:
        try:
            os.symlink(Path('..', '..', name), folder / name, (ROOT / name).is_dir())
        except OSError as error:
            # Windows allows links only for administrators and in developer mode.
            warnings.warn(
                f'{folder / name} is a copy because links cannot be created ({error}); '
                'reinstall after each change to the original',
                stacklevel=2,
            )
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)


setup(
    name='selfy-mmaction',
    version=runpy.run_path(str(ROOT / 'selfy_mmaction' / 'version.py'))['__version__'],
    description='SELFY (ICCV 2021) for MMAction2: spatio-temporal self-similarity',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The selfy_mmaction authors',
    license_expression='Apache-2.0',
    license_files=['LICENSE'],
    project_urls={
        'Paper': 'https://arxiv.org/abs/2102.07092',
        'MMAction2': 'https://github.com/open-mmlab/mmaction2',
    },
    keywords='video, action recognition, self-similarity, motion, mmaction2',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    packages=find_packages(include=['selfy_mmaction', 'selfy_mmaction.*']),
    package_data={'selfy_mmaction': ['pretrained/*', 'visualization/*.html']},
    cmdclass={'build_py': BuildWithMim},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    # All variants of mmcv install into the same folder, as do both mmengines. Requiring
    # one would overwrite the other for users who have it.
    extras_require={
        'mmcv-lite': ['mmcv-lite>=2.1.0,<2.2.0', 'mmengine>=0.10.7,<1.0'],
        'mmcv': ['mmcv>=2.1.0,<2.2.0', 'mmengine>=0.10.7,<1.0'],
        'onedl': ['onedl-mmcv>=2.3.0,<3.0', 'onedl-mmengine>=0.10.8,<1.0'],
        'optional': requirements('optional'),
        'visualize': requirements('visualize'),
        'deploy': requirements('deploy'),
        'openvino': requirements('openvino'),
        'tests': requirements('tests'),
        'docs': requirements('docs'),
    },
)
