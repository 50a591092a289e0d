# SPDX-License-Identifier: BSD-3-Clause
# The program as a whole: help, version, wrong usage, output that cannot be written.
spica=$1

# expect CODE TEXT word...: `spica word...` ends with CODE and says TEXT on one line of standard error
expect() {
    code=$1 text=$2
    shift 2
    status=0
    "$spica" "$@" >out 2>err || status=$?
    [ "$status" -eq "$code" ] || { echo "spica $*: exit status $status, expected $code"; cat err; exit 1; }
    grep -qF -- "$text" err || { echo "spica $*: '$text' is not in the message:"; cat err; exit 1; }
    [ "$(wc -l <err)" -eq 1 ] || { echo "spica $*: more than one line:"; cat err; exit 1; }
    [ ! -s out ] || { echo "spica $*: wrote to standard output"; exit 1; }
}

expect 2 'spica: no command given'
expect 2 'spica: frobnicate: unknown command' frobnicate
expect 2 'spica help: --markdwn: unknown option; did you mean --markdown?' help --markdwn
expect 2 'spica help: --threads: 1025 is not in 0..1024' help --threads 1025
expect 2 'spica help: --threads: -1 is not in 0..1024' help --threads=-1
expect 2 'spica help: -t: given more than once' help --threads 1 -t 1
expect 2 "'b': one word too many" help a b
expect 2 'nonsense: unknown command' help nonsense
expect 2 'lists them all (spica.c:' help nonsense --verbose
expect 2 'spica help: nonsense: unknown command' help nonsense --quiet
expect 1 'spica help: missing.txt: cannot open' help --settings missing.txt

printf 'threads = 1\nmarkdwn = yes\n' >settings.txt
expect 2 'spica help: settings.txt:2: unknown setting markdwn; did you mean markdown?' help --settings settings.txt
printf 'markdown = yes # the long form\n' >settings.txt
"$spica" help --settings settings.txt | grep -q '^# Commands of spica$'

"$spica" --version | grep -qE '^spica [0-9]+\.[0-9]+\.[0-9]+$'
"$spica" --help >long
"$spica" -h | cmp - long
"$spica" help | cmp - long
"$spica" help help >one
"$spica" help --help | cmp - one
"$spica" help --bogus -h | cmp - one
grep -q -e '-t, --threads N' one

for words in --version --help 'help --markdown' 'help --man'; do
    status=0
    # shellcheck disable=SC2086 # several words
    "$spica" $words >/dev/full 2>err || status=$?
    [ "$status" -eq 1 ]
    grep -q 'standard output: cannot write: No space left on device' err
done
