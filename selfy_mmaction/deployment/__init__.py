# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export and streaming of trained networks."""

from .exported_recognizer import ExportedRecognizer, register_exported_files

__all__ = ['ExportedRecognizer']

register_exported_files()
