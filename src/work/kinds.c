#include "work/kinds.h"

#include <poll.h>

#include "base/clock.h"

static tt_rc run_probe(tt_kind_call *call, tt_err *err)
{
    tt_buf_str(call->result, call->payload);
    return tt_buf_check(call->result, err);
}

/* Payload: a duration, `90s`; empty: 1s. */
static tt_rc run_sleep(tt_kind_call *call, tt_err *err)
{
    int64_t ms = 1000;
    if (call->payload.len)
        TT_TRY(tt_parse_duration_ms(call->payload, &ms, err));
    for (int64_t end_ms = tt_mono_ms() + ms; tt_mono_ms() < end_ms;) {
        int64_t at = tt_attempt_deadline_ms(call->at), wait_ms = (at < end_ms ? at : end_ms) - tt_mono_ms();
        struct pollfd p = {.fd = tt_attempt_stop_fd(call->at), .events = POLLIN};
        poll(&p, 1, wait_ms < 0 ? 0 : wait_ms > 60000 ? 60000 : (int)wait_ms);
        TT_TRY(tt_attempt_check(call->at, err));
    }
    tt_attempt_note(call->at, "slept for %lld ms", (long long)ms);
    return TT_OK;
}

static const tt_kind own[] = {
    {"probe", "Gives its payload back; proves that workers take work and finish it.", run_probe, .is_open = true},
    {"sleep", "Waits for as long as its payload says (`90s`), or until it is canceled.", run_sleep, .is_open = true},
};

enum { MAX_REGISTERED = 32 };
static const tt_kind *registered[MAX_REGISTERED];
static size_t registered_count;

const tt_kind *tt_kind_find(tt_str name)
{
    for (size_t i = 0; i < TT_COUNT(own); i++)
        if (tt_str_is(name, own[i].name))
            return &own[i];
    for (size_t i = 0; i < registered_count; i++)
        if (tt_str_is(name, registered[i]->name))
            return registered[i];
    return NULL;
}

void tt_kind_register(const tt_kind *kind)
{
    tt_assert(registered_count < MAX_REGISTERED && !tt_kind_find(tt_str_of(kind->name)));
    registered[registered_count++] = kind;
}
