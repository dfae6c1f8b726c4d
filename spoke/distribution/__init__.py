"""Objects that configure this cluster, as the hub distributes them: applied, kept as they are, and removed."""
