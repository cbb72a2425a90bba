"""How the work of a run is shared by devices and hosts. The only place that knows devices."""
