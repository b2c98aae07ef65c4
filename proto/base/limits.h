/*
 * Stated bounds, in one place. Whatever grows is checked against one of these at growth;
 * past it there is a refusal with a reason, never a silent drop.
 */
#ifndef GODWIT_PROTO_BASE_LIMITS_H
#define GODWIT_PROTO_BASE_LIMITS_H

#define GW_PROTOCOL_MIN 1u /* oldest wire protocol spoken */
#define GW_PROTOCOL_MAX 2u /* newest; 2: SchedulerList */

#define GW_NAME_BYTES_MAX 63u /* names of nodes, sites, regions, jobs, labels; without the NUL */
#define GW_MESSAGE_BYTES_MAX (1u << 20) /* one envelope on the wire */
#define GW_DECODE_BYTES_MAX (8u << 20)  /* arena for one decoded message */
#define GW_TEXT_BYTES_MAX 4096u         /* an error or explanation */
#define GW_ENDPOINT_BYTES_MAX 127u      /* tcp://[address]:port */
#define GW_SCHEDULERS_MAX 8u            /* of one region: the leader and those that stand by */

#define GW_NODES_MAX 20000u /* nodes of one scheduler */
#define GW_SITES_MAX 2000u  /* sites of one scheduler */
#define GW_JOBS_MAX 200000u /* jobs kept, ended ones included */
#define GW_TASKS_PER_JOB_MAX 100000u
#define GW_TASKS_MAX 1000000u /* tasks kept by one scheduler */
#define GW_ARGS_MAX 256u      /* argv entries of a task */
#define GW_ENV_MAX 256u       /* environment entries of a task, of them: */
#define GW_ENV_OWN_MAX 16u    /* the scheduler's own */
#define GW_ENV_JOB_MAX (GW_ENV_MAX - GW_ENV_OWN_MAX)
#define GW_RLIMITS_MAX 16u                 /* resource limits of a task */
#define GW_PATH_BYTES_MAX 4095u            /* Linux PATH_MAX without the NUL */
#define GW_START_BYTES_MAX (120u << 10)    /* an encoded TaskStart: what a keeper takes */
#define GW_SPEC_BYTES_MAX (256u << 10)     /* a job spec, as text and as message */
#define GW_LOG_CHUNK_BYTES_MAX (64u << 10) /* one answer to a log read */

#define GW_LINK_QUEUE_BYTES_MAX (8u << 20) /* per peer, waiting in our queue */
#define GW_LINK_WINDOW_BYTES (1u << 20)    /* per peer, handed to libzmq and not acknowledged */

#endif
