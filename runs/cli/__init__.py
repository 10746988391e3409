"""The verbs of ``manage.py runs``, by subject: each checks who asks, calls one verb, and answers."""
