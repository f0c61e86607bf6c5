"""Metrics: pure functions (predictions, references) -> dict, and the registry that knows them by name."""

from ofasys.metric.box import detection, iou, iou_accuracy
from ofasys.metric.confusion import Confusion, precision, recall
from ofasys.metric.image import codebook_use, psnr, ssim
from ofasys.metric.label import accuracy, exact_match, f1, f1_binary, matthews, mean_class_accuracy, vqa_score
from ofasys.metric.metric import METRICS, Metric, find, known_metrics, larger_is_better
from ofasys.metric.motion import frechet_distance, motion_diversity, motion_features, motion_frechet, mpjpe
from ofasys.metric.number import calibration, mae, r2, rmse
from ofasys.metric.retrieval import retrieval
from ofasys.metric.speech import cer, dtw, mcd, per, wer
from ofasys.metric.sql import ExecutionAccuracy, execution_accuracy
from ofasys.metric.struct import grid_exact, table_exact, table_exact_any_order, triples_f1
from ofasys.metric.text import bleu, chrf, cider, rouge_l
from ofasys.metric.video import video_psnr

__all__ = [
    "METRICS",
    "Confusion",
    "ExecutionAccuracy",
    "Metric",
    "accuracy",
    "bleu",
    "calibration",
    "cer",
    "chrf",
    "cider",
    "codebook_use",
    "detection",
    "dtw",
    "exact_match",
    "execution_accuracy",
    "f1",
    "f1_binary",
    "find",
    "frechet_distance",
    "grid_exact",
    "iou",
    "iou_accuracy",
    "known_metrics",
    "larger_is_better",
    "mae",
    "matthews",
    "mcd",
    "mean_class_accuracy",
    "motion_diversity",
    "motion_features",
    "motion_frechet",
    "mpjpe",
    "per",
    "precision",
    "psnr",
    "r2",
    "recall",
    "retrieval",
    "rmse",
    "rouge_l",
    "ssim",
    "table_exact",
    "table_exact_any_order",
    "triples_f1",
    "video_psnr",
    "vqa_score",
    "wer",
]
