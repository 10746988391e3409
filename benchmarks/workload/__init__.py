"""A small app of the users' kind: its workflows do next to nothing, so that only the engine is measured."""
