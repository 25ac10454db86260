"""Looking around in a field without a question: rows near a row, in λ, in copies, along paths."""
