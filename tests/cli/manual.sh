# SPDX-License-Identifier: BSD-3-Clause
# The manual in docs/ is what the tables of the commands say today.
spica=$1
docs=$SPICA_EXAMPLES/../docs

"$spica" help --markdown >commands.md
"$spica" help --man >spica.1
cmp commands.md "$docs/commands.md" || { echo "renew it: spica help --markdown > docs/commands.md"; exit 1; }
cmp spica.1 "$docs/spica.1" || { echo "renew it: spica help --man > docs/spica.1"; exit 1; }

# every command in the list explains itself
for command in $("$spica" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    "$spica" "$command" --help >help.txt
    grep -q "^Usage: spica $command" help.txt
done
