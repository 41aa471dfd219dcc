"""The base of every run: git, child processes, locks, checkouts, cores, and logs without secrets."""
