"""The demonstration: this installation's documentation in both hosts."""
