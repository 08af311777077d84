# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints: conversion of official ones, safetensors files, packaged networks."""

from .packaged import register_packaged
from .safetensors_files import register_safetensors

register_safetensors()
register_packaged()
