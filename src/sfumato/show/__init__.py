"""Showing: grids, films, plots, the HTML report."""
