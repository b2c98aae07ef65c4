#!/bin/bash
# Includes only go down. Each box lists the boxes that it may include; an include of anything else,
# or a box that is not listed, fails with file:line.
set -u
cd "$1" || exit 1
git ls-files >/dev/null 2>&1 || {
	echo "this tree is no git checkout of this user, so its files are not known"
	exit 77
}

# The box of a file is its longest prefix among these.
declare -A may=(
	[proto/base]="proto/base"
	[proto]="proto proto/base"
	[agent/core]="agent/core proto proto/base"
	[scheduler/place]="scheduler/place proto proto/base"
	[scheduler/core]="scheduler/core scheduler/place proto proto/base"
	[transport]="transport proto proto/base"
	[agent/keeper]="agent/keeper proto proto/base"
	[agent]="agent agent/core agent/keeper transport proto proto/base"
	[scheduler/ctl]="scheduler/ctl transport proto proto/base"
	[scheduler]="scheduler scheduler/core scheduler/place transport proto proto/base"
	[bench]="any"
	[tests]="any"
)

box_of() { # PATH; sets `box`, to "." where there is none
	box=$1
	while [[ "$box" == */* ]]; do
		box=${box%/*}
		[ -n "${may[$box]+set}" ] && return
	done
	box=.
}

failures=0
while IFS=: read -r file line include; do
	target=${include#*\"}
	target=${target%%\"*}
	box_of "$target"
	target_box=$box
	box_of "$file"
	if [ "$box" = . ]; then
		echo "$file:$line: this file stands in no box of tests/lint/floors.sh"
		failures=$((failures + 1))
		continue
	fi
	[ "${may[$box]}" = any ] && continue
	case " ${may[$box]} " in
	*" $target_box "*) ;;
	*)
		echo "$file:$line: $box may not include $target (may: ${may[$box]})"
		failures=$((failures + 1))
		;;
	esac
done < <(git ls-files -co --exclude-standard '*.c' '*.h' | xargs grep -nH '^#include "' /dev/null)

[ "$failures" -eq 0 ] || exit 1
echo "includes only go down"
