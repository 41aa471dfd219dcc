"""The graph run again with other seeds or parameters, in a checkout of its own, to measure how certain a figure is."""
