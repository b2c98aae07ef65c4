/* The agent's daemon: everything between the settings and the exit code. */
#ifndef GODWIT_AGENT_DAEMON_H
#define GODWIT_AGENT_DAEMON_H

struct gw_agent_settings;

/* Serves until SIGTERM or SIGINT. Returns the exit code. Once a process. */
int gw_agent_serve(const struct gw_agent_settings *settings);

#endif
