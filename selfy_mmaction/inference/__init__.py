# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Predictions for videos, folders of videos and cameras."""

from .prediction import ClassProbability, Prediction
from .predictor import Predictor, predict

__all__ = ['ClassProbability', 'Prediction', 'Predictor', 'predict']
