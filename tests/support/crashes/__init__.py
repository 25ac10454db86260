"""Processes killed at every write: what they do, what they leave, who looks."""
