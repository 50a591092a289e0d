# SPDX-License-Identifier: BSD-3-Clause
# What spica reconstruct refuses before it begins: one line that names the culprit, and nothing is written.
# (Files with bad contents: test_bad_images.c.)
spica=$1

# refused CODE REASON argument...: that exit status, the reason in one line of error, no folder
refused() {
    code=$1 reason=$2
    shift 2
    status=0
    "$spica" reconstruct --output new "$@" >out 2>err || status=$?
    [ $status -eq "$code" ] || { cat err; fail "exit status $status, not $code, for $*"; }
    grep -qF -e "$reason" err || fail "'$(cat err)' does not say '$reason'"
    [ "$(wc -l <err)" -eq 1 ] && [ ! -s out ] || fail "not one line of error: $(cat out err)"
    [ ! -e new ] || fail "made a folder for $*"
}

simulate() {
    "$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --pixels 16 --quiet "$@"
}
simulate --images 20 -o images.h5

# files
refused 2 'images is missing'
refused 1 'missing.h5: No such file' missing.h5
mkdir folder
refused 1 'folder: is a directory' folder
: >empty.h5
refused 1 'empty.h5: the file is empty' empty.h5
echo hello >text.h5
refused 1 'text.h5: not an HDF5 file' text.h5
head -c 6000 images.h5 >half.h5
refused 1 'half.h5: damaged HDF5 file' half.h5
refused 1 '2cex.pdb.gz: not an HDF5 file' "$SPICA_EXAMPLES/2cex.pdb.gz"
for count in 1 2 9; do
    simulate --images $count -o few.h5 --force
    refused 1 'at least 10 are needed' few.h5
done
grep -qF 'few.h5: 9 images' err

# options
refused 2 '--bogus: unknown option' images.h5 --bogus 3
refused 2 'did you mean --resolution' images.h5 --resolutoin 3
refused 2 '--resolution: 0 is not in' images.h5 --resolution 0
refused 2 '--resolution' images.h5 --resolution nan
refused 2 '--resolution' images.h5 --resolution -8
refused 2 '--resolution' images.h5 --resolution 8A
refused 2 '--diameter' images.h5 --diameter 1e99
refused 2 '--grid: 33 is odd' images.h5 --grid 33
refused 2 '--grid' images.h5 --grid 4
refused 2 '--binning' images.h5 --binning 0
refused 2 '--orientations' images.h5 --orientations 1
refused 2 '--generations' images.h5 --generations 0
refused 2 '--starts' images.h5 --starts 1.5
refused 2 '--match' images.h5 --match best
refused 2 '--match-route' images.h5 --match-route shortest
refused 2 '--match-route: polar compares likelihoods' images.h5 --match euclidean --match-route polar
refused 2 '--refine' images.h5 --refine perhaps
refused 2 '--noise' images.h5 --noise loud
refused 2 '--seed' images.h5 --seed -1
refused 2 '--low-resolution: 10 Angstrom is no coarser than --resolution 10' images.h5 --resolution 10 --low-resolution 10
refused 2 'one word too many' images.h5 images.h5

# settings files
refused 1 'none.txt: cannot open' images.h5 --settings none.txt
echo 'resolutoin = 3' >wrong.txt
refused 2 'wrong.txt:1: unknown setting resolutoin; did you mean resolution?' images.h5 --settings wrong.txt
printf '# comment\ngrid = many\n' >wrong.txt
refused 2 'wrong.txt:2' images.h5 --settings wrong.txt
echo 'force = yes' >wrong.txt
refused 2 'wrong.txt:1' images.h5 --settings wrong.txt

# more than the machine has
refused 1 'GB of memory are needed' images.h5 --grid 2048 --binning 1

# where the results should go
refused 2 'more than once' images.h5 -o other
refused_there() { # FOLDER REASON: as above, for an output that is there
    status=0
    "$spica" reconstruct images.h5 --output "$1" >out 2>err || status=$?
    [ $status -eq 1 ] || { cat err; fail "exit status $status for the output $1"; }
    grep -qF -e "$2" err || fail "'$(cat err)' does not say '$2'"
    [ "$(wc -l <err)" -eq 1 ] || fail "not one line of error: $(cat err)"
}
echo precious >file
refused_there file 'file: is a file'
refused_there file/below 'file'
for name in density.mrc result.h5 report.txt report.json settings.txt; do
    mkdir old
    echo precious >old/$name
    refused_there old "old holds a run already ($name)"
    [ "$(cat old/$name)" = precious ] && [ "$(find old | wc -l)" -eq 2 ] || fail "changed the old run: $(ls old)"
    rm -r old
done
[ "$(cat file)" = precious ]
if [ "$(id -u)" -ne 0 ]; then # root may write everywhere
    mkdir closed
    chmod a-w closed
    refused_there closed 'closed/probe'
    refused_there closed/below 'closed/below'
fi
refused_there /proc/nowhere '/proc/nowhere'
