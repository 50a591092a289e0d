# SPDX-License-Identifier: BSD-3-Clause
# What pipeline tests have in common; `script` is the path of the test.

# fail WORDS: ends the test, with what the program said last
fail() {
    echo "$(basename "$script" .sh): $*"
    [ ! -s err ] || cat err
    exit 1
}

# field FILE NAME: the number behind the first "NAME" of a JSON file
field() {
    tr -d '\n' <"$1" | tr ',{' '\n\n' | sed -n "s/^ *\"$2\": *\([-0-9.e+]*\).*/\1/p" | sed -n 1p
}
