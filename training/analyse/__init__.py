"""Analyses of the paper, each a command with a plot; the data must be built.

python -m training.analyse NAME --config conf/planted.yaml [key=value ...]

An analysis is a function (config) -> (figures, SVG).
"""
