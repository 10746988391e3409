"""Many rows, many timers, many steps: what must not grow with them."""
