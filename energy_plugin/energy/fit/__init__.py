"""Vectors to a field: anchors, metric, heat, and the columns of every row."""
