# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints: conversion of official ones, safetensors files, packaged networks."""

from .packaged import (
    SAMPLE_CLIP,
    SCHEME,
    packaged_config,
    packaged_names,
    packaged_path,
    register_packaged,
)
from .safetensors_files import register_safetensors

__all__ = [
    'SAMPLE_CLIP',
    'SCHEME',
    'packaged_config',
    'packaged_names',
    'packaged_path',
]

register_safetensors()
register_packaged()
