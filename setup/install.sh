#!/usr/bin/env bash
# Makes .venv: locked requirements, Horovod, the Delta jars and this project. Run again, it does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

need() {  # need COMMAND PACKAGE
  command -v "$1" >/dev/null || { echo "setup: '$1' is missing: install $2" >&2; exit 2; }
}
need python3.11 "Python 3.11 (Debian: python3.11 python3.11-venv)"
need java "Java 17 (Debian: openjdk-17-jre-headless)"
need g++ "a C++ compiler (Debian: g++)"
need mvn "Maven (Debian: maven)"
java -version 2>&1 | grep -q 'version "\(17\|21\)' || {
  echo "setup: 'java' is not version 17 or 21, which Spark 4.0 needs: install Java 17 (Debian: openjdk-17-jre-headless)" >&2
  exit 2
}

stamp=.venv/setup-$(cat requirements.txt setup/* setup.cfg | sha256sum | cut -c1-16)-${GPU:+gpu}
[ ! -e "$stamp" ] || exit 0

[ -x .venv/bin/python ] || python3.11 -m venv .venv
export VIRTUAL_ENV=$PWD/.venv PATH=$PWD/.venv/bin:$PATH
# images often forbid Python to keep what it compiles, and then each process compiles torch and pandas: half of its start
export UV_COMPILE_BYTECODE=1
python -m pip install --quiet --require-hashes -r setup/uv.txt
uv pip install --no-deps --require-hashes -r requirements.txt
horovod=$(setup/horovod.sh)
uv pip install --no-deps --reinstall "$horovod"
uv pip install --no-deps --no-build-isolation -e .
# benchmarks/ is not in the package: its scripts import it from here
echo "$PWD" > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/repository.pth"
# in this environment, horovodrun is mamdr-run: Horovod's own launcher, with one-sentence errors and exit code 2
ln -sf mamdr-run .venv/bin/horovodrun

spark=$(python -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
jars=$(mktemp -d)
trap 'rm -rf "$jars"' EXIT
mvn -q -f setup/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars"
cp "$jars"/delta-spark_2.13-*.jar "$jars"/delta-storage-*.jar "$spark/jars/"
mkdir -p "$spark/conf"
cp setup/spark-defaults.conf setup/log4j2.properties "$spark/conf/"
# Java warns at every start that Spark asks for this incubator module. Only Spark's linear algebra in Java uses it, and
# runs without it.
sed -i 's|^exec "${CMD\[@\]}"$|exec "${CMD[@]/#--add-modules=jdk.incubator.vector/-XX:+IgnoreUnrecognizedVMOptions}"|' \
  "$spark/bin/spark-class"
rm -f .venv/setup-*
touch "$stamp"
