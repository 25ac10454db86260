"""Stores under load from threads and processes."""
