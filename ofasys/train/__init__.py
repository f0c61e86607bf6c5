"""Training: the trainer, its optimizer, checkpoints, log, and evaluation."""

from ofasys.train.evaluate import evaluate_task, predict_task
from ofasys.train.run import card_of
from ofasys.train.trainer import Trainer

__all__ = ["Trainer", "card_of", "evaluate_task", "predict_task"]
