"""The models that grids train, one family a file, each with a leading axis of replicas."""
