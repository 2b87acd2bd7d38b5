#include "work/kinds.h"

static tt_rc run_probe(tt_kind_call *call, tt_err *err)
{
    tt_buf_str(call->result, call->payload);
    return tt_buf_check(call->result, err);
}

static const tt_kind own[] = {
    {"probe", "Gives its payload back; proves that workers take work and finish it.", run_probe},
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
