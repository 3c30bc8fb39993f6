"""A plain training loop: linear regression by gradient descent, its loss logged in every step.

Run it in any git repository (where there is none, it makes one, ``gittrack.git``):

    python plain_loop.py

The run becomes one commit on the branch ``gittrack/plain-loop``. Look at it with ``git show gittrack/plain-loop``
or ``gittrack ls plain-loop``; your own branch, index and files stay as they are.
"""

from __future__ import annotations

import numpy as np

import gittrack

STEPS = 200
LEARNING_RATE = 0.1
NOISE = 0.05
SEED = 0


def main() -> None:
    features, targets = make_data(n_samples=256)
    gittrack.set_experiment("plain-loop")
    with gittrack.start_run() as run:  # ends the run on the way out; as FAILED if an exception comes through
        gittrack.log_params({"steps": STEPS, "learning_rate": LEARNING_RATE, "noise": NOISE, "seed": SEED})
        weights = np.zeros(features.shape[1])
        for step in range(STEPS):
            errors = features @ weights - targets
            gradient = 2 * features.T @ errors / len(targets)
            weights -= LEARNING_RATE * gradient
            # About a microsecond, and safe from `kill -9` when it returns: no need to log only every tenth step.
            gittrack.log({"loss": np.mean(errors**2), "gradient_norm": np.linalg.norm(gradient)}, step=step)
        gittrack.log_dict({"weights": weights.round(6).tolist()}, "weights.json")
    print(f"run {run.info.run_name} ({run.info.run_id[:8]}): loss {run.metrics['loss']:.5f}")


def make_data(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy points of a plane: features of shape (n_samples, 3), the last column all ones, and their targets."""
    random = np.random.default_rng(SEED)
    features = np.column_stack([random.normal(size=(n_samples, 2)), np.ones(n_samples)])
    return features, features @ [2.0, -3.0, 0.5] + random.normal(scale=NOISE, size=n_samples)


if __name__ == "__main__":
    main()
