# SPDX-License-Identifier: BSD-3-Clause
# reconstruct-accounts.sh SPICA -- the engine of many processes starts on accounts and machines that lack what is usual, or
# says in one line what it misses.
set -eu
spica=$1
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# works NAME COMMAND...: StarPU itself, and without a word of its own
works() {
    echo "== $1"
    name=$1
    shift
    "$@" >out 2>err || fail "$name: fails"
    ! grep -q 'warning: .*local engine\|starpu\]' err || fail "$name: StarPU does not start"
}

# refused WORDS COMMAND...
refused() {
    words=$1 status=0
    shift
    "$@" >out 2>err || status=$?
    [ $status -ne 0 ] || fail "not refused: $*"
    grep -q "$words" err || fail "does not say '$words'"
}

[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: other engines"; exit 0; }
"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 20 --pixels 32 --seed 3 -o images.h5
run="reconstruct --force --generations 1 --starts 1 --threads 1 images.h5"
star="$spica $run --engine starpu"
# shellcheck disable=SC2086 # several words, here and below
if ! $star 2>err; then fail "fails"; fi
! grep -q "built without StarPU" err || { echo "left out: $(cat err)"; exit 0; }

works "no environment" env -i PATH="$PATH" $star
works "no HOME, no TMPDIR" env -u HOME -u TMPDIR $star
works "a HOME that nobody can write" env HOME=/proc $star
works "a TMPDIR that is not there" env TMPDIR=/proc/missing $star
echo "== a STARPU_HOME that nobody can write"
STARPU_HOME=/proc/missing $star 2>err || fail "fails"
grep -q 'warning: StarPU needs a folder to write, and STARPU_HOME = /proc/missing is none; the local engine is used' err ||
    fail "does not say so"
if unshare -m true 2>why; then
    echo "== no /sys"
    unshare -m sh -c "mount -t tmpfs none /sys; $star" 2>err || fail "fails"
    grep -q 'warning: StarPU cannot start where there is no /sys.*; the local engine is used' err || fail "does not say so"
else
    echo "left out: a machine without /sys: $(cat why)"
fi

command -v mpirun >/dev/null || { echo "left out: several processes, without mpirun"; exit 0; }
both="mpirun --oversubscribe --bind-to none -n 2"
works "2 processes, no environment" env -i PATH="$PATH" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
    $both $star
works "2 processes, a HOME that nobody can write" env HOME=/proc $both $star
echo "== 2 processes, what is refused"
refused 'StarPU needs a folder to write, and STARPU_HOME = /proc/missing is none' env STARPU_HOME=/proc/missing $both $star
refused 'mpirun has started 2 processes, and each would do all of the work: use --engine starpu' $both "$spica" $run
refused 'missing.h5' $both "$spica" reconstruct --engine starpu missing.h5
! grep -q 'same calls' err || fail "speaks of what users know nothing of"
