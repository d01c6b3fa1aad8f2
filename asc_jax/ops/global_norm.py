"""The length of a gradient: the root of the sum of all its squares."""

import math

import jax
import jax.numpy as jnp
import optax

from asc_jax.runtime.backend import on_cpu

# Columns of the matrices that a leaf is cut into: few products are in vain, and Eigen is quick.
_COLUMNS = 8


def global_norm(tree) -> jax.Array:
    """`optax.tree.norm`, on a CPU out of matrix products.

    There, XLA has three kernels to compile for every shape of a leaf, a sixth of all its work for
    a deep network, and adds up the squares in a way that is off by 5e-4 for 15 million of them.
    The squares of a matrix's columns are also the diagonal of its product with itself, for which
    there is nothing to compile.

    Args:
      tree: of real arrays.

    Returns:
      () float32, at least 0; not finite if some value is not.
    """
    if not on_cpu():
        return optax.tree.norm(tree)
    products = {}  # number of columns -> (columns, columns) matrices
    for leaf in jax.tree.leaves(tree):
        columns = math.gcd(leaf.size, _COLUMNS)
        matrix = leaf.reshape(-1, columns)
        product = jnp.matmul(matrix.T, matrix, preferred_element_type=jnp.float32)
        products.setdefault(columns, []).append(product)
    squares = [jnp.einsum("lcc->", jnp.stack(same)) for same in products.values()]
    return jnp.sqrt(sum(squares))
