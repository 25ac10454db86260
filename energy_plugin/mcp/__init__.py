"""A Model Context Protocol server over one table or collection, for agents."""
