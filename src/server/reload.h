/* SIGHUP: the settings as they are in the file now, in a process that runs. All are read and checked, all are set, then each row of the
 * process's table whose settings changed is applied; the first that fails takes everything back. One line of the log says what became of it,
 * a second one which changed settings need a restart. A setting with `.reload` in option.def that a process keeps a copy of has a row in its
 * table: supervisor.c, server_main.c, worker_main.c. One that is read from the options each time needs none. */
#ifndef TT_SERVER_RELOAD_H
#define TT_SERVER_RELOAD_H

#include "base/option.h"

typedef struct {
    const char *keys; /* of the settings it applies: "a,b" */
    /* Called with the new values; with the old ones, which went well before, to take it back. */
    tt_rc (*apply)(void *arg, const tt_options *o, tt_err *err);
} tt_reload_row;

/* rows: ends with one without keys. False: nothing changed, the log says why. */
bool tt_reload(tt_options *o, const tt_reload_row *rows, void *arg);
/* log.level and log.format: at the start, and as a row of every table. */
tt_rc tt_reload_log(void *arg, const tt_options *o, tt_err *err);
#define TT_RELOAD_LOG {"log.level,log.format", tt_reload_log}

#endif
