"""Many hospitals on one machine: phantom data, partitions, the simulation, baselines."""
