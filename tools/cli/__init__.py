"""The verbs of ``manage.py tools``, one file a verb, and how every command answers."""
