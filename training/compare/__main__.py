"""python -m training.compare --config conf/compare/quick.yaml [key=value ...]"""

import json
import sys

from training.compare.plan import load_plan
from training.compare.run import compare
from training.config import split_arguments
from training.errors import exit_with_user_errors

if __name__ == "__main__":
    exit_with_user_errors(lambda: print(json.dumps(compare(load_plan(*split_arguments(sys.argv[1:]))))))
