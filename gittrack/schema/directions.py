"""Which way a metric is better: what a tag says, else what its name says; honestly None where neither does.

A tag ``gittrack.goal.<metric>`` of a run, or of its experiment, is ``max`` or ``min``. A name is read word by
word: ``val/acc``, ``testAccuracy`` and ``top5_acc`` end in a word that is known; ``loss_scale`` does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

Goal: TypeAlias = Literal["max", "min"]

GOAL_TAG = "gittrack.goal."


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


_MAX = _words(
    "acc accuracy auc auroc auprc aucpr ap map f1 f2 fbeta fscore f1score precision recall sensitivity",
    "specificity r2 iou miou dice jaccard bleu sacrebleu rouge rouge1 rouge2 rougel meteor chrf cider",
    "spice ndcg mrr hit hits psnr ssim kappa mcc pearson spearman kendall likelihood loglikelihood elbo",
    "reward rewards return returns winrate throughput fps silhouette cindex concordance tpr tnr em top1",
    "top3 top5 top10 correct",
)
_MIN = _words(
    "loss losses error errors err rmse mse mae mape smape rmsle msle rmsse mase logloss crossentropy",
    "perplexity ppl nll brier wer cer ter mer eer ece fid kid lpips latency runtime misclassification fpr",
    "fnr deviance regret bpc bpb hamming hinge crps aic bic violations",
)
_PAIRS: Mapping[tuple[str, str], Goal] = {
    ("r", "2"): "max",
    ("r", "squared"): "max",
    ("exact", "match"): "max",
    ("explained", "variance"): "max",
    ("success", "rate"): "max",
    ("win", "rate"): "max",
    ("hit", "rate"): "max",
    ("positive", "rate"): "max",  # 'true' or 'false' stands before it
    ("negative", "rate"): "max",
    ("cross", "entropy"): "min",
    ("mean", "deviance"): "min",
}
# what may stand behind the word that decides: how it was averaged, where it was measured, in what unit
_NEUTRAL = _words(
    "score rate mean avg average median macro micro weighted samples ema smoothed epoch step batch iter",
    "val valid validation test testing train training eval dev holdout oof cv best last final total sum",
    "min max at k top ms s sec secs second seconds us ns per token tokens sample class pct percent p50",
    "p90 p95 p99",
)
_SPOILING = _words(
    "delta diff gap inv inverse drop change minus ratio improvement",
)
_NEGATING = frozenset(["neg", "negative", "negated", "false"])

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[a-z]+[0-9]*|[0-9]+")


def find_goal(metric: str, *tags: Mapping[str, str]) -> Goal | None:
    """Whether a metric is better when it is greater (``max``) or less (``min``); None where nobody knows.

    Args:
        tags: of the run, then of its experiment: the first that says ``max`` or ``min`` has the word.
    """
    for told in tags:
        word = told.get(GOAL_TAG + metric, "").strip().lower()
        if word in ("max", "min"):
            return "max" if word == "max" else "min"
    return _goal_of_name(metric)


def _goal_of_name(metric: str) -> Goal | None:
    for split in (_split_camel, _split):  # 'valAcc' is two words, 'mIoU' is one
        parts = [words for words in map(split, metric.split("/")) if words]
        while len(parts) > 1 and _are_neutral(parts[-1]):  # 'loss/train', as TensorBoard groups them
            parts.pop()
        goal = _goal_of_words(parts[-1]) if parts else None
        if goal is not None:
            return goal
    return None


def _goal_of_words(words: list[str]) -> Goal | None:
    if _SPOILING & set(words):
        return None
    for at in range(len(words) - 1, -1, -1):
        goal = _goal_of_word(words, at)
        if goal is not None:
            return _flip(goal) if _NEGATING & set(words[:at]) else goal
        if not _are_neutral([words[at]]):
            return None
    return None


def _are_neutral(words: list[str]) -> bool:
    """Whether words say nothing of what is measured; a number is what it is counted at: hits@10."""
    return all(word in _NEUTRAL or word.isdigit() for word in words)


def _goal_of_word(words: list[str], at: int) -> Goal | None:
    pair = _PAIRS.get((words[at - 1], words[at])) if at else None
    if pair is not None:
        return pair
    if words[at] in _MAX:
        return "max"
    if words[at] in _MIN:
        return "min"
    if words[at].startswith("map") and words[at][3:].isdigit():
        return "max"
    return None


def _flip(goal: Goal) -> Goal:
    return "min" if goal == "max" else "max"


def _split_camel(text: str) -> list[str]:
    return _split(_CAMEL.sub("_", text))


def _split(text: str) -> list[str]:
    return _WORD.findall(text.lower())
