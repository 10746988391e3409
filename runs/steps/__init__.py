"""One file for each kind of step: how it is asked for, recorded and replayed."""
