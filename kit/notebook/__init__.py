"""Everything between the kit and a notebook: the headless runner, scraps, tables, plots."""
