#include "items/lease.h"

#include <sys/random.h>

static void free_lease(tt_lease *l)
{
    if (!l)
        return;
    free(l->worker);
    free(l->request_id);
    tt_vec_deinit(&l->runs);
    free(l);
}

void tt_leases_deinit(tt_leases *ls)
{
    for (size_t i = 0; i < ls->slots.len; i++)
        free_lease(ls->slots.ptr[i]);
    tt_vec_deinit(&ls->slots);
    tt_vec_deinit(&ls->free_slots);
    ls->live = 0;
}

static bool take_slot(tt_leases *ls, uint32_t *ret)
{
    if (ls->free_slots.len) {
        *ret = tt_vec_pop(&ls->free_slots);
        return true;
    }
    /* Room in the free list for every slot, so that ending a lease cannot fail. */
    if (!tt_vec_reserve(&ls->free_slots, ls->slots.len + 1 - ls->free_slots.len) || !tt_vec_push(&ls->slots, NULL))
        return false;
    *ret = (uint32_t)(ls->slots.len - 1);
    return true;
}

static void make_token(char out[TT_LEASE_TOKEN_TEXT])
{
    uint8_t bytes[16];
    tt_assert(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

tt_lease *tt_leases_add(tt_leases *ls, tt_str worker, tt_str request_id, int64_t now_ms, int64_t lease_ms)
{
    uint32_t slot;
    if (!take_slot(ls, &slot))
        return NULL;
    tt_lease *l = TT_NEW(tt_lease);
    *l = (tt_lease){.slot = slot, .taken_ms = now_ms, .due_ms = now_ms + lease_ms, .lease_ms = lease_ms};
    l->worker = tt_str_dup(worker);
    l->request_id = request_id.len ? tt_str_dup(request_id) : NULL;
    make_token(l->token);
    ls->slots.ptr[slot] = l;
    ls->live++;
    return l;
}

void tt_leases_end(tt_leases *ls, tt_lease *l)
{
    ls->slots.ptr[l->slot] = NULL;
    bool has_room = tt_vec_push(&ls->free_slots, l->slot); /* reserved in take_slot */
    tt_assert(has_room);
    ls->live--;
    free_lease(l);
}

tt_lease *tt_leases_by_slot(const tt_leases *ls, uint32_t slot_and_one)
{
    return slot_and_one == 0 || slot_and_one > ls->slots.len ? NULL : ls->slots.ptr[slot_and_one - 1];
}

tt_lease *tt_leases_by_token(const tt_leases *ls, tt_str token)
{
    for (size_t i = 0; i < ls->slots.len; i++)
        if (ls->slots.ptr[i] && tt_str_is(token, ls->slots.ptr[i]->token))
            return ls->slots.ptr[i];
    return NULL;
}

tt_lease *tt_leases_by_request(const tt_leases *ls, tt_str request_id)
{
    for (size_t i = 0; request_id.len && i < ls->slots.len; i++)
        if (ls->slots.ptr[i] && ls->slots.ptr[i]->request_id && tt_str_is(request_id, ls->slots.ptr[i]->request_id))
            return ls->slots.ptr[i];
    return NULL;
}

tt_lease *tt_leases_next_due(const tt_leases *ls, size_t *at, int64_t now_ms, int64_t *ret_next_ms)
{
    while (*at < ls->slots.len) {
        tt_lease *l = ls->slots.ptr[(*at)++];
        if (l && l->due_ms <= now_ms)
            return l;
        if (l && l->due_ms < *ret_next_ms)
            *ret_next_ms = l->due_ms;
    }
    return NULL;
}

int64_t tt_leases_oldest_ms(const tt_leases *ls, int64_t now_ms)
{
    int64_t oldest = -1;
    for (size_t i = 0; i < ls->slots.len; i++)
        if (ls->slots.ptr[i] && now_ms - ls->slots.ptr[i]->taken_ms > oldest)
            oldest = now_ms - ls->slots.ptr[i]->taken_ms;
    return oldest;
}
