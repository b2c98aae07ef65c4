#!/bin/bash
# godwit without a scheduler: exit codes, sentences, JSON, and files that must be refused.
#	cli.sh GODWIT
set -u
godwit=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HOME=$folder
unset GODWIT_CONFIG
failures=0

# expect CODE TEXT COMMAND...: the exit code, and a text that stdout or stderr must hold
expect() {
	local code=$1 text=$2 got
	shift 2
	"$@" >"$folder/out" 2>"$folder/err" </dev/null
	got=$?
	if [ "$got" -ne "$code" ] || ! grep -qF -- "$text" "$folder/out" "$folder/err"; then
		echo "FAILED: $* -> exit $got (expected $code), expected \"$text\" in:"
		cat "$folder/out" "$folder/err"
		failures=$((failures + 1))
	fi
}

# Nothing on stdout but one JSON value.
json() {
	"$@" >"$folder/out" 2>/dev/null </dev/null
	if ! python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$folder/out" 2>/dev/null; then
		echo "FAILED: $* does not print one JSON value:"
		cat "$folder/out"
		failures=$((failures + 1))
	fi
}

expect 2 'a command is missing' "$godwit"
expect 2 'did you mean "submit"?' "$godwit" submti
expect 2 '"--wait" stands before the command' "$godwit" --wait job.yaml
expect 2 'did you mean "--count"?' "$godwit" run --cuont 3 -- true
expect 2 'COMMAND [ARGUMENT ...] is missing' "$godwit" run
expect 2 '--memory: found "1 parsec", expected a size' "$godwit" run -m '1 parsec' -- true
expect 2 'expected an absolute path' "$godwit" run --directory here -- true
expect 2 'stands in "sites" and in "not_sites"' "$godwit" run -s a --not-site a -- true
expect 2 '"1X" in "env" is no name of a variable' "$godwit" run -e 1X=2 -- true
expect 2 'too much for one terminal' "$godwit" run -n 5000 -- true
expect 2 'SPEC is missing' "$godwit" submit
expect 0 'Usage: godwit COMMAND' "$godwit" --help
expect 0 'godwit 0.' "$godwit" --version
expect 0 'no scheduler reached' "$godwit" version
commands=$("$godwit" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\)  .*/\1/p')
[ "$(wc -w <<<"$commands")" -eq 12 ] || { echo "FAILED: commands are $commands"; failures=1; }
for command in $commands; do
	expect 0 "Usage: godwit $command" "$godwit" "$command" --help
	[ ! -s "$folder/err" ] || { echo "FAILED: $command --help writes to stderr"; failures=1; }
done

# Every sentence about a missing or bad identity says what to do next.
for command in jobs sites 'logs x' 'cancel x' 'explain x' 'revoke x' 'run true'; do
	# shellcheck disable=SC2086
	expect 1 'godwit join TICKET' "$godwit" $command
	# shellcheck disable=SC2086
	json "$godwit" --json $command
done
expect 0 'Made ' "$godwit" keygen
expect 1 'keys but no certificate' "$godwit" jobs
keys=$folder/.config/godwit/keys
[ "$(stat -c %a "$keys")" = 600 ] || { echo "FAILED: $keys has mode $(stat -c %a "$keys")"; failures=1; }
sum=$(sha256sum <"$keys")
expect 1 "$keys" "$godwit" keygen
[ "$(sha256sum <"$keys")" = "$sum" ] || { echo "FAILED: keygen overwrote keys"; failures=1; }
expect 1 'none-there' "$godwit" join none-there
json "$godwit" --json --config "$folder/other" keygen
json "$godwit" --json version

printf 'name: a\ncommand: [x]\ncuont: 3\n' >"$folder/bad.yaml"
expect 1 "$folder/bad.yaml:3:1: unknown key \"cuont\"; did you mean \"count\"?" \
	"$godwit" submit --check "$folder/bad.yaml"
expect 1 "$folder/bad.yaml:3:1:" "$godwit" submit "$folder/bad.yaml"
expect 1 "$folder/bad.yaml:3:1:" "$godwit" plan "$folder/bad.yaml"
json "$godwit" --json submit --check "$folder/bad.yaml"
printf 'name: a\ncommand: [x]\nkind: train\n' >"$folder/train.yaml"
expect 1 'kind "train" is not run yet' "$godwit" submit --check "$folder/train.yaml"
printf 'name: a\ncommand: &a [*a]\n' >"$folder/cyclic.yaml"
expect 1 "$folder/cyclic.yaml:2:10: anchors" "$godwit" submit --check "$folder/cyclic.yaml"
head -c 400000 /dev/zero | tr '\0' x >"$folder/large.yaml"
expect 1 'large.yaml' "$godwit" submit --check "$folder/large.yaml"
expect 1 'none-there.yaml' "$godwit" submit --check none-there.yaml
printf 'name: a\ncommand: [x]\n' >"$folder/good.yaml"
expect 0 'good.yaml: good.' "$godwit" submit --check "$folder/good.yaml"
json "$godwit" --json submit --check "$folder/good.yaml"
expect 1 'keys but no certificate' "$godwit" submit "$folder/good.yaml"

[ "$failures" -eq 0 ] || exit 1
echo "godwit says what it should"
