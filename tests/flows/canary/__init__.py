"""A user's app whose tools give their secrets away wherever they can."""
