#!/bin/bash
# A file stays under 800 lines, a function under 71.
# Functions are found by the house's brace style: '{' and '}' alone in the first column.
set -u
cd "$1" || exit 1
git ls-files >/dev/null 2>&1 || {
	echo "this tree is no git checkout of this user, so its files are not known"
	exit 77
}

git ls-files -co --exclude-standard '*.c' '*.h' | xargs awk '
	FNR == 1 { start = 0 }
	FNR == 800 { print FILENAME ": 800 lines or more; split it by concept"; failures++ }
	/^\{$/ { start = FNR }
	/^\}$/ && start {
		if (FNR - start - 1 > 70) {
			print FILENAME ":" start ": function of " FNR - start - 1 " lines (70 at most)"
			failures++
		}
		start = 0
	}
	END { exit failures > 0 }
' || exit 1
echo "sizes are kept"
