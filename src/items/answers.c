#include "items/answers.h"

tt_answers *tt_answers_new(uint32_t copies)
{
    tt_answers *a = TT_NEW(tt_answers);
    a->copies = copies;
    return a;
}

void tt_answers_free(tt_answers *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->workers.len; i++)
        free(a->workers.ptr[i].name);
    tt_vec_deinit(&a->workers);
    tt_map_deinit(&a->numbers);
    free(a);
}

/* ---- workers ---- */

static uint16_t add_worker(tt_answers *a, tt_str name)
{
    char *copy = tt_str_dup(name);
    size_t number = a->workers.len + 1;
    if (!copy || !tt_vec_reserve(&a->workers, 1) || !tt_map_put(&a->numbers, name, (void *)(uintptr_t)number, NULL)) {
        free(copy);
        return 0;
    }
    a->workers.ptr[a->workers.len++] = (tt_answerer){.name = copy};
    return (uint16_t)number;
}

uint16_t tt_answers_worker(tt_answers *a, tt_str name, tt_err *err)
{
    uint16_t number = (uint16_t)(uintptr_t)tt_map_get(&a->numbers, name);
    if (number)
        return number;
    if (a->workers.len >= TT_ANSWERS_MAX_WORKERS) {
        tt_fail(err, TT_INVALID, "the job has heard of %d workers, which is the most that one with overlap keeps apart", TT_ANSWERS_MAX_WORKERS);
        return 0;
    }
    number = add_worker(a, name);
    if (!number)
        tt_fail(err, TT_NOMEM, "out of memory for another worker");
    return number;
}

static tt_answerer *worker_of(const tt_answers *a, uint16_t number) { return &a->workers.ptr[number - 1]; }

/* ---- slots of an item ---- */

static tt_item_ref first_of(const tt_blocks *b, tt_item_ref at) { return (tt_item_ref){at.row, at.index - at.index % b->answers->copies}; }

static uint16_t slot_worker(const tt_blocks *b, tt_item_ref at)
{
    const uint16_t *workers = b->rows.ptr[at.row].workers;
    return workers ? workers[at.index] : 0;
}

static bool is_open(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte); }

tt_item_state tt_answers_state(const tt_blocks *b, tt_item_ref at)
{
    uint32_t of[TT_ITEM_STATE_COUNT] = {0};
    tt_item_ref s = first_of(b, at);
    for (uint32_t i = 0; i < b->answers->copies; i++, s.index++)
        of[tt_item_state_of(tt_blocks_get(b, s))]++;
    if (of[TT_ITEM_PENDING])
        return TT_ITEM_PENDING;
    if (of[TT_ITEM_DEAD])
        return TT_ITEM_DEAD;
    if (of[TT_ITEM_ERROR])
        return TT_ITEM_ERROR;
    return of[TT_ITEM_HOLE] ? TT_ITEM_HOLE : TT_ITEM_RECEIVED;
}

static void count_item(tt_blocks *b, tt_item_ref at, uint64_t one)
{
    tt_answers *a = b->answers;
    tt_item_state state = tt_answers_state(b, at);
    tt_item_ref s = first_of(b, at);
    b->counts.of[state] += one;
    for (uint32_t i = 0; i < a->copies; i++, s.index++) {
        if (tt_item_state_of(tt_blocks_get(b, s)) != TT_ITEM_RECEIVED)
            continue;
        a->received += one;
        uint16_t worker = slot_worker(b, s);
        if (state == TT_ITEM_PENDING && worker && !a->loading)
            worker_of(a, worker)->answered += one;
    }
}

void tt_answers_count(tt_blocks *b, tt_item_ref at) { count_item(b, at, 1); }
void tt_answers_uncount(tt_blocks *b, tt_item_ref at) { count_item(b, at, (uint64_t)-1); }

void tt_answers_opened(tt_answers *a, uint32_t row)
{
    if (row >= a->highest_cursor)
        return;
    for (size_t i = 0; i < a->workers.len; i++)
        if (a->workers.ptr[i].cursor > row)
            a->workers.ptr[i].cursor = row;
    a->highest_cursor = row;
}

/* ---- picking ---- */

bool tt_answers_pick_open(const tt_blocks *b, tt_item_ref first, uint16_t worker, tt_item_ref *ret)
{
    bool found = false;
    tt_item_ref s = first;
    for (uint32_t i = 0; i < b->answers->copies; i++, s.index++) {
        if (slot_worker(b, s) == worker)
            return false;
        if (!found && is_open(tt_blocks_get(b, s))) {
            *ret = s;
            found = true;
        }
    }
    return found;
}

uint32_t tt_answers_open_for(const tt_blocks *b, uint32_t row, uint16_t worker)
{
    uint32_t count = 0, slots = tt_blocks_slots(b, row);
    tt_item_ref ignored;
    for (uint32_t i = 0; i < slots && b->rows.ptr[row].open; i += b->answers->copies)
        count += tt_answers_pick_open(b, (tt_item_ref){row, i}, worker, &ignored);
    return count;
}

size_t tt_answers_first_row(tt_blocks *b, uint16_t worker)
{
    tt_answerer *w = worker_of(b->answers, worker);
    size_t first = tt_blocks_first_open(b);
    if (w->cursor < first)
        w->cursor = (uint32_t)first;
    while (w->cursor < b->rows.len && tt_answers_open_for(b, w->cursor, worker) == 0)
        w->cursor++;
    if (w->cursor > b->answers->highest_cursor)
        b->answers->highest_cursor = w->cursor;
    return w->cursor;
}

/* What a result would rather go to; lower is better. */
enum { OWN, OPEN, ENDED, TAKEN, NOWHERE };

static unsigned rank(uint8_t byte, bool is_own)
{
    tt_item_state state = tt_item_state_of(byte);
    if (state == TT_ITEM_PENDING)
        return is_own ? OWN : tt_item_is_leased(byte) ? TAKEN : OPEN;
    return state == TT_ITEM_ERROR || state == TT_ITEM_DEAD ? ENDED : NOWHERE;
}

bool tt_answers_pick_result(const tt_blocks *b, tt_item_ref first, uint16_t worker, tt_item_ref *ret)
{
    unsigned best = NOWHERE;
    tt_item_ref s = first;
    for (uint32_t i = 0; i < b->answers->copies; i++, s.index++) {
        uint8_t byte = tt_blocks_get(b, s);
        bool is_own = slot_worker(b, s) == worker;
        if (is_own && tt_item_state_of(byte) == TT_ITEM_RECEIVED)
            return false;
        unsigned r = rank(byte, is_own);
        if (r < best) {
            best = r;
            *ret = s;
        }
    }
    return best < NOWHERE;
}

bool tt_answers_pick_lease(const tt_blocks *b, tt_item_ref first, uint32_t lease_slot, tt_item_ref *ret)
{
    tt_item_ref s = first;
    for (uint32_t i = 0; i < b->answers->copies; i++, s.index++)
        if (tt_blocks_lease(b, s) == lease_slot)
            return *ret = s, true;
    return false;
}

bool tt_answers_nothing_for(const tt_blocks *b, uint16_t worker)
{
    return b->counts.of[TT_ITEM_PENDING] == worker_of(b->answers, worker)->answered;
}

tt_item_state tt_answers_closed(const tt_blocks *b, tt_item_ref at)
{
    tt_item_ref s = first_of(b, at);
    for (uint32_t i = 0; i < b->answers->copies; i++, s.index++) {
        tt_item_state state = tt_item_state_of(tt_blocks_get(b, s));
        if (state == TT_ITEM_ERROR || state == TT_ITEM_DEAD)
            return state;
    }
    return TT_ITEM_PENDING;
}

/* ---- names ---- */

/* A length in two bytes and the name, for each. */
void tt_answers_encode_names(const tt_answers *a, size_t page, tt_buf *out)
{
    for (size_t i = page * TT_ANSWERS_PAGE_NAMES; i < a->workers.len && i < (page + 1) * TT_ANSWERS_PAGE_NAMES; i++) {
        size_t len = strlen(a->workers.ptr[i].name);
        tt_buf_char(out, (char)(len & 0xFF));
        tt_buf_char(out, (char)(len >> 8));
        tt_buf_put(out, a->workers.ptr[i].name, len);
    }
}

tt_rc tt_answers_decode_names(tt_answers *a, size_t page, tt_str blob, tt_err *err)
{
    if (a->workers.len != page * TT_ANSWERS_PAGE_NAMES)
        return tt_fail(err, TT_CORRUPT, "a page with the names of workers is missing");
    while (blob.len) {
        size_t len = blob.len < 2 ? SIZE_MAX : (size_t)(uint8_t)blob.ptr[0] | (size_t)(uint8_t)blob.ptr[1] << 8;
        if (len > blob.len - (blob.len < 2 ? 0 : 2) || a->workers.len >= TT_ANSWERS_MAX_WORKERS)
            return tt_fail(err, TT_CORRUPT, "a page with the names of workers is damaged");
        tt_str name = tt_str_slice(blob, 2, 2 + len);
        if (tt_map_get(&a->numbers, name))
            return tt_fail(err, TT_CORRUPT, "a page with the names of workers has one of them twice");
        if (!add_worker(a, name))
            return tt_fail(err, TT_NOMEM, "out of memory for the names of workers");
        blob = tt_str_slice(blob, 2 + len, blob.len);
    }
    a->stored = a->workers.len;
    return TT_OK;
}

static tt_rc count_row(tt_blocks *b, uint32_t row, tt_err *err)
{
    const uint16_t *workers = b->rows.ptr[row].workers;
    for (uint32_t i = 0; workers && i < tt_blocks_slots(b, row); i++) {
        tt_item_ref at = {row, i};
        if (workers[i] > b->answers->workers.len)
            return tt_fail(err, TT_CORRUPT, "an answer is of a worker whose name is missing");
        if (workers[i] && tt_item_state_of(tt_blocks_get(b, at)) == TT_ITEM_RECEIVED && tt_answers_state(b, at) == TT_ITEM_PENDING)
            worker_of(b->answers, workers[i])->answered++;
    }
    return TT_OK;
}

tt_rc tt_answers_loaded(tt_blocks *b, tt_err *err)
{
    b->answers->loading = false;
    for (uint32_t row = 0; row < b->rows.len; row++)
        TT_TRY(count_row(b, row, err));
    return TT_OK;
}
