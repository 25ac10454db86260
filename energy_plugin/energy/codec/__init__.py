"""Rows as bytes: rotation, residual codes, sketches, and the blobs that hosts store."""
