"""The base of every run: git, child processes, locks, cores, progress, and logs without secrets."""
