"""A sweep of scikit-learn models over handwritten digits: a run each, all nested in one run of the sweep.

    python digits_sweep.py

`examples/quickstart` runs it in a repository of its own. What each run gets: the settings of its model, accuracy
and loss on the training and the test part (per epoch, for models that learn in epochs), the data it read, and a
picture of its confusion matrix. They are commits on the branch ``gittrack/digits``: ``gittrack ls digits`` lists
them, ``git log gittrack/digits`` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import ConfusionMatrixDisplay, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

import gittrack

matplotlib.use("Agg")  # draws into files, without a display

from matplotlib.figure import Figure

SEED = 0
EPOCHS = 30
BATCHES = 10  # an epoch
DIGITS = range(10)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to try: its class and the settings it is made with."""

    kind: type[ClassifierMixin]
    settings: dict[str, Any]

    @property
    def learns_in_epochs(self) -> bool:
        return hasattr(self.kind, "partial_fit")


@dataclass(frozen=True, slots=True)
class Split:
    """Images of shape (n_samples, 64), values 0 to 1, and the digits they show; the test part is never fitted."""

    train_images: np.ndarray
    test_images: np.ndarray
    train_digits: np.ndarray
    test_digits: np.ndarray


SGD_SETTINGS = {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.01, "random_state": SEED}
CANDIDATES = [
    Candidate(LogisticRegression, {"C": 0.1, "max_iter": 1000}),
    Candidate(LogisticRegression, {"C": 10.0, "max_iter": 1000}),
    Candidate(RandomForestClassifier, {"n_estimators": 20, "random_state": SEED}),
    Candidate(RandomForestClassifier, {"n_estimators": 200, "random_state": SEED}),
    Candidate(SVC, {"kernel": "linear", "C": 1.0}),
    Candidate(SVC, {"kernel": "rbf", "C": 10.0, "gamma": "scale"}),
    Candidate(SGDClassifier, {**SGD_SETTINGS, "alpha": 1e-4}),
    Candidate(SGDClassifier, {**SGD_SETTINGS, "alpha": 1e-2}),
    Candidate(MLPClassifier, {"hidden_layer_sizes": 32, "learning_rate_init": 0.003, "random_state": SEED}),
    Candidate(MLPClassifier, {"hidden_layer_sizes": 128, "learning_rate_init": 0.003, "random_state": SEED}),
]


def main() -> None:
    split = load_split()
    gittrack.set_experiment("digits")
    with gittrack.start_run(run_name="sweep", description="Which model reads handwritten digits best?"):
        scores = {}
        for number, candidate in enumerate(CANDIDATES, start=1):
            name = f"{candidate.kind.__name__}-{number}"
            scores[name] = train(name, candidate, split)
            print(f"{number:3} of {len(CANDIDATES)}  test accuracy {scores[name]:.4f}  {name}", flush=True)
        best = max(scores, key=scores.__getitem__)
        gittrack.log_param("candidates", len(CANDIDATES))
        gittrack.set_tag("best", best)
        gittrack.log({"best_test_accuracy": scores[best]})
    print(f"best: {best}")


def train(name: str, candidate: Candidate, split: Split) -> float:
    """Fit one candidate in a run of its own; its accuracy on the test part."""
    with gittrack.start_run(run_name=name, nested=True):
        gittrack.log_params({"model": candidate.kind.__name__, **candidate.settings})
        gittrack.log_input(
            gittrack.data.from_numpy(split.train_images, targets=split.train_digits, name="digits"),
            context="training",
        )
        for epoch, model in enumerate(fit(candidate, split)):
            scores = measure(model, split)
            gittrack.log(scores, step=epoch)
        gittrack.log_figure(draw_confusion(model, split), "confusion_matrix.png")
    return scores["test_accuracy"]


def fit(candidate: Candidate, split: Split) -> Iterator[Any]:
    """The model after each epoch; once, where it is fitted in one go."""
    model: Any = candidate.kind(**candidate.settings)
    if not candidate.learns_in_epochs:
        yield model.fit(split.train_images, split.train_digits)
        return
    random = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        for batch in np.array_split(random.permutation(len(split.train_digits)), BATCHES):
            model.partial_fit(split.train_images[batch], split.train_digits[batch], classes=DIGITS)
        yield model


def measure(model: Any, split: Split) -> dict[str, float]:
    """Accuracy on both parts; the loss too, where the model gives probabilities."""
    parts = {
        "train": (split.train_images, split.train_digits),
        "test": (split.test_images, split.test_digits),
    }
    scores = {f"{part}_accuracy": model.score(*data) for part, data in parts.items()}
    if hasattr(model, "predict_proba"):
        for part, (images, digits) in parts.items():
            scores[f"{part}_loss"] = log_loss(digits, model.predict_proba(images), labels=DIGITS)
    return scores


def draw_confusion(model: Any, split: Split) -> Figure:
    """Which digits are taken for which, on the test part."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    ConfusionMatrixDisplay.from_estimator(
        model, split.test_images, split.test_digits, ax=figure.subplots(), colorbar=False, cmap="Blues"
    )
    return figure


def load_split() -> Split:
    """1,797 images of 8 by 8 pixels, a quarter of them for the test; they come with scikit-learn."""
    images, digits = load_digits(return_X_y=True)
    return Split(*train_test_split(images / 16, digits, test_size=0.25, random_state=SEED, stratify=digits))


if __name__ == "__main__":
    main()
