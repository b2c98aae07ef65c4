/*
 * Threads, a bounded queue of plans, a list of results, and an eventfd that tells the reactor. The
 * threads touch a plan's snapshot and its result, nothing else.
 */
#include "transport/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "transport/reactor.h"

#define THREADS_MAX 16u

struct result {
	uint64_t plan;
	void *result;
};

/* queued, running and finished plans together never exceed GW_WORKER_QUEUE_MAX, so both rings hold
 * whatever comes. */
struct gw_worker {
	struct gw_reactor *reactor;
	gw_planned_f *planned;
	void *context;
	struct gw_watch watch;
	pthread_t threads[THREADS_MAX];
	uint32_t thread_count;
	uint32_t taken_count; /* reactor's thread only: taken and not yet delivered */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wanted;
	bool stopping;
	struct gw_plan queue[GW_WORKER_QUEUE_MAX];
	uint32_t queue_first;
	uint32_t queue_count;
	struct result results[GW_WORKER_QUEUE_MAX];
	uint32_t result_count;
};

static void lock(struct gw_worker *worker)
{
	int error = pthread_mutex_lock(&worker->lock);

	CHECK(error == 0);
}

static void unlock(struct gw_worker *worker)
{
	int error = pthread_mutex_unlock(&worker->lock);

	CHECK(error == 0);
}

static void *run(void *context)
{
	struct gw_worker *worker = context;
	const uint64_t one = 1;

	lock(worker);
	for (;;) {
		struct gw_plan plan;
		void *result;

		while (worker->queue_count == 0 && !worker->stopping)
			(void)pthread_cond_wait(&worker->wanted, &worker->lock);
		if (worker->queue_count == 0)
			break;
		plan = worker->queue[worker->queue_first];
		worker->queue_first = (worker->queue_first + 1) % GW_WORKER_QUEUE_MAX;
		worker->queue_count--;
		if (worker->stopping)
			plan.work_units = 0;
		unlock(worker);
		result = plan.run(plan.snapshot, plan.work_units, plan.seed);
		lock(worker);
		worker->results[worker->result_count++] =
			(struct result){.plan = plan.plan, .result = result};
		/* An eventfd takes 2^64 - 2 of these. */
		(void)!write(worker->watch.fd, &one, sizeof(one));
	}
	unlock(worker);
	return NULL;
}

/* Results in the order in which they came. A call may ask for the next plan. */
static void deliver(struct gw_worker *worker)
{
	struct result results[GW_WORKER_QUEUE_MAX];
	uint32_t count;

	lock(worker);
	count = worker->result_count;
	for (uint32_t i = 0; i < count; i++)
		results[i] = worker->results[i];
	worker->result_count = 0;
	unlock(worker);
	worker->taken_count -= count;
	for (uint32_t i = 0; i < count; i++)
		worker->planned(worker->context, results[i].plan, results[i].result);
}

static void ready(void *context, uint32_t events)
{
	struct gw_worker *worker = context;
	uint64_t count;

	(void)events; /* readable is all that it can be */
	if (read(worker->watch.fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		deliver(worker);
}

int gw_worker_new(struct gw_reactor *reactor, uint32_t thread_count, gw_planned_f *planned,
		  void *context, struct gw_worker **ret_worker)
{
	struct gw_worker *worker = calloc(1, sizeof(*worker));
	int error = 0;

	CHECK(thread_count > 0);
	CHECK(thread_count <= THREADS_MAX);
	if (!worker)
		return -ENOMEM;
	worker->reactor = reactor;
	worker->planned = planned;
	worker->context = context;
	(void)pthread_mutex_init(&worker->lock, NULL); /* default ones do not fail on Linux */
	(void)pthread_cond_init(&worker->wanted, NULL);
	worker->watch.ready = ready;
	worker->watch.context = worker;
	worker->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = worker->watch.fd < 0 ? -errno : gw_reactor_watch(reactor, &worker->watch, EPOLLIN);
	while (error == 0 && worker->thread_count < thread_count) {
		error = -pthread_create(&worker->threads[worker->thread_count], NULL, run, worker);
		if (error == 0)
			worker->thread_count++;
	}
	if (error < 0) {
		gw_worker_free(worker);
		return error;
	}
	*ret_worker = worker;
	return 0;
}

struct gw_worker *gw_worker_free(struct gw_worker *worker)
{
	if (!worker)
		return NULL;
	lock(worker);
	worker->stopping = true;
	(void)pthread_cond_broadcast(&worker->wanted);
	unlock(worker);
	for (uint32_t i = 0; i < worker->thread_count; i++)
		(void)pthread_join(worker->threads[i], NULL);
	worker->thread_count = 0;
	deliver(worker);
	if (worker->watch.fd >= 0) {
		gw_reactor_unwatch(worker->reactor, &worker->watch);
		(void)close(worker->watch.fd);
	}
	(void)pthread_cond_destroy(&worker->wanted);
	(void)pthread_mutex_destroy(&worker->lock);
	free(worker);
	return NULL;
}

int gw_worker_run(struct gw_worker *worker, const struct gw_plan *plan)
{
	uint32_t at;

	CHECK(worker->thread_count > 0); /* no result may ask for another while it is freed */

	if (worker->taken_count >= GW_WORKER_QUEUE_MAX)
		return -ENOBUFS;
	worker->taken_count++;
	lock(worker);
	at = (worker->queue_first + worker->queue_count) % GW_WORKER_QUEUE_MAX;
	worker->queue[at] = *plan;
	worker->queue_count++;
	(void)pthread_cond_signal(&worker->wanted);
	unlock(worker);
	return 0;
}
