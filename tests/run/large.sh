# SPDX-License-Identifier: BSD-3-Clause
# large.sh RUN_LARGE [local] -- a block of more than 2 GiB is written by one process and read by another. Left out where
# the memory is too small for it; several processes only where the program was built with StarPU.
set -eu
large=$1 engines=${2:-all}
NEEDED=6000000 # [kB] a copy in each of two processes, and room for what else runs
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
[ "$free" -ge $NEEDED ] || { echo "left out: $free kB of memory are free, $NEEDED are needed"; exit 77; }
"$large" --engine local
[ "$engines" = all ] || { echo "left out: several processes, whose libraries no sanitizer knows"; exit 0; }
if ! said=$("$large" --engine starpu 2>&1); then
    case $said in *"built without StarPU"*) echo "left out: $said"; exit 0 ;; esac
    echo "StarPU, 1 process: $said"
    exit 1
fi
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
timeout -k 5 400 mpirun --oversubscribe --bind-to none -n 2 "$large" --engine starpu
