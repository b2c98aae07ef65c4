#!/bin/bash
# Pure boxes read no clock, draw no randomness, do no I/O, start no threads and keep no mutable
# file-scope state. Checked on what the compiler made of them: the undefined symbols of their
# libraries, and the sizes of their writable sections.
#
# Usage: purity.sh LIBRARY ...
set -u

forbidden='^(clock_gettime|gettimeofday|time|clock|nanosleep|usleep|sleep|rand|random|srand|rand_r|drand48|getrandom|getentropy|arc4random|randombytes_.*|open|open64|openat|fopen|fopen64|read|write|pread|pread64|pwrite|pwrite64|fread|fwrite|fgets|socket|connect|bind|send|sendto|sendmsg|recv|recvfrom|recvmsg|poll|epoll_.*|select|fork|vfork|execv.*|posix_spawn.*|pthread_create|thrd_create|kill|signal|sigaction|getenv|secure_getenv|setenv|mmap|mmap64|io_uring_.*|zmq_.*|syscall|printf|vprintf|puts|putchar|localtime|localtime_r)$'

failures=0
for library in "$@"; do
	nm "$library" >/dev/null 2>&1 || {
		echo "$library: cannot be read"
		exit 1
	}
	# Hardened names (__read_chk, __open_2) count as what they harden.
	while read -r symbol; do
		echo "$library: uses $symbol"
		failures=$((failures + 1))
	done < <(nm -u "$library" 2>/dev/null | awk '$1 == "U" { print $2 }' |
		sed -E 's/@.*//; s/^__(.*)_(chk|2)$/\1/' | sort -u | grep -E "$forbidden")
	while read -r line; do
		echo "$library: mutable file-scope state: $line"
		failures=$((failures + 1))
	done < <(objdump -t "$library" 2>/dev/null |
		awk '$3 == "O" && ($4 ~ /^\.(data|bss)($|\.)/) && $4 !~ /^\.data\.rel\.ro/ { print $NF }
		     $4 == "O" && ($5 ~ /^\.(data|bss)($|\.)/) && $5 !~ /^\.data\.rel\.ro/ { print $NF }
		     $2 == "O" && $3 == "*COM*" { print $NF }')
done
[ "$failures" -eq 0 ] || exit 1
echo "$# libraries are pure"
