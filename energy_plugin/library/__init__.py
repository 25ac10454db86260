"""A folder of files as a searchable table or collection: read, cut, stored, reported."""
