#!/bin/bash
# Every C file is as clang-format 14 writes it.
set -u
cd "$1" || exit 1
git ls-files >/dev/null 2>&1 || {
	echo "this tree is no git checkout of this user, so its files are not known"
	exit 77
}
command -v clang-format >/dev/null || { echo "clang-format is not installed"; exit 77; }
git ls-files -co --exclude-standard '*.c' '*.h' |
	xargs clang-format --dry-run --Werror 2>&1 | grep -E 'error:' | head -20 | grep . && exit 1
echo "format is kept"
