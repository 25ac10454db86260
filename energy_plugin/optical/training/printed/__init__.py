"""Training of the recogniser of print: texts set in many fonts, scanned, read."""
