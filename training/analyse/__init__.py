"""Repeats analyses of the paper. Each is a command that draws a plot from tables that are built already.

python -m training.analyse NAME --config conf/planted.yaml [key=value ...]

An analysis is a function that takes the config and returns its figures and an SVG.
"""
