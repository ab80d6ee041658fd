#!/usr/bin/env bash
# Prints the path of a Horovod wheel for the active environment's torch, building it where the cache has none.
# GPU=1 builds it against CUDA and NCCL instead of for the CPU alone.
#
# Horovod 0.28.1 fixes C++14 in its build, which current torch headers refuse: a compiler wrapper whose last
# argument is -std=c++20 has the last word; nvcc takes the option only once, so there it is replaced. torch's own C++
# ABI and Python's decide which wheel fits. NCCL is the one that torch brings, under the name that a linker looks for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tag=$(python -c 'import sys, torch; print(f"torch{torch.__version__}-py{sys.version_info[0]}{sys.version_info[1]}")')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mamdr/horovod-0.28.1-$tag-$([ -n "${GPU:-}" ] && echo nccl || echo cpu)
if ! ls "$cache"/horovod-*.whl >/dev/null 2>&1; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  printf '#!/bin/sh\nexec g++ -include string -include stdexcept -include cstdint "$@" -std=c++20\n' > "$work/g++20"
  chmod +x "$work/g++20"
  export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
  export HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_CPU_OPERATIONS=GLOO
  if [ -n "${GPU:-}" ]; then
    command -v nvcc >/dev/null || { echo "setup: 'nvcc' is missing: put the CUDA toolkit's bin on PATH" >&2; exit 2; }
    printf '#!/bin/bash\nexec nvcc "${@/#-std=*/-std=c++20}"\n' > "$work/nvcc20"
    chmod +x "$work/nvcc20"
    nccl=$(python -c 'import nvidia.nccl; print(*nvidia.nccl.__path__)')
    mkdir -p "$work/nccl/lib"
    ln -s "$nccl/include" "$work/nccl/include"
    ln -s "$nccl/lib/libnccl.so.2" "$work/nccl/lib/libnccl.so"
    export HOROVOD_GPU_OPERATIONS=NCCL HOROVOD_NCCL_HOME=$work/nccl HOROVOD_NCCL_LINK=SHARED
    export CUDACXX=$work/nvcc20 CUDAToolkit_ROOT=$(dirname "$(dirname "$(command -v nvcc)")")
  fi
  export CXX="$work/g++20" LDFLAGS=-s CMAKE_POLICY_VERSION_MINIMUM=3.5
  export CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) MAKEFLAGS=" "
  echo "building Horovod for $tag: a few minutes, once on this machine" >&2
  if ! python -m pip wheel --no-deps --no-build-isolation --no-binary horovod --require-hashes \
      -r "$here/horovod.requirements.txt" -w "$work" > "$work/log" 2>&1; then
    grep -m 10 -i -A 3 "error:\|CMake Error" "$work/log" >&2 || tail -n 40 "$work/log" >&2
    echo "Horovod did not build; what its log says first is above" >&2
    exit 1
  fi
  mkdir -p "$cache"
  mv "$work"/horovod-*.whl "$cache/"
fi
ls "$cache"/horovod-*.whl
