"""One promise of the README a file, told with real processes."""
