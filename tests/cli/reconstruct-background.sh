# SPDX-License-Identifier: BSD-3-Clause
# reconstruct beside a background: as many photons as the molecule scatters, alike in all images, and still solved.
set -eu
spica=$1

[ "$SPICA_RUN_ENGINES" = all ] || { echo "left out: a whole run, too long for sanitizers"; exit 77; }
"$spica" simulate --quiet --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 300 --pixels 48 --photons 20000 \
    --background 20000 --seed 3 -o images.h5
"$spica" reconstruct --quiet --starts 2 --generations 30 images.h5 -o fitted
awk "BEGIN { exit !(($(field fitted/report.json background_fitted) - 0.5)^2 < 0.05^2) }" || {
    grep background fitted/report.json
    fail "the background is not found"
}
"$spica" compare --json fitted/result.h5 images.h5 >orientations.json
awk "BEGIN { exit !($(field orientations.json median) <= 8) }" || { cat orientations.json; fail "not solved"; }
