"""How fast it is: what `manage.py bench` measures, and the work it is measured with."""
