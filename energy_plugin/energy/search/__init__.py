"""A query to ranked rows: candidates, the query's graph, the energy distance."""
