"""Weights on disk and on a hub: found, checked, read, written."""
