"""Files of a folder as passages to index."""
