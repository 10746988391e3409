"""What the pages of runs show: asked of rows, put into words, and drawn."""
