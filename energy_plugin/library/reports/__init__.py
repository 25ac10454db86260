"""A page about a field: what it shows, its pictures, its HTML."""
