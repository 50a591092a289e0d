# SPDX-License-Identifier: BSD-3-Clause
# ranks.sh TEST_RANKS [local] -- the cases of test_ranks.c on several processes, where the program was built with StarPU.
set -eu
[ "${2:-all}" = all ] || { echo "left out: several processes, whose libraries no sanitizer knows"; exit 77; }
command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
for processes in 1 2 3 4; do
    echo "== $processes processes"
    status=0
    said=$(timeout 120 mpirun --oversubscribe --bind-to none -n "$processes" "$1" 2>&1) || status=$?
    case $said in *"built without StarPU"*) echo "left out: built without StarPU"; exit 77 ;; esac
    [ "$status" -eq 0 ] || { echo "$said"; exit 1; }
done
