# SPDX-License-Identifier: BSD-3-Clause
# spica reconstruct from end to end: the folder it leaves, and that the same run gives the same bits.
spica=$1

# has FILE TEXT...: every text stands in the file
has() {
    file=$1
    shift
    for text in "$@"; do
        grep -qF -- "$text" "$file" || { cat "$file"; fail "'$text' is not in $file"; }
    done
}

# run FOLDER options...
run() {
    folder=$1
    shift
    "$spica" reconstruct "$@" -o "$folder" 2>err || { cat err; fail "exit status $? for $*"; }
}

# same A B: map and settings are equal, bit for bit
same() {
    cmp "$1/density.mrc" "$2/density.mrc" || fail "the maps of $1 and $2 differ"
    cmp "$1/result.h5" "$2/result.h5" || fail "the results of $1 and $2 differ"
}

"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 120 --pixels 64 --seed 4 --quiet -o images.h5
small="--generations 2 --starts 2 --resolution 20"

# shellcheck disable=SC2086 # several words
run one images.h5 $small
for name in density.mrc result.h5 report.txt report.json settings.txt log.txt checkpoint.h5; do
    [ -s "one/$name" ] || fail "no $name"
done
[ "$(find one -type f | wc -l)" -eq 7 ] || fail "more than seven files: $(ls one)"
has err 'one/density.mrc' 'one/report.txt'
has one/log.txt 'spica 0' 'one/report.txt'
has one/report.txt 'images.h5' '120' 'IN SHORT' 'WARNINGS' 'did not converge' 'resolution                  20 Angstrom (chosen)' \
    '(automatic)' 'peak memory' 'merge' 'mirror image'
has one/settings.txt 'images = images.h5' 'resolution = 20' 'generations = 2'
if python3 -c '' 2>/dev/null; then
    python3 -m json.tool one/report.json >json.out || fail "report.json is no JSON"
fi
"$spica" info one/density.mrc >map.txt
has map.txt 'density map' 'hand not determined' 'sharp to 20.00 Angstrom'
"$spica" info --json one/result.h5 >result.txt
has result.txt 'result/orientations' 'history/score' 'entry_1/image_1/data'

# its settings repeat it; older results are never mixed with newer ones
run two --settings one/settings.txt
same one two
cp -r one before
status=0
"$spica" reconstruct --settings one/settings.txt -o one 2>err || status=$?
[ $status -eq 1 ] || fail "overwrote a run"
has err 'one holds a run already' '--force'
same one before
run one --settings one/settings.txt --force --seed 9
cmp -s one/density.mrc before/density.mrc && fail "--force did not replace the run, or the seed does nothing"
has one/settings.txt 'seed = 9'
has one/report.txt 'seed                        9 (chosen)'

# the number of threads is not seen: the settings tell it, nothing else does
run three --settings two/settings.txt --threads 1
run four --settings two/settings.txt --threads 2
cmp three/density.mrc four/density.mrc || fail "one and two threads give different maps"
cmp two/density.mrc four/density.mrc || fail "all threads give a different map"
"$spica" info --json three/result.h5 | grep -v -e threads -e three >three.txt
"$spica" info --json four/result.h5 | grep -v -e threads -e four >four.txt
cmp three.txt four.txt
sed 's/threads = 1/threads = 2/' three/settings.txt | cmp - four/settings.txt

# the published baseline is called so
run five images.h5 --resolution 20 --match euclidean --generations 1
has five/report.txt 'the published baseline' 'starts                      4 (default)' 'fit-scale                   yes (default)'
has five/log.txt 'published baseline'
