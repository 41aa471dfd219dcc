"""The base of every stage: parameters, paths, files, plug-ins, and the start and end of a stage."""
