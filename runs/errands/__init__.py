"""Calls whose bodies run on another queue."""
