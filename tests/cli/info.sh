# SPDX-License-Identifier: BSD-3-Clause
# spica info on every kind of file, and on what is none.
spica=$1

# has FILE TEXT...: every text stands in the file
has() {
    file=$1
    shift
    for text in "$@"; do
        grep -qF -- "$text" "$file" || { echo "'$text' is not in $file:"; cat "$file"; exit 1; }
    done
}

# refused FILE TEXT: exit status 1, one line of error that names the file, nothing on standard output
refused() {
    status=0
    "$spica" info "$1" >out 2>err || status=$?
    [ "$status" -eq 1 ] || { echo "info $1: exit status $status"; exit 1; }
    [ "$(wc -l <err)" -eq 1 ] && [ ! -s out ] || { echo "info $1: not one line of error"; cat out err; exit 1; }
    has err "$1" "$2"
}

# valid_json FILE: where a Python is at hand
valid_json() {
    if python3 -c '' 2>/dev/null; then
        python3 -m json.tool "$1" >json.out || { cat "$1"; exit 1; }
    fi
}

# images: 4600 eV, 0.1 m wide and 0.2 m away: the middle of the side is seen at 14.0 degrees, the corner at 19.4
"$spica" simulate --structure "$SPICA_EXAMPLES/2cex.pdb.gz" --images 5 --pixels 48 --photons 3000 --output images.h5 \
    --seed 3 --quiet
"$spica" info images.h5 >images.txt
has images.txt 'images.h5: diffraction images' 'images         5' '1 panel of 48 x 48 pixels' \
    'wavelength     2.695 Angstrom, 4600 eV' 'Angstrom at the edge' 'whole numbers' 'from 5 images' \
    'polarization, solid_angle' 'orientations'
"$spica" info --json images.h5 >images.json
has images.json '"kind": "images"' '"images": 5' '"width": 48' '"whole_numbers": true'
valid_json images.json

# a molecule
"$spica" info "$SPICA_EXAMPLES/2cex.pdb.gz" >molecule.txt
has molecule.txt 'atoms, diameter' 'C 1516' 'Zn 1'
"$spica" info --json "$SPICA_EXAMPLES/2cex.pdb.gz" >molecule.json
has molecule.json '"kind": "molecule"' '"C": 1516'
valid_json molecule.json

# a map of 1 x 1 x 2 voxels of 4 x 4 x 2 Angstrom, holding 1 and 3; recognised with and without its name
{
    printf '\001\000\000\000\001\000\000\000\002\000\000\000\002\000\000\000'
    head -c 24 /dev/zero
    printf '\000\000\200\100\000\000\200\100\000\000\200\100'
    head -c 972 /dev/zero
    printf '\000\000\200\077\000\000\100\100'
} >map.mrc
"$spica" info map.mrc >map.txt
has map.txt 'density map' '1 x 1 x 2 voxels, float32' '4 x 4 x 2 Angstrom' 'box            4 x 4 x 4 Angstrom' \
    '1 to 3, mean 2, sigma 1'
cp map.mrc density
"$spica" info density | sed 1d >named.txt
sed 1d map.txt | cmp - named.txt
"$spica" info --json map.mrc >map.json
has map.json '"kind": "map"' '"grid": [1, 1, 2]' '"rms": 1'
valid_json map.json

# no file, no contents, wrong contents, half the contents
: >empty.h5
: >empty.mrc
: >empty
echo 'hello' >text.h5
echo 'hello' >text.txt
head -c 5000 images.h5 >half.h5
head -c 1030 map.mrc >half.mrc
mkdir folder
refused missing 'No such file'
refused folder 'is a folder'
refused empty.h5 'is empty'
refused empty.mrc 'truncated'
refused empty 'no file that spica knows'
refused text.h5 'not an HDF5 file'
refused text.txt 'no file that spica knows'
refused half.h5 'damaged HDF5 file'
refused half.mrc 'truncated'
if "$spica" info 2>err; then exit 1; fi
has err 'file'
