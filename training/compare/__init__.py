"""Makes the paper's comparison tables on any data: methods x models x data sets x seeds, in one command.

python -m training.compare --config conf/compare/quick.yaml [key=value ...]
"""
