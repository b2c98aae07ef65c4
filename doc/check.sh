#!/bin/bash
# Every manual page given formats without a warning, and says its name and the section it is in.
set -u
command -v man >/dev/null || { echo "man-db is not installed"; exit 77; }
failures=0
for page in "$@"; do
	warnings=$(MANWIDTH=80 man --warnings=w,mac,break,char,di -l "$page" 2>&1 >/dev/null)
	text=$(MANWIDTH=80 man -l "$page" 2>/dev/null | col -bx)
	name=$(basename "$page")
	title=${name%.*}
	title="${title^^}(${name##*.})"
	if [ -n "$warnings" ] || ! grep -q "^NAME" <<<"$text" || ! grep -qF "$title" <<<"$text"; then
		echo "$page: ${warnings:-no section NAME, or not titled $title}"
		failures=$((failures + 1))
	fi
done
[ "$failures" -eq 0 ] || exit 1
echo "$# pages format"
