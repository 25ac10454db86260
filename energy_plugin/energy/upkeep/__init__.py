"""Life after the fit: rows added, cells merged and split, ownership checked."""
