#!/usr/bin/env bash
# Prints the path of a Horovod wheel for the active environment's torch, building it where the cache has none.
# GPU=1 builds it against CUDA and NCCL instead of for the CPU alone.
#
# Horovod 0.28.1 fixes C++14 in its build, which current torch headers refuse: a compiler wrapper whose last
# argument is -std=c++20 has the last word. torch's own C++ ABI and Python's decide which wheel fits.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tag=$(python -c 'import sys, torch; print(f"torch{torch.__version__}-py{sys.version_info[0]}{sys.version_info[1]}")')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mamdr/horovod-0.28.1-$tag-$([ -n "${GPU:-}" ] && echo nccl || echo cpu)
if ! ls "$cache"/horovod-*.whl >/dev/null 2>&1; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  printf '#!/bin/sh\nexec g++ "$@" -std=c++20\n' > "$work/g++20"
  chmod +x "$work/g++20"
  export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_CPU_OPERATIONS=GLOO
  [ -z "${GPU:-}" ] || export HOROVOD_GPU_OPERATIONS=NCCL
  export CXX="$work/g++20" LDFLAGS=-s CMAKE_POLICY_VERSION_MINIMUM=3.5
  export CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) MAKEFLAGS=" "
  echo "building Horovod for $tag: a few minutes, once on this machine" >&2
  if ! python -m pip wheel --no-deps --no-build-isolation --no-binary horovod --require-hashes \
      -r "$here/horovod.requirements.txt" -w "$work" > "$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    echo "Horovod did not build; the end of its log is above" >&2
    exit 1
  fi
  mkdir -p "$cache"
  mv "$work"/horovod-*.whl "$cache/"
fi
ls "$cache"/horovod-*.whl
