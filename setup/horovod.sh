#!/usr/bin/env bash
# Prints the path of a Horovod wheel that fits the active environment's torch. Builds the wheel if the cache lacks it.
# GPU=1 builds for CUDA and NCCL; without it the wheel is for CPUs only.
#
# Horovod 0.28.1 compiles with -std=c++14, but the headers of current torch versions need C++20. Wrappers around the
# compilers change that: g++ obeys the last -std option, so its wrapper appends one; nvcc accepts the option only once,
# so its wrapper replaces it. A wheel fits one version of torch and one of Python, which are in the name of its cache
# folder. NCCL comes with torch; the link gives its library the name that the linker looks for.
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
  echo "setup: building Horovod for $tag; this takes a few minutes, once per machine" >&2
  if ! python -m pip wheel --no-deps --no-build-isolation --no-binary horovod --require-hashes \
      -r "$here/horovod.requirements.txt" -w "$work" > "$work/log" 2>&1; then
    grep -m 10 -i -A 3 "error:\|CMake Error" "$work/log" >&2 || tail -n 40 "$work/log" >&2
    echo "setup: Horovod did not build; the first errors of its log are above" >&2
    exit 1
  fi
  mkdir -p "$cache"
  mv "$work"/horovod-*.whl "$cache/"
fi
ls "$cache"/horovod-*.whl
