"""The kit that `make gpu-kit` writes, and the parts that benchmarks/gpu.py runs of it on a machine with a GPU."""
