"""What the network has to beat: a logistic regression on the pooled features of the frozen, pretrained backbones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.scoring import Predictions

_MAX_STEPS = 5000


@dataclass(frozen=True)
class LinearProbe:
    """Fitted on all hospitals' training images pooled; ``strength`` is scikit-learn's C, the inverse of the penalty."""

    store: FeatureStore
    train: SplitImages
    num_classes: int

    def predict(self, images: SplitImages, xray_strength: float, ct_strength: float, views: int = 1) -> Predictions:
        """Probabilities like a network's, means over as many ``views`` of an image (``evaluation.views``). A finding
        with one class only in training gets that class's share for all."""
        return Predictions(
            self.findings(images.xray, xray_strength, views), self._classes(images.ct, ct_strength, views)
        )

    def findings(self, images: ImageSet, strength: float, views: int = 1) -> NDArray[np.float32]:
        features, labels = self.store.pooled("xray", self.train.xray), self.train.xray.targets
        wanted = self.store.versions("xray", images, views)
        columns = []
        for column in labels.T:
            known = ~np.isnan(column)
            if len(np.unique(column[known])) < 2:
                share = column[known].mean() if known.any() else 0.5
                columns.append(np.full(len(images), share))
            else:
                model = _fit(features[known], column[known], strength)
                columns.append(np.mean([model.predict_proba(view)[:, 1] for view in wanted], axis=0))
        return np.stack(columns, axis=1).astype(np.float32)

    def _classes(self, images: ImageSet, strength: float, views: int) -> NDArray[np.float32]:
        known = self.train.ct.targets >= 0
        model = _fit(self.store.pooled("ct", self.train.ct)[known], self.train.ct.targets[known], strength)
        probabilities = np.zeros((len(images), self.num_classes), np.float32)
        wanted = self.store.versions("ct", images, views)
        probabilities[:, model.classes_] = np.mean([model.predict_proba(view) for view in wanted], axis=0)
        return probabilities


def _fit(
    features: NDArray[np.float32], labels: Sequence[float] | NDArray[np.float32], strength: float
) -> LogisticRegression:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=_MAX_STEPS)).fit(features, labels)
