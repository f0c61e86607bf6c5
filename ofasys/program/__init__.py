"""A plan bound to the symbols of a model: rows in, batches out."""
