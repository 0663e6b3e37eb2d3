"""Fuzz targets: each module has one `TARGET` and is named as on the command line."""
