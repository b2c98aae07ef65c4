#!/bin/bash
# A region on loopback with real programs: a scheduler, two agents with their keepers, three users.
# Jobs by every way there is, then what must be refused, then what must survive.
#	region.sh GODWIT GODWIT-SCHEDULER GODWIT-AGENT GODWIT-KEEPER
set -u
godwit=$1 scheduler=$2 agent=$3 keeper=$4
folder=$(mktemp -d)
chmod 711 "$folder" # tasks of another user look for files in it
failures=0
pids=()

fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

# Keepers stay when their agents go; each agent's log names its own.
finish() {
	local pid
	for pid in "${pids[@]}" $(cat "$folder"/n?.log 2>/dev/null |
		sed -n 's/.*event=keeper pid=\([0-9]*\).*/\1/p'); do
		kill "$pid" 2>/dev/null
	done
	wait
	rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' INT TERM

# eventually SECONDS COMMAND...: until it succeeds; the condition is looked at 20 times a second.
eventually() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || { fail "in time: $*"; return 1; }
		sleep 0.05
	done
}

# expect CODE TEXT COMMAND...
expect() {
	local code=$1 text=$2 got
	shift 2
	timeout 60 "$@" >"$folder/out" 2>"$folder/err" </dev/null
	got=$?
	if [ "$got" -ne "$code" ] || ! cat "$folder/out" "$folder/err" | grep -qF -- "$text"; then
		fail "$* -> exit $got (expected $code), expected \"$text\" in:"
		cat "$folder/out" "$folder/err"
	fi
}

# field EXPRESSION COMMAND...: of the one JSON value on stdout, as a Python expression on v
field() {
	local expression=$1
	shift
	timeout 60 "$@" 2>/dev/null </dev/null |
		python3 -c 'import json, sys; v = json.load(sys.stdin); print(eval(sys.argv[1]))' "$expression"
}

is() { # EXPECTED GOT WHAT
	[ "$1" = "$2" ] || fail "$3: expected \"$1\", got \"$2\""
}

port=$(python3 - <<'PY'
import random, socket
for _ in range(200):
    base = random.randrange(20000, 30000)
    try:
        held = [socket.create_server(("127.0.0.1", base + i)) for i in range(3)]
    except OSError:
        continue
    print(base)
    break
PY
)

serve() {
	"$scheduler" run --state "$folder/region" --listen 127.0.0.1 --port "$port" \
		--unknown-after 2s >>"$folder/scheduler.log" 2>&1 &
	scheduler_pid=$!
	pids+=("$scheduler_pid")
}

ticket() { # FILE ROLE...
	local file=$folder/$1
	shift
	"$scheduler" token --state "$folder/region" --listen 127.0.0.1 --port "$port" \
		--ticket "$file" "$@" >/dev/null || fail "a ticket $*"
}

start_agent() { # NAME FIRST-PORT
	"$agent" run --state "$folder/$1" --keeper "$keeper" --data-address 127.0.0.1 \
		--ports "$2-$(($2 + 99))" --telemetry "500 ms" >>"$folder/$1.log" 2>&1 &
	agent_pid=$!
	pids+=("$agent_pid")
}

nodes_up() {
	[ "$(field 'sum(n["state"] == "up" and n["info"] is not None for n in v["nodes"])' \
		"$godwit" --json sites)" = "$1" ]
}

paths_measured() {
	[ "$(field 'sum(p["rtt_us"] > 0 for p in v["pairs"])' "$godwit" --json sites)" = "$1" ]
}

echo "a region, two nodes, three users"
"$scheduler" init --state "$folder/region" --region north >/dev/null || fail "init"
ticket ada.ticket --role operator --name ada
ticket bob.ticket --role user --name bob
ticket eve.ticket --role user --name eve
expect 1 'is not overwritten' "$scheduler" token --state "$folder/region" --listen 127.0.0.1 \
	--ticket "$folder/eve.ticket" --role user --name eve
expect 2 'expected an IP address' "$scheduler" token --state "$folder/region" --listen host.name \
	--ticket "$folder/none.ticket" --role user --name eve
expect 1 'a ticket for a person' "$agent" join --state "$folder/n1" "$folder/eve.ticket"
ticket n1.ticket --role agent --site east --name n1
ticket n2.ticket --role agent --site west --name n2
serve
export GODWIT_CONFIG=$folder/ada
eventually 20 "$godwit" --timeout 1s join "$folder/ada.ticket"
for name in bob eve; do
	expect 0 "as $name" "$godwit" --config "$folder/$name" join "$folder/$name.ticket"
done
for name in n1 n2; do
	expect 1 'a ticket for a node' "$godwit" --config "$folder/$name" join "$folder/$name.ticket"
	expect 0 'joined region north' "$agent" join --state "$folder/$name" "$folder/$name.ticket"
done
start_agent n1 $((port + 1000))
n1_pid=$agent_pid
start_agent n2 $((port + 1100))
if ! eventually 20 nodes_up 2; then
	tail -n 20 "$folder"/*.log
	exit 1
fi
expect 0 'n2' "$godwit" sites
expect 0 'scheduler of region north' "$godwit" version

echo "run: output, exit codes, labels"
expect 0 'one word' "$godwit" run -- sh -c 'echo one word'
expect 0 'to stderr' "$godwit" run -- sh -c 'echo to stderr >&2'
expect 3 'exit 3' "$godwit" run -- sh -c 'exit 3'
expect 137 'signal 9' "$godwit" run -- sh -c 'kill -9 $$'
expect 5 'exit 5' "$godwit" run -n 3 --cpu 0.1 -- sh -c 'exit $((GODWIT_TASK_INDEX == 1 ? 5 : 0))'
[ "$("$godwit" run -- id -un)" = "$([ "$(id -u)" = 0 ] && echo nobody || id -un)" ] || fail "the user of a task"
expect 1 'no-such-program' "$godwit" run -- /no-such-program
"$godwit" run -n 3 --cpu 0.1 -- sh -c 'echo a; echo b' >"$folder/out" 2>&1 || fail "run -n 3"
is "[0] a [0] b [1] a [1] b [2] a [2] b " "$(sort "$folder/out" | tr '\n' ' ')" "labelled lines"
"$godwit" run -- sh -c 'head -c 3000000 /dev/zero | tr "\0" x' >"$folder/out" || fail "much output"
is 3000000 "$(wc -c <"$folder/out")" "bytes of much output"
is east "$("$godwit" run -s east -- sh -c 'echo $GODWIT_SITE')" "run -s"
is west "$("$godwit" run --not-site east -- sh -c 'echo $GODWIT_SITE')" "run --not-site"
is "x y" "$("$godwit" run -e 'A=x y' -- sh -c 'echo $A')" "run -e"
is 2 "$("$godwit" run -n 2 --cpu 0.1 --spread site -- sh -c 'echo $GODWIT_SITE' | sort -u | wc -l)" \
	"sites of run --spread site"
is "succeeded 0" "$(field '"%s %d" % (v["state"], v["tasks"][0]["exit_code"])' \
	"$godwit" --json run -- echo hello)" "run --json"

echo "submit, jobs, logs, plan, explain"
cat >"$folder/job.yaml" <<'YAML'
name: digits
command: [/bin/sh, -c, 'for i in 1 2 3; do echo $GODWIT_TASK_INDEX:$i; sleep 0.1; done; echo e >&2']
count: 2
resources: {cpu: 0.1, memory: 32 MiB}
YAML
expect 0 'digits succeeded' "$godwit" submit --wait "$folder/job.yaml"
expect 0 'digits' "$godwit" jobs
printf 'name: nothing\ncommand: [nosuchcmd]\n' >"$folder/nothing.yaml"
expect 1 'nosuchcmd: no such program' "$godwit" submit --wait "$folder/nothing.yaml"
grep -q '^godwit: task 0 on n[12] failed: ' "$folder/err" || fail "which task failed: $(cat "$folder/err")"
expect 0 'succeeded' "$godwit" jobs digits
expect 0 'CHOSEN' "$godwit" explain digits
expect 0 'CHOSEN' "$godwit" plan "$folder/job.yaml"
is "1:1 1:2 1:3 " "$("$godwit" logs --task 1 digits | tr '\n' ' ')" "logs --task"
is "e" "$("$godwit" logs --task 0 --stderr digits)" "logs --stderr"
is 6 "$("$godwit" logs digits | wc -l)" "logs of both tasks"
expect 1 'tasks 0 to 1, not 7' "$godwit" logs --task 7 digits
printf '%s\n' 'name: limited' "command: [/bin/sh, -c, 'ulimit -n; ulimit -Hc']" \
	'rlimits: {nofile: 77, core: 0}' >"$folder/limits.yaml"
expect 0 'limited succeeded' "$godwit" submit --wait "$folder/limits.yaml"
is "77 0 " "$("$godwit" logs limited | tr '\n' ' ')" "limits of a task"
printf '%s\n' 'name: twice' 'attempts: 2' \
	"command: [/bin/sh, -c, 'echo try \$GODWIT_ATTEMPT; exit \$((2 - GODWIT_ATTEMPT))']" \
	>"$folder/twice.yaml"
expect 0 'twice succeeded' "$godwit" submit --wait "$folder/twice.yaml"
is "try 2" "$("$godwit" logs twice)" "logs of the last attempt"
is "try 1" "$("$godwit" logs --attempt 1 twice)" "logs --attempt"
"$godwit" logs --attempt 3 twice 2>"$folder/err" || true
grep -q 'has not had an attempt 3' "$folder/err" || fail "attempt 3: $(cat "$folder/err")"
expect 1 'needs --task' "$godwit" logs --attempt 1 digits
id=$(field 'v["job"]' "$godwit" --json submit "$folder/job.yaml")
is 6 "$("$godwit" logs -f "$id" | wc -l)" "logs -f from the start"
is "$id" "$(field 'v["job"]' "$godwit" --json jobs "${id##*.}")" "a job by its number"
for command in jobs 'jobs digits' 'explain digits' sites "plan $folder/job.yaml" 'logs digits' \
	version 'jobs none-there'; do
	# shellcheck disable=SC2086
	field 'type(v)' "$godwit" --json $command >/dev/null || fail "--json $command"
done
cat >"$folder/serve.yaml" <<'YAML'
name: chat
kind: serve
stages: 2
spread: site
command: [/bin/sh, -c, 'echo $GODWIT_PEERS']
resources: {cpu: 0.1, memory: 32 MiB, ports: 1}
model: {stage_time: 8 ms, micro_batches: 4, batch: 16, activation: 16 KiB}
YAML
eventually 30 paths_measured 2
expect 0 'Predicted:' "$godwit" plan "$folder/serve.yaml"
is True "$(field 'v["prediction"]["present"]' "$godwit" --json plan "$folder/serve.yaml")" \
	"a prediction"

echo "what waits, and cancelling"
# More than both nodes have, but no more than one of them could give an empty day.
cpus=$(field 'min(n["info"]["cpu_count"] for n in v["nodes"])' "$godwit" --json sites)
"$godwit" run --detach --name holder -n 2 --spread node --cpu "$cpus" -- sleep 600 >/dev/null ||
	fail "run --detach"
eventually 20 sh -c "'$godwit' jobs holder | grep -q 'Tasks .* 2 running'"
"$godwit" run --detach --name waiter --cpu "$cpus" -- true >/dev/null || fail "a job that waits"
expect 0 'CPU' "$godwit" explain waiter
is 2 "$(field 'len([s for s in v["verdicts"] if s["reason"] and not s["chosen"]])' \
	"$godwit" --json explain waiter)" "reasons of sites"
expect 0 'waiting' "$godwit" jobs waiter
expect 0 'Cancelled' "$godwit" cancel holder
eventually 20 sh -c "'$godwit' jobs waiter | grep -q 'State *succeeded'"
expect 1 'ended already' "$godwit" cancel holder
"$godwit" run -- sleep 600 2>"$folder/err" &
run_pid=$!
eventually 20 sh -c "'$godwit' jobs sleep | grep -q '1 running'"
kill -INT "$run_pid"
wait "$run_pid"
is 143 "$?" "exit of a run that was interrupted"
grep -q 'cancelling the job' "$folder/err" || fail "a word about cancelling"
is cancelled "$(field 'v["state"]' "$godwit" --json jobs sleep)" "state after ^C"

echo "refusals"
expect 1 'refused' "$godwit" run -m '60 TiB' -- true
expect 1 'none-there' "$godwit" logs none-there
expect 1 'used up' "$godwit" --config "$folder/again" join "$folder/bob.ticket"
cp -r "$folder/eve" "$folder/mixed"
cp "$folder/bob/keys" "$folder/mixed/keys"
expect 1 'not of the same identity' "$godwit" --config "$folder/mixed" jobs
cp -r "$folder/eve" "$folder/open"
chmod 644 "$folder/open/keys"
expect 1 'chmod 600' "$godwit" --config "$folder/open" jobs
# Another region's scheduler behind the same address: a stranger must not be talked to, and
# a stranger's key must not be let in.
"$scheduler" init --state "$folder/other" --region south >/dev/null
"$scheduler" token --state "$folder/other" --listen 127.0.0.1 --port "$port" \
	--ticket "$folder/south.ticket" --role user --name sam >/dev/null
expect 1 '' "$godwit" --config "$folder/sam" --timeout 3s join "$folder/south.ticket"
[ ! -e "$folder/sam/certificate" ] || fail "a foreign ticket gave a certificate"
expect 1 '' "$godwit" --config "$folder/bob" revoke eve
expect 0 'n1' "$godwit" --config "$folder/eve" sites
"$godwit" --config "$folder/eve" run --name victim -- sleep 600 >"$folder/victim" 2>&1 &
victim_pid=$!
eventually 20 sh -c "'$godwit' jobs victim | grep -q '1 running'"
expect 0 'Revoked eve' "$godwit" revoke eve --reason 'left the house'
expect 1 'revoked' "$godwit" --config "$folder/eve" --timeout 5s jobs
wait "$victim_pid"
is 1 "$?" "exit of a command whose user was revoked"
expect 0 'n1' "$godwit" --config "$folder/bob" sites
is running "$(field 'v["state"]' "$godwit" --json jobs victim)" "the revoked user's job"
expect 0 'Cancelled' "$godwit" cancel victim
for line in 'joined name=n1' 'session_open name=n1' 'session_closed name=ada' 'revoked name=eve' \
	'session_closed name=eve why="its identity was revoked"' \
	'key_refused name=eve why="revoked, from .*127.0.0.1"' 'join_refused .*why="the token is .*used up.*'; do
	grep -Eq "^time=[-0-9T:.]*Z event=$line( |$)" "$folder/scheduler.log" || fail "the scheduler's log: $line: $(grep refused "$folder/scheduler.log")"
done

echo "what survives"
"$godwit" run -s east --name survivor -- \
	sh -c 'echo begin; while [ ! -e '"$folder"'/go ]; do sleep 0.05; done; echo end' \
	>"$folder/survivor" 2>/dev/null &
run_pid=$!
eventually 20 grep -q begin "$folder/survivor"
disown "$n1_pid"
kill -9 "$n1_pid"
start_agent n1 $((port + 1000))
eventually 20 nodes_up 2
touch "$folder/go"
wait "$run_pid"
is 0 "$?" "exit of a task whose agent was killed"
is "begin end " "$(tr '\n' ' ' <"$folder/survivor")" "its output"
is 1 "$(field 'v["tasks"][0]["attempt"]' "$godwit" --json jobs survivor)" "its attempts"
rm "$folder/go"
"$godwit" run --name talker -- sh -c 'i=0; while [ ! -e '"$folder"'/go ]; do
	i=$((i + 1)); echo $i; sleep 0.02; done; echo end' >"$folder/talk" 2>"$folder/err" &
run_pid=$!
eventually 20 grep -q 10 "$folder/talk"
kill -STOP "$scheduler_pid"
eventually 30 grep -q 'trying again' "$folder/err"
kill -CONT "$scheduler_pid"
eventually 30 grep -q 'connected again' "$folder/err"
touch "$folder/go"
wait "$run_pid"
is 0 "$?" "exit of a command whose link broke"
is end "$(tail -n 1 "$folder/talk")" "the last line after a broken link"
is "$(($(wc -l <"$folder/talk") - 1))" "$(sort -n "$folder/talk" | tail -n 1)" "lines, none lost or doubled"
kill -STOP "$scheduler_pid"
"$godwit" --timeout 1s jobs >"$folder/out" 2>&1
is 1 "$?" "exit when the scheduler hangs"
grep -q 'Check that godwit-scheduler runs there' "$folder/out" || fail "advice: $(cat "$folder/out")"
kill -CONT "$scheduler_pid"
eventually 20 nodes_up 2
expect 0 'again' "$godwit" run -- echo again
kill -9 "$scheduler_pid"
wait "$scheduler_pid" 2>/dev/null
serve
eventually 20 nodes_up 2
is succeeded "$(field 'v["state"]' "$godwit" --json jobs survivor)" "a job after the scheduler was killed"
expect 0 'again' "$godwit" run -- echo again
expect 0 'is sound' "$scheduler" check-journal --state "$folder/region"
expect 1 'revoked' "$godwit" --config "$folder/eve" --timeout 5s jobs
[ "$("$scheduler" dump-journal --state "$folder/region" | grep -c '"job_accepted"')" -gt 20 ] || fail "the jobs in the dump"

grep -h -A 20 -E 'runtime error:|Sanitizer|broken invariant' "$folder"/*.log "$folder"/n?/keeper/*.log &&
	fail "a daemon has a fault"
[ "$failures" -eq 0 ] || { tail -n 5 "$folder"/*.log; exit 1; }
echo "a region works, refuses and survives"
