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
    tt_vec_deinit(&ls->by_due);
    tt_map_deinit(&ls->by_request);
    ls->oldest = ls->newest = NULL;
}

int64_t tt_lease_bounded(int64_t lease_ms)
{
    const int64_t longest_ms = INT64_C(7) * 24 * 3600 * 1000;
    return lease_ms < longest_ms ? lease_ms : longest_ms;
}

size_t tt_leases_count(const tt_leases *ls) { return ls->by_due.len; }

/* ---- who ends first ---- */

static void place(tt_leases *ls, size_t at, tt_lease *l)
{
    ls->by_due.ptr[at] = l;
    l->heap_at = at;
}

static void sift_up(tt_leases *ls, tt_lease *l)
{
    size_t at = l->heap_at;
    for (; at > 0 && ls->by_due.ptr[(at - 1) / 2]->due_ms > l->due_ms; at = (at - 1) / 2)
        place(ls, at, ls->by_due.ptr[(at - 1) / 2]);
    place(ls, at, l);
}

static void sift_down(tt_leases *ls, tt_lease *l)
{
    size_t at = l->heap_at;
    for (size_t child; (child = 2 * at + 1) < ls->by_due.len; at = child) {
        if (child + 1 < ls->by_due.len && ls->by_due.ptr[child + 1]->due_ms < ls->by_due.ptr[child]->due_ms)
            child++;
        if (ls->by_due.ptr[child]->due_ms >= l->due_ms)
            break;
        place(ls, at, ls->by_due.ptr[child]);
    }
    place(ls, at, l);
}

static void take_off_heap(tt_leases *ls, const tt_lease *l)
{
    tt_lease *last = tt_vec_pop(&ls->by_due);
    if (last == l)
        return;
    place(ls, l->heap_at, last);
    sift_up(ls, last);
    sift_down(ls, last);
}

void tt_leases_set_due(tt_leases *ls, tt_lease *l, int64_t due_ms)
{
    l->due_ms = due_ms;
    sift_up(ls, l);
    sift_down(ls, l);
}

tt_lease *tt_leases_next_due(const tt_leases *ls) { return ls->by_due.len ? ls->by_due.ptr[0] : NULL; }

/* ---- in the order of hand-out ---- */

static void link_newest(tt_leases *ls, tt_lease *l)
{
    l->older = ls->newest;
    *(ls->newest ? &ls->newest->newer : &ls->oldest) = l;
    ls->newest = l;
}

static void unlink_lease(tt_leases *ls, const tt_lease *l)
{
    *(l->older ? &l->older->newer : &ls->oldest) = l->newer;
    *(l->newer ? &l->newer->older : &ls->newest) = l->older;
}

int64_t tt_leases_oldest_ms(const tt_leases *ls, int64_t now_ms) { return ls->oldest ? now_ms - ls->oldest->taken_ms : -1; }

/* ---- coming and going ---- */

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

static void make_token(uint32_t slot, char out[TT_LEASE_TOKEN_TEXT])
{
    uint8_t bytes[12];
    tt_assert(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    snprintf(out, 9, "%08x", slot);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 8 + 2 * i, 3, "%02x", bytes[i]);
}

tt_lease *tt_leases_add(tt_leases *ls, tt_str worker, tt_str request_id, int64_t now_ms, int64_t lease_ms)
{
    uint32_t slot;
    if (!tt_vec_reserve(&ls->by_due, 1) || !take_slot(ls, &slot))
        return NULL;
    tt_lease *l = TT_NEW(tt_lease);
    *l = (tt_lease){.slot = slot, .taken_ms = now_ms, .due_ms = now_ms + lease_ms, .lease_ms = lease_ms, .heap_at = ls->by_due.len};
    l->worker = tt_str_dup(worker);
    l->request_id = request_id.len ? tt_str_dup(request_id) : NULL;
    make_token(slot, l->token);
    ls->slots.ptr[slot] = l;
    ls->by_due.ptr[ls->by_due.len++] = l;
    sift_up(ls, l);
    link_newest(ls, l);
    if (l->request_id && !tt_map_put(&ls->by_request, tt_str_of(l->request_id), l, NULL)) { /* then a repeated request is a new one */
        free(l->request_id);
        l->request_id = NULL;
    }
    return l;
}

void tt_leases_end(tt_leases *ls, tt_lease *l)
{
    ls->slots.ptr[l->slot] = NULL;
    bool has_room = tt_vec_push(&ls->free_slots, l->slot); /* reserved in take_slot */
    tt_assert(has_room);
    take_off_heap(ls, l);
    unlink_lease(ls, l);
    if (l->request_id && tt_leases_by_request(ls, tt_str_of(l->request_id)) == l)
        tt_map_remove(&ls->by_request, tt_str_of(l->request_id));
    free_lease(l);
}

/* ---- finding ---- */

tt_lease *tt_leases_by_slot(const tt_leases *ls, uint32_t slot_and_one)
{
    return slot_and_one == 0 || slot_and_one > ls->slots.len ? NULL : ls->slots.ptr[slot_and_one - 1];
}

tt_lease *tt_leases_by_token(const tt_leases *ls, tt_str token)
{
    char digits[9] = "", *end;
    if (token.len != TT_LEASE_TOKEN_TEXT - 1)
        return NULL;
    memcpy(digits, token.ptr, 8);
    unsigned long slot = strtoul(digits, &end, 16);
    if (slot >= ls->slots.len || !ls->slots.ptr[slot] || !tt_str_is(token, ls->slots.ptr[slot]->token))
        return NULL;
    return ls->slots.ptr[slot];
}

tt_lease *tt_leases_by_request(const tt_leases *ls, tt_str request_id)
{
    return request_id.len ? tt_map_get(&ls->by_request, request_id) : NULL;
}
