"""A turn: one stretch of a run in one worker, from its claim to the write that ends it."""
