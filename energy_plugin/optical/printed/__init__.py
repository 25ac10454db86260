"""Printed pages: found, straightened and read, line by line."""
