# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Requirements of requirements/NAME.txt, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


version = {}
exec((ROOT / 'selfy_mmaction' / 'version.py').read_text(), version)

setup(
    name='selfy-mmaction',
    version=version['__version__'],
    description='SELFY (ICCV 2021) for MMAction2: spatio-temporal self-similarity',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='video, action recognition, self-similarity, motion, mmaction2',
    classifiers=[
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['selfy_mmaction', 'selfy_mmaction.*']),
    # .mim holds links to configs/, tools/ and model-index.yml: OpenMMLab's place for
    # them in an installed package, which `selfy_mmaction::...` bases are read from.
    package_data={'selfy_mmaction': ['.mim/**/*']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    # All mmcv's share one folder of site-packages, both mmengines another, so none can
    # be required without breaking the users of the others.
    extras_require={
        'mmcv-lite': ['mmcv-lite>=2.1.0,<2.2.0', 'mmengine>=0.10.7,<1.0'],
        'mmcv': ['mmcv>=2.1.0,<2.2.0', 'mmengine>=0.10.7,<1.0'],
        'onedl': ['onedl-mmcv>=2.3.0,<3.0', 'onedl-mmengine>=0.10.8,<1.0'],
        'optional': requirements('optional'),
        'tests': requirements('tests'),
        'docs': requirements('docs'),
    },
)
