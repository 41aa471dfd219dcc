"""Expectations on the data, and their evaluation by Great Expectations."""
