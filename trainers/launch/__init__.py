"""Where runs execute: local processes, SLURM, a Dask cluster."""
