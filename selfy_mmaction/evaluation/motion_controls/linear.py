# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Linear classification of features."""

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1, 1.0)


class LinearClassifier:
    """Softmax regression on standardized features.

    Of ``WEIGHT_DECAYS``, the one with the best accuracy on a fifth of the clips is
    taken; then all clips are used.

    Args:
        features: (N, D), float.
        labels: (N,), int64, from 0.
        partners: Number of consecutive clips that belong together, of which either all
            or none are in the fifth. Default: 1.

    Raises:
        ValueError: If there are fewer than ten groups of partners.
    """

    def __init__(self, features: Tensor, labels: Tensor, partners: int = 1) -> None:
        groups = len(features) // partners
        if groups < 10:
            raise ValueError(
                f'{len(features)} clips in {groups} groups are too few; expected at '
                'least 10 groups'
            )
        self._mean = features.mean(0)
        self._scale = features.std(0).clamp(min=1e-3)
        self._classes = int(labels.max()) + 1
        group = torch.arange(len(features)) // partners
        generator = torch.Generator().manual_seed(0)
        held_out = (
            torch.randperm(int(group[-1]) + 1, generator=generator)[group] % 5 == 0
        )
        accuracies = []
        for decay in WEIGHT_DECAYS:
            self._fit(features[~held_out], labels[~held_out], decay)
            found = self.predict(features[held_out])
            accuracies.append((found == labels[held_out]).double().mean())
        self._fit(
            features, labels, WEIGHT_DECAYS[int(torch.stack(accuracies).argmax())]
        )

    def _fit(self, features: Tensor, labels: Tensor, decay: float) -> None:
        inputs = (features - self._mean) / self._scale
        weight = torch.zeros(inputs.size(1), self._classes, requires_grad=True)
        bias = torch.zeros(self._classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=200, line_search_fn='strong_wolfe'
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(inputs @ weight + bias, labels)
            value = value + decay * weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        self._weight, self._bias = weight.detach(), bias.detach()

    def predict(self, features: Tensor) -> Tensor:
        """Return the most probable label of each clip, (N,)."""
        inputs = (features - self._mean) / self._scale
        return (inputs @ self._weight + self._bias).argmax(1)
