"""What numpy and torch spell differently, for the batched solver: the same code on a CPU and on a
GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A numpy array or a torch tensor."""


class Numpy:
    """The operations that numpy spells its own way."""

    xp: Any = np
    dtype: Any

    def __init__(self, double: bool = False) -> None:
        self.double, self.dtype = double, np.float64 if double else np.float32

    def array(self, values: Any) -> Array:
        return np.ascontiguousarray(values, dtype=self.dtype)

    def host(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def dot(self, a: Array, b: Array) -> Array:
        return np.vecdot(a, b)

    def factor(self, gram: Array, shift: Array) -> Array | None:
        """Cholesky factor of gram + diag(shift); None where rounding made that indefinite."""
        from scipy.linalg import LinAlgError, cholesky

        shifted = gram.copy()
        shifted.reshape(-1)[:: len(gram) + 1] += shift
        try:
            # .T is LAPACK's order: nothing is copied
            return cholesky(shifted.T, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None

    def solve(self, factor: Array, rhs: Array) -> Array:
        from scipy.linalg import blas, cho_solve

        if len(rhs) > 1:
            return cho_solve((factor, False), rhs.T, check_finite=False).T
        # a seventh of LAPACK's time, which is meant for many right sides
        solve = blas.dtrsv if self.double else blas.strsv
        return solve(factor, solve(factor, rhs[0], trans=1))[None]


class Torch(Numpy):
    """The same on torch's tensors, on any device."""

    def __init__(self, device: str, double: bool = False) -> None:
        import torch

        self.xp, self.device, self.double = torch, device, double
        self.dtype = torch.float64 if double else torch.float32

    def array(self, values: Any) -> Array:
        return self.xp.as_tensor(values, dtype=self.dtype, device=self.device).contiguous()

    def host(self, values: Array) -> NDArray[Any]:
        return np.asarray(values.cpu().numpy())

    def dot(self, a: Array, b: Array) -> Array:
        return (a * b).sum(-1)

    def factor(self, gram: Array, shift: Array) -> Array | None:
        shifted = gram.clone()
        shifted.diagonal().add_(shift)
        factor, info = self.xp.linalg.cholesky_ex(shifted)
        return None if bool(info) else factor

    def solve(self, factor: Array, rhs: Array) -> Array:
        return self.xp.cholesky_solve(rhs.T, factor).T.contiguous()
