"""Array → array on `jax.lax` alone: no parameters, no Flax."""
