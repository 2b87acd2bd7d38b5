/* Which settings of a command line are a worker's. */
#include "server/worker_main.h"

/* All but those that only a server makes use of. To add one of these: a row here. */
const char *const tt_worker_flags[] = {
    "*", "!--workers", "!--query-workers", "!--listen", "!--insecure", "!--trust", "!--allow-host", "!--cors", "!--static", "!--threads", "!--access-log",
    "!--redis", "!--rq-queue", "!--durability", "!--config-db", "!--config-read-only", NULL,
};

static bool is_taken(const char *arg)
{
    size_t len = strcspn(arg, "=");
    for (const char *const *flag = tt_worker_flags; *flag; flag++)
        if ((*flag)[0] == '!' && strlen(*flag + 1) == len && strncmp(*flag + 1, arg, len) == 0)
            return false;
    return true;
}

void tt_worker_each_arg(const char *const *argv, void (*add)(void *arg, const char *text), void *arg)
{
    for (; *argv; argv++) {
        bool is_config = strcmp(*argv, "--config") == 0; /* its path follows */
        if (is_config || is_taken(*argv))
            add(arg, *argv);
        if (is_config)
            add(arg, *++argv);
    }
}
