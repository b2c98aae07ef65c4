/*
 * One request at a time for each job. A request travels for the client's delay, is handed to the
 * scheduler as SUBMIT, and is given up after a while; what it was for is then asked again.
 */
#include "bench/sim/client.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/grid.h"
#include "bench/sim/skew.h"
#include "bench/sim/transcript.h"
#include "proto/base/check.h"
#include "proto/wire.h"

#define LOOK_US (500 * GW_US_PER_MS)
#define GIVE_UP_US (15 * GW_US_PER_S)
#define LOG_WAIT_US (5 * GW_US_PER_S)
#define LOG_BYTES_MAX 4096u
#define MILLION 1000000u
#define POLICY_PPM 150000u /* of jobs state what becomes of them when their node is cut off */
#define LOST_AFTER_US_MIN (5 * GW_US_PER_S)
#define LOST_AFTER_US_MAX (60 * GW_US_PER_S)

static void submit_next(struct sim_timer *timer);
static void look_around(struct sim_timer *timer);
static void take_answers(struct sim_timer *timer);
static void travel(struct sim_timer *timer);

void sim_client_init(struct sim_client *client, struct sim_grid *grid)
{
	*client = (struct sim_client){.grid = grid};
	client->user.node.id = gw_id_make(0x05e7, 1, 1);
	client->user.tenant = gw_id_make(0x7e, 1, 1);
	client->user.roles = 1u << GODWIT__ROLE__ROLE_USER;
	client->user.name = "user";
	client->user.site = "";
	client->user.region = "sim";
	client->user.provider = "";
	client->delay_us = sim_between(&grid->world, 100, 50 * GW_US_PER_MS);
	client->until_us = grid->scenario->duration_us;
	sim_timer_init(&client->submit, submit_next, client);
	sim_timer_init(&client->look, look_around, client);
	sim_timer_init(&client->answer, take_answers, client);
}

static void end_request(struct sim_request *request)
{
	struct sim_client *client = request->client;

	sim_timer_clear(&client->grid->world, &request->timer);
	client->orders[request->order]->busy = false;
	if (request->previous)
		request->previous->next = request->next;
	else
		client->requests = request->next;
	if (request->next)
		request->next->previous = request->previous;
	free(request);
}

void sim_client_deinit(struct sim_client *client)
{
	while (client->requests)
		end_request(client->requests);
	for (uint32_t i = 0; i < client->order_count; i++) {
		free(client->orders[i]);
	}
	free(client->orders);
	sim_fifo_drop(&client->grid->world, &client->answers);
}

void sim_client_start(struct sim_client *client)
{
	struct sim_world *world = &client->grid->world;

	sim_timer_set(world, &client->submit, world->now_us + 2 * GW_US_PER_S);
	sim_timer_set(world, &client->look, world->now_us + LOOK_US);
}

/* --- asking --- */

static void ask(struct sim_client *client, struct sim_order *order, enum sim_request_kind kind)
{
	struct sim_world *world = &client->grid->world;
	struct sim_request *request = calloc(1, sizeof(*request));

	CHECK(request);
	CHECK(!order->busy);
	order->busy = true;
	request->client = client;
	request->kind = kind;
	request->order = order->number;
	request->handle = ++client->handle;
	request->next = client->requests;
	if (client->requests)
		client->requests->previous = request;
	client->requests = request;
	sim_timer_init(&request->timer, travel, request);
	sim_timer_set(world, &request->timer, world->now_us + client->delay_us);
}

static void fill_spec(const struct sim_client *client, const struct sim_order *order,
		      char texts[5][32], char **arguments, Godwit__Resources *resources,
		      Godwit__ServeModel *model, Godwit__DisconnectPolicy *policy,
		      Godwit__JobSpec *spec)
{
	const struct sim_scenario *scenario = client->grid->scenario;

	(void)snprintf(texts[0], 32, "sim");
	(void)snprintf(texts[1], 32, "%" PRIu64, order->run_us);
	(void)snprintf(texts[2], 32, "%d", order->fails ? 1 : 0);
	(void)snprintf(texts[3], 32, "%" PRIu64, order->output_bps);
	(void)snprintf(texts[4], 32, "%s", order->stubborn ? "stubborn" : "meek");
	for (size_t i = 0; i < 5; i++)
		arguments[i] = texts[i];
	resources->cpu_milli = order->cpu_milli;
	resources->memory_bytes = order->memory_bytes;
	resources->device_count = order->device_count;
	spec->kind = order->gang ? GODWIT__JOB_KIND__JOB_SERVE : GODWIT__JOB_KIND__JOB_TASK;
	spec->task_count = order->task_count;
	spec->n_arguments = 5;
	spec->arguments = arguments;
	spec->resources = resources;
	spec->attempts_max = (uint32_t)scenario->jobs.attempts;
	spec->lease_us = scenario->jobs.lease_us;
	spec->grace_us = scenario->jobs.grace_us;
	if (order->lost_after_us > 0) {
		policy->lost_after_us = order->lost_after_us;
		policy->replace = order->at_once ? GODWIT__REPLACE__REPLACE_AT_ONCE
						 : GODWIT__REPLACE__REPLACE_AFTER_LEASE;
		policy->reconcile = (Godwit__Reconcile)order->reconcile;
		spec->disconnect = policy;
	}
	if (order->gang) {
		model->stage_us = 20000;
		model->micro_batches = 64;
		model->batch = 8;
		model->activation_bytes = 8192;
		model->loss_budget_ppm = 500000;
		spec->model = model;
	}
}

static void feed(struct sim_client *client, const struct sim_request *request, Godwit__Body *body)
{
	struct gw_event event = {.kind = GW_EVENT_SUBMIT};
	struct sim_host *scheduler = &client->grid->scheduler;

	event.submit.request = request->handle;
	event.submit.user = &client->user;
	event.submit.body = body;
	if (scheduler->old)
		sim_skew_strip(&body->base);
	if (scheduler->node)
		sim_say_body(scheduler->world, scheduler->name, "<", client->user.name, body);
	sim_host_step(scheduler, &event);
}

static void feed_submit(struct sim_client *client, const struct sim_request *request)
{
	struct sim_order *order = client->orders[request->order];
	Godwit__SubmitRequest submit = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__JobSpec spec = GODWIT__JOB_SPEC__INIT;
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;
	Godwit__ServeModel model = GODWIT__SERVE_MODEL__INIT;
	Godwit__DisconnectPolicy policy = GODWIT__DISCONNECT_POLICY__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	char texts[5][32];
	char *arguments[5];
	char name[32];

	fill_spec(client, order, texts, arguments, &resources, &model, &policy, &spec);
	(void)snprintf(name, sizeof(name), "job-%" PRIu32, order->number);
	spec.name = name;
	submit.spec = &spec;
	submit.nonce = gw_wire_id(&order->nonce);
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &submit;
	feed(client, request, &body);
}

static void feed_cancel(struct sim_client *client, const struct sim_request *request)
{
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;

	cancel.job = gw_wire_id(&client->orders[request->order]->id.id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &cancel;
	feed(client, request, &body);
}

static void feed_look(struct sim_client *client, const struct sim_request *request)
{
	Godwit__JobsRequest look = GODWIT__JOBS_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;

	look.job = gw_wire_id(&client->orders[request->order]->id.id);
	look.with_tasks = true;
	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	body.jobs_request = &look;
	feed(client, request, &body);
}

static void feed_follow(struct sim_client *client, const struct sim_request *request)
{
	const struct sim_order *order = client->orders[request->order];
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	Godwit__AttemptRef ref;
	Godwit__Body body = GODWIT__BODY__INIT;
	struct gw_attempt_id attempt = {.job = order->id, .attempt = order->attempt};

	gw_wire_attempt(&attempt, &ref);
	read.attempt = &ref;
	read.stream = 1;
	read.offset = order->offset;
	read.bytes_max = LOG_BYTES_MAX;
	read.wait_us = LOG_WAIT_US;
	body.kind_case = GODWIT__BODY__KIND_LOG_READ;
	body.log_read = &read;
	feed(client, request, &body);
}

void sim_client_audit(struct sim_client *client)
{
	for (uint32_t i = 0; i < client->order_count; i++) {
		const struct sim_request request = {.client = client, .order = i};

		if (client->orders[i]->acknowledged)
			feed_look(client, &request);
	}
}

/* Arrives at the scheduler, or is given up. */
static void travel(struct sim_timer *timer)
{
	struct sim_request *request = timer->owner;
	struct sim_client *client = request->client;
	struct sim_world *world = &client->grid->world;

	if (request->sent) { /* and will be made again */
		world->coverage.seen[SIM_SAW_REQUEST_REPEATED]++;
		end_request(request);
		return;
	}
	if (sim_host_defer(&client->grid->scheduler, timer))
		return;
	request->sent = true;
	sim_timer_set(world, timer, world->now_us + GIVE_UP_US);
	if (sim_chance_ppm(world, client->grid->scenario->jobs.lost_ppm))
		return;
	switch (request->kind) {
	case SIM_REQUEST_SUBMIT:
		feed_submit(client, request);
		break;
	case SIM_REQUEST_CANCEL:
		feed_cancel(client, request);
		break;
	case SIM_REQUEST_LOOK:
		feed_look(client, request);
		break;
	case SIM_REQUEST_FOLLOW:
		feed_follow(client, request);
		break;
	}
}

/* --- jobs --- */

/* A gang that the whole grid has no room for would wait for ever, and rightly. */
static void fit_gang(const struct sim_scenario *scenario, struct sim_order *order)
{
	uint64_t places = scenario->cpus * 1000 / order->cpu_milli;

	if (scenario->memory_bytes / order->memory_bytes < places)
		places = scenario->memory_bytes / order->memory_bytes;
	if (order->device_count > 0 && scenario->devices / order->device_count < places)
		places = scenario->devices / order->device_count;
	places *= scenario->sites * scenario->nodes;
	if (order->task_count > places)
		order->task_count = places > 0 ? (uint32_t)places : 1;
}

static void draw_policy(struct sim_world *world, const struct sim_scenario *scenario,
			struct sim_order *order)
{
	order->at_once = sim_chance_ppm(world, scenario->jobs.at_once_ppm);
	if (order->at_once || sim_chance_ppm(world, POLICY_PPM))
		order->lost_after_us = sim_between(world, LOST_AFTER_US_MIN, LOST_AFTER_US_MAX);
	if (order->at_once && !order->gang)
		order->reconcile =
			(uint32_t)sim_between(world, GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT,
					      GODWIT__RECONCILE__RECONCILE_KEEP_LONGEST);
}

static struct sim_order *new_order(struct sim_client *client)
{
	struct sim_world *world = &client->grid->world;
	const struct sim_scenario *scenario = client->grid->scenario;
	struct sim_order *order = calloc(1, sizeof(*order));

	CHECK(order);
	if (client->order_count == client->order_capacity) {
		client->order_capacity = client->order_capacity ? client->order_capacity * 2 : 64;
		client->orders = realloc(client->orders,
					 client->order_capacity * sizeof(struct sim_order *));
		CHECK(client->orders);
	}
	order->number = client->order_count;
	client->orders[client->order_count++] = order;
	order->nonce = gw_id_make(0x0ce, 1, order->number + 1);
	order->task_count = (uint32_t)sim_between(world, 1, scenario->jobs.tasks);
	order->cpu_milli = (uint32_t)sim_between(world, 1, scenario->jobs.cpu_milli);
	order->memory_bytes = sim_between(world, 1, scenario->jobs.memory_bytes);
	order->device_count = scenario->devices > 0 && sim_chance_ppm(world, MILLION / 4) ? 1 : 0;
	order->run_us = sim_between(world, scenario->jobs.run_min_us, scenario->jobs.run_max_us);
	order->gang = sim_chance_ppm(world, scenario->jobs.gang_ppm);
	order->fails = sim_chance_ppm(world, scenario->jobs.fail_ppm);
	order->stubborn = sim_chance_ppm(world, scenario->jobs.stubborn_ppm);
	order->cancel = sim_chance_ppm(world, scenario->jobs.cancel_ppm);
	order->follow = sim_chance_ppm(world, scenario->jobs.follow_ppm);
	draw_policy(world, scenario, order);
	order->output_bps = order->follow ? 1000 : 0;
	if (order->gang)
		fit_gang(scenario, order);
	return order;
}

static void submit_next(struct sim_timer *timer)
{
	struct sim_client *client = timer->owner;
	struct sim_world *world = &client->grid->world;
	uint64_t next_us =
		world->now_us + sim_between(world, 0, 2 * client->grid->scenario->jobs.every_us);

	ask(client, new_order(client), SIM_REQUEST_SUBMIT);
	if (next_us < client->until_us)
		sim_timer_set(world, timer, next_us);
}

/* What this order wants next; false: nothing now. */
static bool tend(struct sim_client *client, struct sim_order *order)
{
	struct sim_world *world = &client->grid->world;

	if (order->busy || order->refused || (order->ended && !order->follow))
		return false;
	if (!order->acknowledged)
		ask(client, order, SIM_REQUEST_SUBMIT);
	else if (order->follow && sim_chance_ppm(world, MILLION / 2))
		ask(client, order, SIM_REQUEST_FOLLOW);
	else if (order->cancel && !order->cancel_asked && sim_chance_ppm(world, MILLION / 4))
		ask(client, order, SIM_REQUEST_CANCEL);
	else
		ask(client, order, SIM_REQUEST_LOOK);
	return true;
}

static void look_around(struct sim_timer *timer)
{
	struct sim_client *client = timer->owner;
	struct sim_world *world = &client->grid->world;

	sim_timer_set(world, timer, world->now_us + LOOK_US);
	for (uint32_t i = 0; i < client->order_count; i++) {
		client->looked = (client->looked + 1) % client->order_count;
		if (tend(client, client->orders[client->looked]))
			break;
	}
}

/* --- answers --- */

void sim_client_reply(struct sim_client *client, uint64_t request, const uint8_t *bytes,
		      size_t size)
{
	struct sim_world *world = &client->grid->world;
	struct sim_packet *packet = sim_packet_new(world, NULL, size + sizeof(request));

	memcpy(packet->bytes, &request, sizeof(request));
	memcpy(packet->bytes + sizeof(request), bytes, size);
	packet->at_us = world->now_us + client->delay_us;
	sim_fifo_push(&client->answers, packet);
	if (client->answer.item.position == 0)
		sim_timer_set(world, &client->answer, packet->at_us);
	sim_check_reply(&client->grid->check, bytes, size);
}

static void take_submit(struct sim_client *client, struct sim_order *order,
			const Godwit__SubmitReply *reply)
{
	struct gw_job_id id;

	if (!gw_wire_read_id(reply->job, &id.id)) {
		order->refused = true;
		client->grid->world.coverage.seen[SIM_SAW_REQUEST_REFUSED]++;
		if (order->acknowledged)
			sim_check_broken(&client->grid->check,
					 "a job that was acknowledged is refused: %s",
					 reply->error);
		return;
	}
	if (order->acknowledged && !gw_id_equal(order->id.id, id.id))
		sim_check_broken(&client->grid->check, "one submission made two jobs");
	order->id = id;
	order->acknowledged = true;
}

static const char *const ends[] = {"succeeded", "failed", "cancelled", NULL};

static bool text_is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++) {
		if (strcmp(text, *list) == 0)
			return true;
	}
	return false;
}

static void check_end(struct sim_client *client, const struct sim_order *order,
		      const Godwit__TaskInfo *info)
{
	struct sim_grid *grid = client->grid;
	const struct sim_task *task = sim_check_task(&grid->check, order->id, info->task_index);
	bool succeeded = strcmp(info->state, "succeeded") == 0;

	if (succeeded && (!task || !task->succeeded))
		sim_check_broken(&grid->check,
				 "task %" PRIu32 " of job-%" PRIu32
				 " is said to have succeeded, but never ran to a good end",
				 info->task_index, order->number);
	if (grid->scenario->once && !succeeded && !order->cancel_asked && !order->fails &&
	    !order->gang && (!task || !task->failed))
		sim_check_broken(&grid->check,
				 "task %" PRIu32 " of job-%" PRIu32 " is lost: it is %s (%s)",
				 info->task_index, order->number, info->state, info->error);
}

/* What is said of a job that does not end, for the sentence of a fault. */
static void note_told(struct sim_order *order, const Godwit__JobInfo *job)
{
	char id[GW_ID_TEXT_BYTES];

	sim_format_job(order->id, id);
	(void)snprintf(order->told, sizeof(order->told), "%s %s%s%s", id, job->state,
		       job->wait_reason[0] ? ": " : "", job->wait_reason); /* cut is fine */
	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *info = job->tasks[i];
		size_t size = strlen(order->told);

		if (!text_is_one_of(info->state, ends))
			(void)snprintf(order->told + size, sizeof(order->told) - size,
				       ", #%" PRIu32 ".%" PRIu32 " %s on %s", info->task_index,
				       info->attempt, info->state, info->node_name);
	}
}

static void take_job(struct sim_client *client, struct sim_order *order, const Godwit__JobInfo *job)
{
	struct sim_world *world = &client->grid->world;
	bool ended = text_is_one_of(job->state, ends);

	if (order->ended && !ended)
		sim_check_broken(&client->grid->check, "job-%" PRIu32 " had ended and is %s again",
				 order->number, job->state);
	if (job->task_count != order->task_count || job->n_tasks != order->task_count)
		sim_check_broken(&client->grid->check,
				 "job-%" PRIu32 " of %" PRIu32 " tasks is told with %zu",
				 order->number, order->task_count, job->n_tasks);
	for (size_t i = 0; i < job->n_tasks && !world->stopped; i++) {
		const Godwit__TaskInfo *info = job->tasks[i];

		if (info->task_index != i)
			sim_check_broken(&client->grid->check,
					 "task %zu of job-%" PRIu32 " is told as task %" PRIu32, i,
					 order->number, info->task_index);
		if (ended)
			check_end(client, order, info);
	}
	order->ended = ended;
	if (!ended)
		note_told(order, job);
}

static void take_log(struct sim_client *client, struct sim_order *order,
		     const Godwit__LogData *data)
{
	struct gw_attempt_id attempt;

	if (data->error[0] != '\0' || !gw_wire_read_attempt(data->attempt, &attempt)) {
		order->follow = !order->ended;
		return;
	}
	if (attempt.attempt != order->attempt && order->attempt == 0)
		order->attempt = attempt.attempt;
	for (size_t i = 0; i < data->data.len; i++) {
		if (data->data.data[i] == sim_output_byte(&attempt, 1, data->offset + i))
			continue;
		sim_check_broken(&client->grid->check,
				 "byte %" PRIu64 " of a task's output is not what it wrote",
				 data->offset + i);
		break;
	}
	client->followed_bytes += data->data.len;
	order->offset = data->offset + data->data.len;
	if (data->end)
		order->follow = false;
}

static void take_body(struct sim_client *client, const struct sim_request *request,
		      const Godwit__Body *body)
{
	struct sim_order *order = client->orders[request->order];

	sim_say_body(&client->grid->world, client->user.name, "<", "scheduler", body);
	if (body->kind_case == GODWIT__BODY__KIND_SUBMIT_REPLY)
		take_submit(client, order, body->submit_reply);
	else if (body->kind_case == GODWIT__BODY__KIND_CANCEL_REPLY)
		order->cancel_asked = true;
	else if (body->kind_case == GODWIT__BODY__KIND_LOG_DATA)
		take_log(client, order, body->log_data);
	else if (body->kind_case == GODWIT__BODY__KIND_REFUSAL)
		order->follow = order->follow && !order->ended; /* asks again */
	else if (body->kind_case == GODWIT__BODY__KIND_JOBS_REPLY && body->jobs_reply->n_jobs == 1)
		take_job(client, order, body->jobs_reply->jobs[0]);
	else if (body->kind_case == GODWIT__BODY__KIND_JOBS_REPLY &&
		 client->grid->check.history_lost)
		order->refused = true; /* its records are among those that were lost */
	else if (body->kind_case == GODWIT__BODY__KIND_JOBS_REPLY)
		sim_check_broken(&client->grid->check,
				 "job-%" PRIu32 " was acknowledged and is lost", order->number);
}

static void take_answer(struct sim_client *client, const struct sim_packet *packet)
{
	struct gw_arena *arena = &client->grid->shared.arena;
	struct sim_request *request = client->requests;
	const Godwit__Body *body;
	uint64_t handle;

	memcpy(&handle, packet->bytes, sizeof(handle));
	while (request && request->handle != handle)
		request = request->next;
	if (!request || sim_chance_ppm(&client->grid->world, client->grid->scenario->jobs.lost_ppm))
		return;
	gw_arena_reset(arena);
	body = gw_wire_decode_body(arena, packet->bytes + sizeof(handle),
				   packet->size - (uint32_t)sizeof(handle));
	if (body)
		take_body(client, request, body);
	else
		sim_world_fail(&client->grid->world, "an answer cannot be decoded");
	client->answered_count++;
	end_request(request);
}

static void take_answers(struct sim_timer *timer)
{
	struct sim_client *client = timer->owner;
	struct sim_world *world = &client->grid->world;
	struct sim_packet *packet = sim_fifo_pop(&client->answers);

	take_answer(client, packet);
	sim_packet_free(world, packet);
	if (client->answers.first)
		sim_timer_set(world, timer, client->answers.first->at_us);
}

const char *sim_client_undone(const struct sim_client *client, char *ret_text, size_t size)
{
	for (uint32_t i = 0; i < client->order_count; i++) {
		const struct sim_order *order = client->orders[i];

		if (order->refused || order->ended)
			continue;
		if (order->acknowledged)
			(void)snprintf(ret_text, size, "job-%" PRIu32 " has not ended, it is %s",
				       order->number, order->told);
		else
			(void)snprintf(ret_text, size, "job-%" PRIu32 " was never acknowledged",
				       order->number);
		return ret_text;
	}
	return NULL;
}

bool sim_client_done(const struct sim_client *client)
{
	char text[64];

	return !sim_client_undone(client, text, sizeof(text));
}
