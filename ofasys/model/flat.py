"""How a product of attention is made of flat streams, without a rectangle over all samples.

`N` and `M` positions of queries and keys, `H` heads, `K` head width.
"""

from __future__ import annotations

from torch import Tensor


class Flat:
    """One way of it, for two sides of the same samples or one with itself. Each sample sees its own keys.

    scale: as of `ofasys.model.product.attend`. causal: queries see no later key; both are the same positions then.
    """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float | None) -> Tensor:
        """q (N, H, K), k and v (M, H, K) -> (N, H, K)."""
        raise NotImplementedError

    def own(self, qkv: Tensor, causal: bool, scale: float | None) -> Tensor:
        """Queries, keys and values of one side (N, 3, H, K) -> (N, H, K)."""
        q, k, v = qkv.unbind(1)
        return self.attend(q, k, v, causal, scale)

    def across(self, q: Tensor, kv: Tensor, scale: float | None) -> Tensor:
        """Queries (N, H, K) and the keys and values of another side (M, 2, H, K) -> (N, H, K)."""
        k, v = kv.unbind(1)
        return self.attend(q, k, v, False, scale)
