#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# run-on-gpu.sh [BUILD] -- the tests of tests/device on a GPU, then under compute-sanitizer. The machine needs nvcc with cuFFT
# and cuBLAS, cmake, ninja and a C and C++ compiler; no HDF5, MPI or cmocka. BUILD is the folder to build in: build/gpu.
set -eu
cd "$(dirname "$0")/../.."
build=${1:-build/gpu}

cmake -S . -B "$build" -G Ninja -DSPICA_DEVICE_ONLY=ON -DSPICA_CUDA=ON -DSPICA_WERROR=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS_RELWITHDEBINFO='-O2 -g' -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O2 -g' \
    -DCMAKE_CUDA_FLAGS_RELWITHDEBINFO='-O3 -lineinfo' --log-level=WARNING
cmake --build "$build"

SPICA_DEVICE_PLUGIN=$build/spica-cuda.so
SPICA_DEVICE_PROBE=$build/probe-cuda.so
SPICA_SEED=${SPICA_SEED:-$(date +%s)} # one for all, so that a failure under the sanitizer can be repeated without it
export SPICA_DEVICE_PLUGIN SPICA_DEVICE_PROBE SPICA_SEED

for test in "$build"/tests/device/test_device_*; do
    echo "== $test"
    "$test"
done
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
# The tests of the platform and of the device make mistakes on purpose; those of the phases make none.
for tool in memcheck racecheck synccheck; do
    for test in "$build"/tests/device/test_device_*; do
        case $test in
        *_platform | *_device_device) continue ;;
        esac
        echo "== $tool $test"
        "$sanitizer" --tool $tool --error-exitcode 1 "$test"
    done
done
