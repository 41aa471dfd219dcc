"""What every stage stands on: parameters, paths, files, plug-ins, how a stage starts and ends."""
