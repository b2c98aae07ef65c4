/*
 * A member of a group that keeps its journal in etcd, driven by lines on stdin; a test starts
 * several. Its core is a list of texts.
 *
 *	etcd_member ENDPOINTS PREFIX NAME FOLDER TTL_S SNAPSHOT_BYTES [CA CERTIFICATE KEY USER_FILE]
 *
 * Takes: append TEXT · flood COUNT BYTES · cert NODE TEXT · dump · status · stop
 * Says:  reset · following SEQ [LEADER] · leader TERM SEQ · lost REASON · durable SEQ ·
 *	  stalled REASON · keeps up · members NAME... · cert NODE TEXT · kept HANDLE ·
 *	  flooded COUNT MICROSECONDS · notice TEXT · failed TEXT · stopped, and what was asked for
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/step.h"
#include "transport/clock.h"
#include "transport/journal_etcd.h"
#include "transport/reactor.h"

#define LINE_BYTES ((1u << 20) + 100u) /* a record of the largest size, and its word */
#define FLOOD_AHEAD 4000u              /* records of a flood that may wait for etcd */
#define COLLECT_AFTER_US (500 * GW_US_PER_MS)
#define TICK_US (20 * GW_US_PER_MS)

struct core {
	struct gw_node node; /* first */
	char **texts;        /* [seq] of records 1 .. seq */
	uint64_t seq;
};

struct member {
	struct gw_reactor *reactor;
	struct gw_journal_etcd *etcd;
	struct core core;
	bool leads;
	uint64_t durable_seq;
	uint64_t flood_left;
	uint64_t flood_count;
	size_t flood_bytes;
	char flood_text[LINE_BYTES];
	uint64_t flood_from_us;
	bool stalled;
	struct gw_timer tick;
	struct gw_deferred more;
	struct gw_watch input;
	char line[LINE_BYTES];
	size_t line_size;
	uint64_t cert_count;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vprintf(format, arguments);
	va_end(arguments);
	(void)putchar('\n');
	(void)fflush(stdout);
}

static void add_text(struct core *core, const uint8_t *bytes, size_t size)
{
	if ((core->seq & (core->seq + 1)) == 0) { /* full at one less than a power of two */
		core->texts = realloc(core->texts, (2 * core->seq + 2) * sizeof(char *));
		CHECK(core->texts);
	}
	core->texts[core->seq] = strndup((const char *)bytes, size);
	CHECK(core->texts[core->seq]);
	core->seq++;
}

static void empty(struct core *core)
{
	for (uint64_t i = 0; i < core->seq; i++)
		free(core->texts[i]);
	free(core->texts);
	core->texts = NULL;
	core->seq = 0;
}

static int core_snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	const struct core *core = (const struct core *)node;
	int error = 0;

	for (uint64_t i = 0; i < core->seq && error == 0; i++)
		error = piece(context, (const uint8_t *)core->texts[i], strlen(core->texts[i]));
	return error;
}

static uint64_t core_seq(const struct gw_node *node)
{
	return ((const struct core *)node)->seq;
}

static const struct gw_node_ops core_ops = {.snapshot = core_snapshot, .seq = core_seq};

static void reset(void *context)
{
	struct member *member = context;

	empty(&member->core);
	say("reset");
}

static int piece(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct member *member = context;

	CHECK(member->core.seq < seq);
	add_text(&member->core, bytes, size);
	return 0;
}

static int record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct member *member = context;

	CHECK(seq == member->core.seq + 1);
	add_text(&member->core, bytes, size);
	return 0;
}

static void following(void *context, const char *leader, uint64_t seq)
{
	(void)context;
	say("following %" PRIu64 " %s", seq, leader);
}

static void leader(void *context, uint64_t term, uint64_t seq)
{
	struct member *member = context;

	CHECK(seq == member->core.seq);
	member->leads = true;
	member->durable_seq = seq;
	say("leader %" PRIu64 " %" PRIu64, term, seq);
}

static void lost(void *context, const char *reason)
{
	struct member *member = context;

	member->leads = false;
	member->flood_left = 0;
	say("lost %s", reason);
}

static void durable(void *context, uint64_t seq)
{
	struct member *member = context;
	uint64_t now_us = gw_clock_mono_us();

	member->durable_seq = seq;
	if (member->flood_count == 0) {
		say("durable %" PRIu64, seq);
	} else if (member->flood_left == 0 && seq == member->core.seq) {
		say("flooded %" PRIu64 " %" PRIu64, member->flood_count,
		    now_us - member->flood_from_us);
		member->flood_count = 0;
	} else {
		gw_reactor_defer(member->reactor, &member->more);
	}
}

static void failed(void *context, int error, const char *text)
{
	struct member *member = context;

	say("failed %d %s", error, text);
	gw_reactor_stop(member->reactor);
}

static void members(void *context, const struct gw_replica_member *list, size_t count, bool more,
		    uint64_t revision)
{
	(void)revision;
	(void)more;
	(void)context;
	(void)printf("members");
	for (size_t i = 0; i < count; i++)
		(void)printf(" %s=%s%s", list[i].name, list[i].address, list[i].leader ? "*" : "");
	say("%s", "");
}

static void cert(void *context, const char *node, const uint8_t *bytes, size_t size)
{
	(void)context;
	say("cert %s %.*s", node, (int)size, (const char *)bytes);
}

static void cert_kept(void *context, uint64_t handle)
{
	(void)context;
	say("kept %" PRIu64, handle);
}

static void stopped(void *context)
{
	struct member *member = context;

	say("stopped");
	gw_reactor_stop(member->reactor);
}

static void notice(void *context, const char *text)
{
	(void)context;
	say("notice %s", text);
}

static void append(struct member *member, const char *text, size_t size)
{
	struct gw_journal *journal = gw_journal_etcd_journal(member->etcd);
	int error;

	add_text(&member->core, (const uint8_t *)text, size);
	error = journal->append(journal, member->core.seq, (const uint8_t *)text, size);
	if (error < 0)
		failed(member, error, "append");
}

static void flood(void *context)
{
	struct member *member = context;

	memset(member->flood_text, 'f', member->flood_bytes);
	while (member->flood_left > 0 && member->core.seq - member->durable_seq < FLOOD_AHEAD) {
		member->flood_left--;
		append(member, member->flood_text, member->flood_bytes);
	}
}

static void begin_flood(struct member *member, const char *arguments)
{
	if (sscanf(arguments, "%" SCNu64 " %zu", &member->flood_count, &member->flood_bytes) != 2 ||
	    member->flood_bytes >= LINE_BYTES)
		say("cannot flood %s", arguments);
	member->flood_left = member->flood_count;
	member->flood_from_us = gw_clock_mono_us();
	flood(member);
}

static void dump(const struct member *member)
{
	for (uint64_t i = 0; i < member->core.seq; i++)
		(void)printf("text %" PRIu64 " %s\n", i + 1, member->core.texts[i]);
	say("dumped %" PRIu64, member->core.seq);
}

static void put_cert(struct member *member, char *arguments)
{
	char *text = strchr(arguments, ' ');

	CHECK(text);
	*text++ = '\0';
	CHECK(gw_journal_etcd_put_cert(member->etcd, arguments, (const uint8_t *)text, strlen(text),
				       ++member->cert_count) == 0);
}

static void tell_status(const struct member *member)
{
	struct gw_replica_status status;

	gw_journal_etcd_status(member->etcd, &status);
	say("status %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %s", (int)status.role, status.seq,
	    status.snapshot_seq, status.store_bytes, status.trouble);
}

static void take_line(struct member *member, char *line)
{
	if (strncmp(line, "append ", 7) == 0 && member->leads)
		append(member, line + 7, strlen(line + 7));
	else if (strncmp(line, "flood ", 6) == 0 && member->leads)
		begin_flood(member, line + 6);
	else if (strncmp(line, "cert ", 5) == 0)
		put_cert(member, line + 5);
	else if (strcmp(line, "dump") == 0)
		dump(member);
	else if (strcmp(line, "status") == 0)
		tell_status(member);
	else if (strcmp(line, "stop") == 0)
		gw_journal_etcd_stop(member->etcd);
	else
		say("cannot %s", line);
}

static void input_ready(void *context, uint32_t events)
{
	struct member *member = context;
	ssize_t got = read(STDIN_FILENO, member->line + member->line_size,
			   sizeof(member->line) - member->line_size);
	char *end;

	(void)events;
	if (got <= 0)
		_exit(0); /* whoever drove this is gone */
	member->line_size += (size_t)got;
	while ((end = memchr(member->line, '\n', member->line_size))) {
		size_t used = (size_t)(end - member->line) + 1;

		*end = '\0';
		take_line(member, member->line);
		member->line_size -= used;
		memmove(member->line, member->line + used, member->line_size);
	}
	CHECK(member->line_size < sizeof(member->line));
}

static void tick(void *context)
{
	struct member *member = context;
	struct gw_journal *journal = gw_journal_etcd_journal(member->etcd);
	uint64_t now_us = gw_clock_mono_us();
	const char *why = member->leads ? journal->stalled(journal, now_us) : NULL;

	if (!member->stalled && why)
		say("stalled %s", why);
	else if (member->stalled && !why)
		say("keeps up");
	member->stalled = why != NULL;
	if (member->leads && gw_journal_etcd_due(member->etcd))
		CHECK(gw_journal_etcd_snapshot(member->etcd, &member->core.node) == 0);
	gw_reactor_timer_set(member->reactor, &member->tick, now_us + TICK_US);
}

/* `secure`: the last four are there. */
static int run(struct member *member, char **arguments, bool secure)
{
	char address[64];
	struct gw_fault fault = {.text = ""};
	const struct gw_replica_calls calls = {
		.reset = reset,
		.piece = piece,
		.record = record,
		.following = following,
		.leader = leader,
		.lost = lost,
		.durable = durable,
		.failed = failed,
		.members = members,
		.cert = cert,
		.cert_kept = cert_kept,
		.stopped = stopped,
		.context = member,
	};
	const struct gw_journal_etcd_options options = {
		.etcd = {.reactor = member->reactor,
			 .endpoints = arguments[0],
			 .ca = secure ? arguments[6] : NULL,
			 .certificate = secure ? arguments[7] : NULL,
			 .key = secure ? arguments[8] : NULL,
			 .user_file = secure ? arguments[9] : NULL,
			 .notice = notice},
		.replica = {.prefix = arguments[1],
			    .name = arguments[2],
			    .address = address,
			    .collect_after_us = COLLECT_AFTER_US,
			    .lease_ttl_s = (uint32_t)strtoul(arguments[4], NULL, 10),
			    .calls = calls},
		.directory = arguments[3],
		.snapshot_bytes = strtoull(arguments[5], NULL, 10),
	};
	int error;

	(void)snprintf(address, sizeof(address), "tcp://%.40s", arguments[2]);
	error = gw_journal_etcd_new(&options, &member->etcd, &fault);
	if (error < 0) {
		say("failed %d %s", error, fault.text);
		return error;
	}
	tick(member);
	error = gw_reactor_run(member->reactor);
	member->etcd = gw_journal_etcd_free(member->etcd);
	return error;
}

int main(int count, char **arguments)
{
	static struct member member;
	int error;

	if (count != 7 && count != 11)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	CHECK(gw_reactor_new(&member.reactor) == 0);
	member.core.node.ops = &core_ops;
	member.tick = (struct gw_timer){.fired = tick, .context = &member};
	member.more = (struct gw_deferred){.call = flood, .context = &member};
	member.input =
		(struct gw_watch){.fd = STDIN_FILENO, .ready = input_ready, .context = &member};
	error = gw_reactor_watch(member.reactor, &member.input, EPOLLIN);
	if (error == 0)
		error = run(&member, arguments + 1, count == 11);
	gw_reactor_timer_cancel(member.reactor, &member.tick);
	gw_reactor_unwatch(member.reactor, &member.input);
	empty(&member.core);
	gw_reactor_free(member.reactor);
	return error < 0 ? 1 : 0;
}
