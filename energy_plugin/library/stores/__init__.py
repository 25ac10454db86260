"""A folder of either host, behind one set of calls for the commands."""
