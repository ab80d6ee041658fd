SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONPATH SPARK_HOME PYTHONDONTWRITEBYTECODE

CONF := conf/ml_latest_small.yaml

# tests, then the examples in docstrings; two processes, each of which takes a whole file at a time
PYTEST := -q -n 2 --dist loadfile --no-loadscope-reorder tests training pipelines

# pytest's processes, and the ranks that tests start, share the machine's cores
test coverage torture: export OMP_NUM_THREADS := 1

.PHONY: setup help classes demo test coverage torture lint format bench dist lock clean

setup:  ## create .venv with everything in it
	@setup/install.sh

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile

classes: setup  ## archive the classes that Spark loads, so that the tests' jobs start faster
	@python -m tests.support.class_archive

demo: setup  ## build, train, adapt, evaluate, rank and report on the data in this repository
	@mkdir -p runs
	spark-submit pipelines/build_domains.py --config $(CONF)
	horovodrun -np 2 python training/train.py --config $(CONF)
	spark-submit pipelines/dr_longtail.py --config $(CONF)
	spark-submit pipelines/score.py --config $(CONF)
	horovodrun -np 2 python training/train.py --config $(CONF) framework.name=joint training.patience=4
	spark-submit pipelines/evaluate.py --config $(CONF) framework.name=joint training.patience=4 > runs/demo_baseline.json
	spark-submit pipelines/evaluate.py --config $(CONF) > runs/demo.json
	python -m training.report --config $(CONF)

test: classes  ## run all tests and the examples in docstrings, on the real engines
	python -m pytest $(PYTEST)

coverage: classes  ## run all tests and list the lines of pipelines/ and training/ that they do not reach
	rm -rf runs/coverage
	mkdir -p runs/coverage
	COVERAGE_FOLDER=$(CURDIR)/runs/coverage python -m coverage run -m pytest $(PYTEST)
	python -m coverage combine -q
	python -m coverage report

torture: classes  ## kill jobs and ranks at 50 random moments; fail if anything is lost
	python -m tests.support.torture --kills 50

lint: setup  ## check style, format, types, the layers of imports, and spelling
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo
	codespell

format: setup  ## format the code and apply ruff's automatic fixes
	ruff check --fix .
	ruff format .

bench: setup  ## run the benchmarks; each prints a table and a JSON line that describes the machine
	python benchmarks/frameworks.py
	python benchmarks/epoch.py
	horovodrun -np 2 python benchmarks/sharded.py
	python benchmarks/quality.py
	python -m benchmarks.scale --scale 0.001

dist: setup  ## build dist/mamdr-VERSION-py3-none-any.whl
	rm -rf build
	uv build --quiet --wheel --no-build-isolation -o dist
	rm -rf build

lock:  ## resolve requirements.in into requirements.txt (needs uv, which `make setup` installs)
	uv pip compile -q --no-header --no-annotate --python-version 3.11 --generate-hashes \
		--override setup/overrides.txt -o requirements.txt requirements.in
	uv pip compile -q --no-header --no-annotate --python-version 3.11 --generate-hashes -o setup/uv.txt setup/uv.in

clean:  ## remove what runs, tests and linters left behind; keep .venv
	rm -rf runs spark-warehouse .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
