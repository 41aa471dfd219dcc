"""What every run stands on: git, child processes, locks, checkouts, cores, and logs without secrets."""
