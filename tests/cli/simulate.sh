# SPDX-License-Identifier: BSD-3-Clause
# simulate.sh SPICA -- spica simulate: what it writes, what it refuses, and that it leaves no half file.
spica=$1

# refuses CODE REASON options...: that exit status, the reason on standard error in one line, and no file
refuses() {
    code=$1 reason=$2
    shift 2
    status=0
    "$spica" simulate --quiet "$@" -o refused.h5 2>err || status=$?
    [ $status -eq "$code" ] || fail "exit status $status, not $code, for $*"
    grep -qF -e "$reason" err || fail "'$(cat err)' does not say '$reason'"
    [ "$(wc -l <err)" -eq 1 ] || fail "more than one line: $(cat err)"
    [ ! -e refused.h5 ] && [ ! -e refused.h5.tmp ] || fail "left a file for $*"
}

awk 'BEGIN {
    srand(1)
    for (i = 1; i <= 300; i++) {
        printf "ATOM  %5d  C   ALA A%4d    %8.3f%8.3f%8.3f  1.00 10.00           C\n", i, i, 30 * rand(), 40 * rand(), 50 * rand()
    }
}' >a.pdb
sed 's/           C$/           N/' a.pdb | gzip >b.pdb.gz
small="--pixels 16 --images 20"

"$spica" simulate --structure a.pdb $small -o plain.h5 2>err || fail "$(cat err)"
grep -q "wrote plain.h5: 20 images" err || fail "says nothing of what it wrote: $(cat err)"
[ -s plain.h5 ] && [ ! -e plain.h5.tmp ] || fail "no plain.h5"

head -c 256 /dev/zero >mask
"$spica" simulate --quiet --structure a.pdb:3 --structure b.pdb.gz:1 $small --photons 1000 --fluence-spread 0.2 \
    --beam-stop 2 --mask mask --energy 5000 --detector-size 0.08 --distance 0.3 --seed 7 -o full.h5 2>err ||
    fail "$(cat err)"
[ ! -s err ] || fail "not quiet: $(cat err)"

echo "panel a -0.05 -0.05 0.6  0.00625 0 0  0 0.00625 0  16 16" >panels
"$spica" simulate --structure a.pdb --panels panels --images 3 --poisson -o panels.h5 2>err || fail "$(cat err)"
grep -q "can hardly be oriented" err || fail "no warning about images of almost no photons"

grep -q "speckles" err && fail "warns of speckles that are well sampled"
"$spica" simulate --structure a.pdb $small --distance 0.05 -o near.h5 2>err || fail "$(cat err)"
grep -q "speckles" err || fail "no warning about speckles too small for the pixels"

# an older file stays as it is, unless told
cp plain.h5 refused.h5
cp plain.h5 before.h5
status=0
"$spica" simulate --structure a.pdb $small -o refused.h5 2>err || status=$?
[ $status -eq 1 ] || fail "overwrote a file"
grep -q -e "--force" err || fail "does not name the cure: $(cat err)"
cmp refused.h5 before.h5
"$spica" simulate --quiet --structure a.pdb $small --images 10 -o refused.h5 --force 2>err && fail "took --images twice"
"$spica" simulate --quiet --structure a.pdb --pixels 16 --images 10 -o refused.h5 --force
cmp -s refused.h5 before.h5 && fail "--force did not replace the file"
rm refused.h5

# every bad input is refused by name
refuses 2 "no molecule given"
refuses 1 "missing.pdb" --structure missing.pdb
refuses 1 "missing.pdb" --structure missing.pdb:2
refuses 2 "weight '0' is not a positive number" --structure a.pdb:0
refuses 2 "weight '-1' is not a positive number" --structure a.pdb:-1
refuses 2 "weight '1e999' is not a positive number" --structure a.pdb:1e999
refuses 2 "images" --structure a.pdb --images 0
refuses 2 "images" --structure a.pdb --images -5
refuses 2 "pixels" --structure a.pdb --pixels 1.5
refuses 2 "distance" --structure a.pdb --distance -0.2
refuses 2 "detector-size" --structure a.pdb --detector-size nan
refuses 2 "energy" --structure a.pdb --energy 0
refuses 2 "photons" --structure a.pdb --photons 0
refuses 2 "exclude each other" --structure a.pdb --photons 10 --fluence 1e25
refuses 2 "--panels and --distance exclude each other" --structure a.pdb --panels panels --distance 0.1
refuses 2 "seed" --structure a.pdb --seed -1
refuses 1 "no assembly 2" --structure a.pdb --assembly 2
refuses 1 "wrong size" --structure a.pdb --mask mask --pixels 17
refuses 1 "no good pixel" --structure a.pdb --pixels 16 --beam-stop 100
refuses 1 "holds no atoms" --structure mask
sed '5s/ C$/XX/' a.pdb >x.pdb
refuses 1 "x.pdb, line 5: unknown element" --structure x.pdb
sed '7s/./?/35' a.pdb >x.pdb
refuses 1 "x.pdb, line 7" --structure x.pdb
head -c 1000 b.pdb.gz >x.pdb.gz
refuses 1 "damaged or truncated" --structure x.pdb.gz
status=0
"$spica" simulate --quiet --structure a.pdb $small -o no/such/folder.h5 2>err || status=$?
[ $status -eq 1 ] || fail "wrote into a folder that is not there"
grep -q "no/such/folder.h5" err || fail "does not name the file: $(cat err)"

# stopped by a signal: its exit status, and nothing is left behind
"$spica" simulate --structure a.pdb --images 300000 --pixels 16 -o stopped.h5 2>err &
program=$!
sleep 1
kill -TERM $program
status=0
wait $program || status=$?
[ $status -eq 130 ] || fail "exit status $status after a signal: $(cat err)"
[ ! -e stopped.h5 ] && [ ! -e stopped.h5.tmp ] || fail "left a half file"
