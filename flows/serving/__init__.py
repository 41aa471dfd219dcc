"""Prefect on one machine: its server and password, a flow on a schedule, alerts."""
