# SPDX-License-Identifier: BSD-3-Clause
# Half sets tell the resolution that the truth tells; nulls and noise have none; failures are named.
spica=$1

# simulate FILE options...
simulate() {
    file=$1
    shift
    "$spica" simulate --quiet --pixels 48 --distance 0.25 --seed 1 "$@" -o "$file"
}

protein="--structure $SPICA_EXAMPLES/2cex.pdb.gz"

# reconstruct FOLDER options...
reconstruct() {
    folder=$1
    shift
    "$spica" reconstruct "$@" -o "$folder" 2>err || { cat err; fail "exit status $? for $*"; }
}

# value JSON NAME: what stands behind the first "NAME"
value() {
    tr -d ' \n' <"$1" | tr ',{' '\n\n' | sed -n "s/^\"$2\":\([^]}]*\).*/\1/p" | sed -n 1p
}

# causes FOLDER NAMES: the causes in the report are these, and no others
causes() {
    found=$(tr -d ' \n' <"$1/report.json" | sed 's/.*"causes":\[\([^]]*\)\].*/\1/')
    [ "$found" = "$2" ] || fail "the causes in $1 are '$found', not '$2'"
}

# shellcheck disable=SC2086 # several words
simulate good.h5 $protein --images 240 --photons 20000

# half sets may be asked for when the run has ended: the same bits
short="--generations 3 --starts 2"
# shellcheck disable=SC2086
reconstruct now good.h5 $short --half-sets
# shellcheck disable=SC2086
reconstruct later good.h5 $short
grep -q 'resolution  *not measured' later/report.txt || fail "a resolution without half sets"
"$spica" reconstruct --resume later --half-sets 2>err || { cat err; fail "no half sets after the end"; }
cmp now/density.mrc later/density.mrc
cmp now/result.h5 later/result.h5
"$spica" reconstruct --resume later --half-sets 2>err
grep -q 'the run has ended' err || fail "half sets were made again"

# nothing to see, whatever the maps look like: no resolution
none() {
    [ "$(value "$1/report.json" agree)" = false ] || fail "the half sets of $1 agree"
    [ "$(value "$1/report.json" fsc_resolution)" = null ] || fail "$1 has a resolution"
    grep -q 'resolution  *NONE' "$1/report.txt" || fail "the report of $1 claims a resolution"
}
# shellcheck disable=SC2086
reconstruct null good.h5 --half-sets --null 1 $short
none null
grep -q 'made from nulls' null/report.txt || fail "the null is not called so"
printf 'ATOM      1  C   GLY A   1       0.000   0.000   0.000  1.00  0.00           C\n' >atom.pdb
simulate noise.h5 --structure atom.pdb --images 240 --photons 20000
# shellcheck disable=SC2086
reconstruct noise noise.h5 --half-sets --diameter 70 $short
none noise
simulate dark.h5 --structure atom.pdb --images 240 --photons 5
# shellcheck disable=SC2086
reconstruct dark dark.h5 --half-sets --diameter 70 $short
none dark

# planted failures, each named, and nothing else
# shellcheck disable=SC2086
simulate few.h5 $protein --images 20
# shellcheck disable=SC2086
reconstruct few few.h5 $short
causes few '"images"'
# shellcheck disable=SC2086
simulate dim.h5 $protein --images 240 --photons 20
# shellcheck disable=SC2086
reconstruct dim dim.h5 $short
causes dim '"photons"'
# shellcheck disable=SC2086
simulate clean.h5 $protein --images 240
# shellcheck disable=SC2086
reconstruct coarse clean.h5 --refine no --orientations 100 $short
causes coarse '"orientations"'
# shellcheck disable=SC2086
simulate background.h5 $protein --images 240 --photons 5000 --background 5000
# shellcheck disable=SC2086
reconstruct background background.h5 --fit-background no $short
causes background '"background"'
# shellcheck disable=SC2086
reconstruct fitted background.h5 $short
grep -q 'by their contrast; estimated' fitted/report.txt || fail "the background is not estimated"
for folder in few dim coarse background; do
    grep -q 'likely reason' "$folder/report.txt" || fail "no reason in $folder"
done

# too few for halves is said before the work begins
status=0
# shellcheck disable=SC2086
simulate fewer.h5 $protein --images 19
"$spica" reconstruct fewer.h5 --half-sets -o none 2>err || status=$?
[ $status -ne 0 ] || fail "19 images were parted"
grep -q '19 images make no two halves of 10' err

[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: the whole run, too long for sanitizers"; exit 0; }

# a structure: half sets agree, and tell the resolution that the truth tells to 20 %
reconstruct good good.h5 --half-sets
causes good ''
[ "$(value good/report.json agree)" = true ] || fail "the half sets of a good run do not agree"
"$spica" compare --json good/density.mrc "$SPICA_EXAMPLES/2cex.pdb.gz" >truth.json
for measure in fsc_resolution cc_half_resolution; do
    awk -v half="$(value good/report.json $measure)" -v truth="$(value truth.json resolution_0.5_angstrom)" \
        'BEGIN { ratio = half * 1e10 / truth; exit !(ratio > 0.8 && ratio < 1.2) }' ||
        fail "half sets tell $(value good/report.json $measure), the truth $(value truth.json resolution_0.5_angstrom)"
done
grep -q 'FSC 0.143 .* Angstrom' good/report.txt || fail "no resolution in Table 1"
