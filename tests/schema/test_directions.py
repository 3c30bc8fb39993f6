"""Which way a metric is better: told by a tag, else by its name, else not at all."""

from __future__ import annotations

import pytest

from gittrack.schema.directions import find_goal

GREATER = [
    "acc",
    "accuracy",
    "val_acc",
    "val/acc",
    "test/accuracy",
    "top5_acc",
    "valAcc",
    "f1",
    "f1_score",
    "macro_f1",
    "F1-macro",
    "roc_auc",
    "r2",
    "r2_score",
    "R2",
    "precision",
    "recall",
    "hits@10",
    "mAP@0.5",
    "map50",
    "ndcg@10",
    "log_likelihood",
    "exact_match",
    "true_positive_rate",
    "acc/val",
    "mIoU",
    "neg_mean_squared_error",
    "neg_log_loss",
    "episode_reward",
    "BLEU",
    "tokens_throughput",
    "explained_variance_score",
]
LESS = [
    "loss",
    "val_loss",
    "train/loss",
    "loss/train",
    "best_val_loss",
    "MSELoss",
    "rmse",
    "mean_absolute_error",
    "error_rate",
    "max_error",
    "cross_entropy",
    "perplexity",
    "negative_log_likelihood",
    "nll",
    "latency_ms",
    "latency/p99",
    "top1_error",
    "false_positive_rate",
    "wer",
    "brier_score",
    "accuracy_loss",
    "fid",
]
UNKNOWN = [
    "x",
    "epoch",
    "lr",
    "learning_rate",
    "grad_norm",
    "loss_scale",
    "accuracy_std",
    "loss_ratio",
    "time",
    "step",
    "score",
    "entropy",
    "delta_loss",
    "gap/accuracy_gap",
    "system/cpu_utilization_percentage",
    "temperature",
    "精度",
    "///",
    "5",
]


@pytest.mark.parametrize("name", GREATER)
def test_greater_is_better(name: str) -> None:
    assert find_goal(name) == "max"


@pytest.mark.parametrize("name", LESS)
def test_less_is_better(name: str) -> None:
    assert find_goal(name) == "min"


@pytest.mark.parametrize("name", UNKNOWN)
def test_nobody_knows(name: str) -> None:
    assert find_goal(name) is None


def test_a_tag_has_the_word_and_the_runs_own_before_the_experiments() -> None:
    assert find_goal("score", {"gittrack.goal.score": "max"}) == "max"
    assert find_goal("loss", {"gittrack.goal.loss": "max"}, {"gittrack.goal.loss": "min"}) == "max"
    assert find_goal("loss", {"gittrack.goal.loss": "sideways"}) == "min"
    assert find_goal("loss", {"gittrack.goal.other": "max"}) == "min"
