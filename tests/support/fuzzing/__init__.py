"""Damaged inputs for everything that reads stored bytes."""
