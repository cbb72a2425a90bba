"""How devices and hosts share the work of a run; the only package that asks JAX for devices."""
