"""The ready-made catalogs: YAML files, found with ``importlib.resources``."""
