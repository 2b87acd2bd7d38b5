/* Telling systemd how we are (sd_notify): plain datagrams to $NOTIFY_SOCKET; without one, nothing happens. One thread. */
#ifndef TT_BASE_NOTIFY_H
#define TT_BASE_NOTIFY_H

#include "base/err.h"

/* Remembers the socket and takes the variables out of the environment, so that children do not speak for us. */
void tt_notify_setup(void);
/* "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...", several separated by line ends. */
void tt_notify(const char *state);
/* How often to send WATCHDOG=1 (half of what systemd allows); 0: not wanted. */
int64_t tt_notify_watchdog_ms(void);

#endif
