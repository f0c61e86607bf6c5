"""The balancers by name, and what a trainer is given made one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofasys.arguments import record
from ofasys.errors import ConfigError
from ofasys.train.balance.balancer import Balancer
from ofasys.train.balance.dwa import DWA
from ofasys.train.balance.famo import FAMO
from ofasys.train.balance.gradnorm import GradNorm
from ofasys.train.balance.pcgrad import PCGrad
from ofasys.train.balance.total import Sum
from ofasys.train.balance.uncertainty import Uncertainty

BALANCERS: dict[str, Balancer] = {
    "sum": Sum(),
    "uncertainty": Uncertainty(),
    "dwa": DWA(),
    "gradnorm": GradNorm(),
    "famo": FAMO(),
    "pcgrad": PCGrad(),
}


def find(balance: str | Mapping[str, Any] | Balancer, balancers: Mapping[str, Balancer] = BALANCERS) -> Balancer:
    """The balancer of that name, with the options of a mapping such as {"name": "dwa", "every": 50}; a record as it is.

    Errors: ConfigError for a name or an option there is not, and for what is no balancer.
    """
    if isinstance(balance, str | Mapping):
        return record("balance", balance, balancers)
    if isinstance(balance, type) or not isinstance(balance, Balancer):
        raise ConfigError(f"not a balancer: {balance!r:.80}; give a name or a record with cost and begin(run)")
    return balance
