"""The door for other systems: HTTP and JSON under /api/v1/, on the same verbs as pages and commands."""
