SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONPATH SPARK_HOME PYTHONDONTWRITEBYTECODE

CONF := conf/ml_latest_small.yaml
PYTEST := -q -n 2 --dist loadfile --no-loadscope-reorder tests

# two processes of pytest share the cores, and so do the ranks of their runs
test coverage torture: export OMP_NUM_THREADS := 1

.PHONY: setup classes demo test coverage torture lint format bench dist lock clean

setup:  ## the environment: .venv with everything in it
	@setup/install.sh

classes: setup  ## an archive of Spark's classes, with which jobs of tests start in a quarter less time
	@python -m tests.support.classes

demo: setup  ## build, train, adapt, evaluate, rank and report on the data in this repository
	@mkdir -p runs
	spark-submit pipelines/build_domains.py --config $(CONF)
	horovodrun -np 2 python training/train.py --config $(CONF)
	spark-submit pipelines/dr_longtail.py --config $(CONF)
	spark-submit pipelines/evaluate.py --config $(CONF) > runs/demo.json
	spark-submit pipelines/score.py --config $(CONF)
	python -m training.report --config $(CONF)

test: classes  ## all tests, through the real engines
	python -m pytest $(PYTEST)

coverage: classes  ## all tests, and which lines of pipelines/ and training/ no process of theirs ran
	rm -rf runs/coverage
	mkdir -p runs/coverage
	COVERAGE_FOLDER=$(CURDIR)/runs/coverage python -m coverage run -m pytest $(PYTEST)
	python -m coverage combine -q
	python -m coverage report

torture: classes  ## kills jobs and ranks at 50 random moments; fails if anything is lost
	python -m tests.support.torture --kills 50

lint: setup
	ruff check .
	ruff format --check .

format: setup
	ruff check --fix .
	ruff format .

bench: setup  ## measures; prints a table each, and a JSON line with the machine
	python benchmarks/frameworks.py
	python benchmarks/epoch.py
	horovodrun -np 2 python benchmarks/sharded.py
	python benchmarks/quality.py
	python -m benchmarks.scale --scale 0.001

dist: setup  ## dist/mamdr-VERSION-py3-none-any.whl, for clusters
	rm -rf build
	uv build --quiet --wheel --no-build-isolation -o dist
	rm -rf build

lock:  ## resolves the requirements anew (needs `make setup` once, for uv)
	uv pip compile -q --no-header --no-annotate --python-version 3.11 --generate-hashes \
		--override setup/overrides.txt -o requirements.txt requirements.in
	uv pip compile -q --no-header --no-annotate --python-version 3.11 --generate-hashes -o setup/uv.txt setup/uv.in

clean:  ## removes what runs have made, not the environment
	rm -rf runs spark-warehouse .pytest_cache .ruff_cache
