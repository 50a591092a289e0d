# SPDX-License-Identifier: BSD-3-Clause
# spica compare from the command line: what it refuses, with which exit status. (What it measures: test_comparison.c.)
spica=$1

# refused CODE REASON ARGUMENT...: that exit status, one line of error with the reason, nothing on standard output
refused() {
    code=$1 reason=$2
    shift 2
    status=0
    "$spica" compare "$@" >out 2>err || status=$?
    [ "$status" -eq "$code" ] || { echo "compare $*: exit status $status, not $code"; cat err; exit 1; }
    grep -qF -- "$reason" err || { echo "compare $*: '$(cat err)' does not say '$reason'"; exit 1; }
    [ "$(wc -l <err)" -eq 1 ] && [ ! -s out ] || { echo "compare $*: not one line of error"; cat out err; exit 1; }
}

"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 12 --pixels 16 --seed 3 --quiet -o images.h5
refused 2 'truth' images.h5
refused 1 'images.h5: no dataset `result/orientations`' images.h5 images.h5
refused 1 'nothing.h5: no such file' nothing.h5 images.h5
refused 2 'X9: no point group' --symmetry X9 images.h5 images.h5
refused 2 'is a molecule' "$SPICA_EXAMPLES/2cex.pdb.gz" images.h5
refused 2 'needs a density map' images.h5 images.h5 --aligned a.mrc
[ ! -e a.mrc ]
