"""Functions from array to array, on `jax.lax` alone: no parameters, no Flax."""
