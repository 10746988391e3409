"""Replay without effects, and the histories kept to replay."""
