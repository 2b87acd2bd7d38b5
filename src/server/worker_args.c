/* Which settings of a command line are a worker's. */
#include "server/worker_main.h"

/* To add one that workers use: a row here. */
const char *const tt_worker_flags[] = {"--shared", "--root", "--programs", "--grace", "--log-level", "--log-format", NULL};

static bool is_taken(const char *arg)
{
    static const char *const every_command[] = {"--data", NULL};
    const char *const *lists[] = {every_command, tt_worker_flags};
    size_t len = strcspn(arg, "=");
    for (size_t l = 0; l < TT_COUNT(lists); l++)
        for (const char *const *flag = lists[l]; *flag; flag++)
            if (strlen(*flag) == len && strncmp(*flag, arg, len) == 0)
                return true;
    return false;
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
