"""Training: the trainer, its optimizer, checkpoints, log, and evaluation."""

from ofasys.train.evaluate import evaluate_task, predict_task
from ofasys.train.interrupt import Terminated
from ofasys.train.lock import one_run
from ofasys.train.record import card_of
from ofasys.train.trainer import Trainer

__all__ = ["Terminated", "Trainer", "card_of", "evaluate_task", "one_run", "predict_task"]
