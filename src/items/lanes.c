#include "items/lanes.h"

#include "base/map.h"
#include "data/json.h"

/* ---- its life ---- */

static bool find_cell(tt_str header, tt_str column, uint32_t *ret)
{
    TT_BUF_AUTO tt_buf name = {0};
    tt_json_iter it;
    tt_str element;
    if (!tt_json_enter(header, &it))
        return false;
    for (*ret = 0; tt_json_next_element(&it, &element); ++*ret) {
        tt_buf_clear(&name);
        tt_json_unescape(element, &name);
        if (tt_str_eq(tt_buf_view(&name), column))
            return true;
    }
    return false;
}

tt_rc tt_lanes_new(tt_str column, tt_str header, tt_lanes **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf escaped = {0};
    uint32_t cell = UINT32_MAX;
    if (header.len && !find_cell(header, column, &cell))
        return tt_fail(err, TT_INVALID, "metadata: key names the column `%.*s`, which the input's header does not have: %.*s", TT_STR_ARG(tt_str_slice(column, 0, 80)),
                       TT_STR_ARG(tt_str_slice(header, 0, 300)));
    tt_buf_json_str(&escaped, column);
    TT_TRY(tt_buf_check(&escaped, err));
    tt_lanes *k = TT_NEW(tt_lanes);
    k->cell = cell;
    k->column = tt_str_dup(tt_str_slice(tt_buf_view(&escaped), 1, escaped.len - 1));
    *ret = k;
    return TT_OK;
}

static void free_row(tt_lanes *k, uint32_t row)
{
    tt_lane_row *r = k->rows.ptr[row];
    free(r->hash);
    free(r->next);
    free(r);
    k->rows.ptr[row] = NULL;
    k->admitted--;
}

void tt_lanes_free(tt_lanes *k)
{
    if (!k)
        return;
    for (uint32_t row = 0; row < k->rows.len; row++)
        if (k->rows.ptr[row])
            free_row(k, row);
    tt_vec_deinit(&k->rows);
    free(k->chains);
    free(k->column);
    free(k);
}

bool tt_lanes_has(const tt_lanes *k, uint32_t row) { return row < k->rows.len && k->rows.ptr[row]; }
bool tt_lanes_is_full(const tt_lanes *k) { return k->admitted >= TT_LANES_ROWS; }

bool tt_lanes_is_late(const tt_lanes *k, uint32_t row)
{
    for (size_t i = (size_t)row + 1; i < k->rows.len; i++)
        if (k->rows.ptr[i])
            return true;
    return false;
}

/* ---- the key of an item ---- */

static uint64_t hash_of(tt_str text)
{
    if (text.len == 0 || tt_str_is(text, "null"))
        return 0;
    uint64_t h = tt_hash(text.ptr, text.len);
    return h ? h : 1;
}

/* `[id,value],` */
static tt_str value_of(const tt_loaded *l, uint32_t index)
{
    const char *from = l->bytes + l->offsets[index], *to = l->bytes + l->offsets[index + 1];
    const char *comma = from < to ? memchr(from, ',', (size_t)(to - from)) : NULL;
    return comma && to - comma > 3 ? (tt_str){comma + 1, (size_t)(to - comma - 3)} : (tt_str){0};
}

static uint64_t key_of(const tt_lanes *k, tt_str value)
{
    tt_json_iter it;
    tt_str name, member;
    if (value.len == 0 || !tt_json_enter(value, &it))
        return 0;
    if (value.ptr[0] == '{')
        while (tt_json_next_member(&it, &name, &member))
            if (tt_str_is(name, k->column))
                return hash_of(member);
    if (value.ptr[0] == '[' && k->cell != UINT32_MAX)
        for (uint32_t i = 0; tt_json_next_element(&it, &member); i++)
            if (i == k->cell)
                return hash_of(member);
    return 0;
}

/* ---- chains ---- */

static uint64_t pack(tt_item_ref at) { return ((uint64_t)at.row << 32 | at.index) + 1; }
static tt_item_ref unpack(uint64_t packed) { return (tt_item_ref){(uint32_t)((packed - 1) >> 32), (uint32_t)(packed - 1)}; }

/* The place of a hash: its chain, or a free one. There is one. */
static tt_lane_chain *find(const tt_lanes *k, uint64_t hash)
{
    size_t at = hash & (k->cap - 1);
    while (k->chains[at].hash && k->chains[at].hash != hash)
        at = (at + 1) & (k->cap - 1);
    return &k->chains[at];
}

/* Room for the chains of one more row, when every item of those admitted (that one included) has its own: so a rebuild needs no more. Empty
 * chains are left behind. */
static bool reserve(tt_lanes *k, const tt_blocks *b, uint32_t row)
{
    size_t live = 0, cap = 1024, total = 0;
    for (uint32_t i = 0; i < k->rows.len; i++)
        total += k->rows.ptr[i] ? b->rows.ptr[i].block.count : 0;
    if (k->cap >= 2 * total && k->used + b->rows.ptr[row].block.count <= k->cap / 2)
        return true;
    for (size_t i = 0; i < k->cap; i++)
        live += k->chains[i].head != 0;
    while (cap < 2 * total)
        cap *= 2;
    tt_lane_chain *old = k->chains, *fresh = tt_calloc(cap, sizeof *fresh);
    size_t old_cap = k->cap;
    if (!fresh)
        return false;
    k->chains = fresh;
    k->cap = cap;
    k->used = live;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].head)
            *find(k, old[i].hash) = old[i];
    free(old);
    return true;
}

/* True: it is the first of its chain. Room was reserved. */
static bool link(tt_lanes *k, tt_item_ref at)
{
    tt_lane_row *r = k->rows.ptr[at.row];
    uint64_t hash = r->hash[at.index];
    if (hash == 0)
        return true;
    tt_lane_chain *c = find(k, hash);
    k->used += c->hash == 0;
    c->hash = hash;
    bool first = c->head == 0;
    if (first) {
        c->head = pack(at);
    } else {
        tt_item_ref last = unpack(c->tail);
        k->rows.ptr[last.row]->next[last.index] = pack(at);
    }
    c->tail = pack(at);
    r->linked++;
    return first;
}

static bool is_unfinished(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING || tt_item_state_of(byte) == TT_ITEM_HELD; }

/* An open item: held, when others of its key are before it. The row has its bytes. */
static void link_open(tt_lanes *k, tt_blocks *b, tt_item_ref at)
{
    unsigned attempts = tt_item_attempts(tt_blocks_get(b, at));
    tt_item_state state = link(k, at) ? TT_ITEM_PENDING : TT_ITEM_HELD;
    tt_assert(tt_blocks_set(b, at, tt_item_byte(state, false, attempts)));
}

bool tt_lanes_admit(tt_lanes *k, tt_blocks *b, uint32_t row, const tt_loaded *loaded)
{
    uint32_t count = b->rows.ptr[row].block.count;
    while (k->rows.len <= row)
        if (!tt_vec_push(&k->rows, NULL))
            return false;
    tt_lane_row *r = TT_NEW(tt_lane_row);
    *r = (tt_lane_row){.hash = tt_calloc(count, sizeof *r->hash), .next = tt_calloc(count, sizeof *r->next)};
    k->rows.ptr[row] = r;
    k->admitted++;
    if (!r->hash || !r->next || !tt_blocks_reserve(b, row) || !reserve(k, b, row)) {
        free_row(k, row);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        tt_item_ref at = {row, i};
        uint8_t byte = tt_blocks_get(b, at);
        r->hash[i] = key_of(k, value_of(loaded, i)); /* of what is finished too: it may be opened again */
        if (!is_unfinished(byte))
            continue;
        if (tt_item_is_leased(byte))
            link(k, at);
        else
            link_open(k, b, at);
    }
    return true;
}

bool tt_lanes_give_way(tt_lanes *k, tt_blocks *b, uint32_t row)
{
    size_t last = k->rows.len;
    while (last > (size_t)row + 1 && (!k->rows.ptr[last - 1] || b->rows.ptr[last - 1].in_flight))
        last--;
    if (last <= (size_t)row + 1)
        return false;
    uint32_t number = (uint32_t)last - 1;
    free_row(k, number);
    for (uint32_t i = 0; i < b->rows.ptr[number].block.count; i++) {
        tt_item_ref at = {number, i};
        uint8_t byte = tt_blocks_get(b, at);
        if (tt_item_state_of(byte) == TT_ITEM_HELD) /* then the row has its bytes */
            tt_assert(tt_blocks_set(b, at, tt_item_byte(TT_ITEM_PENDING, false, tt_item_attempts(byte))));
    }
    return true;
}

static void free_row_if_done(tt_lanes *k, const tt_blocks *b, uint32_t row)
{
    const tt_dir_block *d = &b->rows.ptr[row];
    if (k->rows.ptr[row] && k->rows.ptr[row]->linked == 0 && d->open == 0 && d->in_flight == 0 && d->held == 0)
        free_row(k, row);
}

/* Takes the first of a chain off; gives what is behind it, 0: nothing. */
static uint64_t take_first(tt_lanes *k, const tt_blocks *b, tt_lane_chain *c)
{
    tt_item_ref at = unpack(c->head);
    tt_lane_row *r = k->rows.ptr[at.row];
    c->head = r->next[at.index];
    r->next[at.index] = 0;
    r->linked--;
    free_row_if_done(k, b, at.row);
    return c->head;
}

void tt_lanes_finish(tt_lanes *k, tt_blocks *b, tt_item_ref at)
{
    if (!tt_lanes_has(k, at.row))
        return;
    uint64_t hash = k->rows.ptr[at.row]->hash[at.index];
    tt_lane_chain *c = hash ? find(k, hash) : NULL;
    if (!c || c->head != pack(at)) { /* without a key; or in the middle of a chain: it is passed over when its turn comes */
        free_row_if_done(k, b, at.row);
        return;
    }
    /* Those in the middle may be finished already. */
    for (uint64_t next = take_first(k, b, c); next; next = take_first(k, b, c)) {
        tt_item_ref n = unpack(next);
        uint8_t byte = tt_blocks_get(b, n);
        if (tt_item_state_of(byte) == TT_ITEM_HELD)
            tt_assert(tt_blocks_set(b, n, tt_item_byte(TT_ITEM_PENDING, false, tt_item_attempts(byte))));
        if (is_unfinished(byte))
            return;
    }
    c->tail = 0;
}

/* ---- anew ---- */

typedef enum { IN_FLIGHT, OPEN } pass;

static void link_row(tt_lanes *k, tt_blocks *b, uint32_t row, pass p)
{
    for (uint32_t i = 0; i < b->rows.ptr[row].block.count; i++) {
        tt_item_ref at = {row, i};
        uint8_t byte = tt_blocks_get(b, at);
        if (!is_unfinished(byte))
            continue;
        if (p == IN_FLIGHT && tt_item_is_leased(byte))
            link(k, at);
        if (p == OPEN && !tt_item_is_leased(byte))
            link_open(k, b, at);
    }
}

/* A finished item that others still have to wait for. */
static void link_unsettled(tt_lanes *k, tt_blocks *b, tt_item_ref at)
{
    if (!tt_lanes_has(k, at.row) || is_unfinished(tt_blocks_get(b, at)))
        return;
    uint64_t hash = k->rows.ptr[at.row]->hash[at.index];
    if (hash && find(k, hash)->head == 0)
        link(k, at);
}

/* Takes no memory: there is room for a chain of each item. */
void tt_lanes_rebuild(tt_lanes *k, tt_blocks *b, const tt_item_ref *unsettled, size_t count)
{
    if (k->cap)
        memset(k->chains, 0, k->cap * sizeof *k->chains);
    k->used = 0;
    for (uint32_t row = 0; row < k->rows.len; row++)
        if (k->rows.ptr[row]) {
            memset(k->rows.ptr[row]->next, 0, b->rows.ptr[row].block.count * sizeof *k->rows.ptr[row]->next);
            k->rows.ptr[row]->linked = 0;
        }
    for (uint32_t row = 0; row < k->rows.len; row++)
        if (k->rows.ptr[row])
            link_row(k, b, row, IN_FLIGHT);
    for (size_t i = 0; i < count; i++)
        link_unsettled(k, b, unsettled[i]);
    for (uint32_t row = 0; row < k->rows.len; row++)
        if (k->rows.ptr[row])
            link_row(k, b, row, OPEN);
    for (uint32_t row = 0; row < k->rows.len; row++)
        free_row_if_done(k, b, row);
}

/* ---- checking ---- */

static const char *fault_in_chain(const tt_lanes *k, const tt_blocks *b, const tt_lane_chain *c)
{
    size_t free_ones = 0;
    uint64_t last = 0;
    for (uint64_t p = c->head; p; last = p, p = k->rows.ptr[unpack(p).row]->next[unpack(p).index]) {
        if (!tt_lanes_has(k, unpack(p).row))
            return "a chain goes through a row that is not admitted";
        uint8_t byte = tt_blocks_get(b, unpack(p));
        if (p != c->head && tt_item_state_of(byte) == TT_ITEM_PENDING)
            free_ones++;
        if (p == c->head && tt_item_state_of(byte) == TT_ITEM_HELD)
            return "the first of a chain is held";
    }
    if (free_ones)
        return "an item can be served although another of its key is before it";
    return last == c->tail || c->head == 0 ? NULL : "a chain's end";
}

bool tt_lanes_validate(const tt_lanes *k, const tt_blocks *b, const char **ret_reason)
{
    *ret_reason = NULL;
    for (size_t i = 0; i < k->cap && !*ret_reason; i++)
        if (k->chains[i].head)
            *ret_reason = fault_in_chain(k, b, &k->chains[i]);
    return !*ret_reason;
}
