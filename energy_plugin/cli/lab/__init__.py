"""Commands of the laboratory: measure, train, tune."""
