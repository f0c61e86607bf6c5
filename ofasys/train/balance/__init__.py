"""Balancers: how the tasks of one update share its step. They are apart from schedules, which say whose turn it is."""

from ofasys.train.balance.balancer import Balancer, Balancing, Begun
from ofasys.train.balance.registry import BALANCERS, find

__all__ = ["BALANCERS", "Balancer", "Balancing", "Begun", "find"]
