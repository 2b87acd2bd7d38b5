#include "items/blocks.h"

#include "items/answers.h"

enum { SPARSE_SHIFT = 6 };

void tt_blocks_deinit(tt_blocks *b)
{
    for (size_t i = 0; i < b->rows.len; i++) {
        free(b->rows.ptr[i].states);
        free(b->rows.ptr[i].lease_of);
        free(b->rows.ptr[i].workers);
    }
    tt_vec_deinit(&b->rows);
    tt_vec_deinit(&b->dirty);
    tt_vec_deinit(&b->touched);
    tt_map_deinit(&b->by_range);
    tt_answers_free(b->answers);
    *b = (tt_blocks){.sparse = b->sparse};
}

static bool is_open(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte); }

static bool is_held(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_HELD; }

uint32_t tt_blocks_copies(const tt_blocks *b) { return b->answers ? b->answers->copies : 1; }
uint32_t tt_blocks_slots(const tt_blocks *b, uint32_t row) { return b->rows.ptr[row].block.count * tt_blocks_copies(b); }

/* What a row of one state adds to the sums, or takes off. */
static void count_uniform(tt_blocks *b, tt_dir_block *row, uint64_t one)
{
    tt_item_state state = tt_item_state_of(row->uniform);
    b->counts.of[state] += one * row->block.count;
    if (b->answers && state == TT_ITEM_RECEIVED)
        b->answers->received += one * row->block.count * b->answers->copies;
}

static void count_row(tt_blocks *b, uint32_t number)
{
    tt_dir_block *row = &b->rows.ptr[number];
    uint32_t slots = tt_blocks_slots(b, number);
    if (!row->states) {
        count_uniform(b, row, 1);
        row->open = is_open(row->uniform) ? slots : 0;
        return;
    }
    for (uint32_t i = 0; i < slots; i++) {
        if (!b->answers)
            b->counts.of[tt_item_state_of(row->states[i])]++;
        else if (i % b->answers->copies == 0)
            tt_answers_count(b, (tt_item_ref){number, i});
        row->open += is_open(row->states[i]);
    }
}

static bool add(tt_blocks *b, const tt_dir_block *row, bool dirty)
{
    const tt_block *block = &row->block;
    if (!tt_vec_reserve(&b->rows, 1) || !tt_vec_reserve(&b->dirty, b->rows.len + 1 - b->dirty.len) ||
        !tt_vec_reserve(&b->touched, b->rows.len + 1 - b->touched.len))
        return false;
    if (b->sparse) {
        uint64_t range = block->first_id >> SPARSE_SHIFT;
        void *number = (void *)(uintptr_t)(b->rows.len + 1);
        if (!tt_map_put(&b->by_range, (tt_str){(char *)&range, sizeof range}, number, NULL))
            return false;
    }
    b->rows.ptr[b->rows.len++] = *row;
    count_row(b, (uint32_t)(b->rows.len - 1));
    if (dirty)
        tt_blocks_mark_dirty(b, (uint32_t)(b->rows.len - 1));
    return true;
}

bool tt_blocks_add(tt_blocks *b, const tt_block *block, bool inspected, uint8_t *states_taken, uint8_t uniform, bool dirty)
{
    tt_dassert(!b->answers || !states_taken);
    return add(b, &(tt_dir_block){.block = *block, .states = states_taken, .uniform = uniform, .inspected = inspected}, dirty);
}

bool tt_blocks_add_answers(tt_blocks *b, const tt_block *block, bool inspected, uint8_t *states_taken, uint16_t *workers_taken, uint8_t uniform)
{
    tt_assert(b->answers && !states_taken == !workers_taken);
    return add(b, &(tt_dir_block){.block = *block, .states = states_taken, .workers = workers_taken, .uniform = uniform, .inspected = inspected}, false);
}

static bool contains(const tt_dir_block *row, uint64_t id)
{
    return id >= row->block.first_id && id - row->block.first_id < row->block.count;
}

static bool find_sparse(tt_blocks *b, uint64_t id, bool make, size_t *ret_row)
{
    uint64_t range = id >> SPARSE_SHIFT;
    size_t number = (size_t)(uintptr_t)tt_map_get(&b->by_range, (tt_str){(char *)&range, sizeof range});
    if (number == 0) {
        tt_block block = {.first_id = range << SPARSE_SHIFT, .count = 1 << SPARSE_SHIFT};
        if (!make || !tt_blocks_add(b, &block, true, NULL, tt_item_byte(TT_ITEM_HOLE, false, 0), true))
            return false;
        number = b->rows.len;
    }
    *ret_row = number - 1;
    return true;
}

static bool find_dense(const tt_blocks *b, uint64_t id, size_t *ret_row)
{
    size_t low = 0, high = b->rows.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->rows.ptr[middle].block.first_id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || !contains(&b->rows.ptr[low - 1], id))
        return false;
    *ret_row = low - 1;
    return true;
}

bool tt_blocks_find(tt_blocks *b, uint64_t id, bool make, size_t *hint, tt_item_ref *ret)
{
    size_t row = *hint;
    if (row >= b->rows.len || !contains(&b->rows.ptr[row], id)) {
        if (!(b->sparse ? find_sparse(b, id, make, &row) : find_dense(b, id, &row)))
            return false;
        *hint = row;
    }
    *ret = (tt_item_ref){(uint32_t)row, (uint32_t)(id - b->rows.ptr[row].block.first_id) * tt_blocks_copies(b)};
    return true;
}

uint8_t tt_blocks_get(const tt_blocks *b, tt_item_ref at)
{
    const tt_dir_block *row = &b->rows.ptr[at.row];
    return row->states ? row->states[at.index] : row->uniform;
}

static bool unpack(const tt_blocks *b, uint32_t number)
{
    tt_dir_block *row = &b->rows.ptr[number];
    uint32_t slots = tt_blocks_slots(b, number);
    if (row->states)
        return true;
    if (b->answers && !(row->workers = tt_calloc(slots, sizeof *row->workers)))
        return false;
    row->states = tt_malloc(slots);
    if (row->states) {
        memset(row->states, row->uniform, slots);
        return true;
    }
    free(row->workers);
    row->workers = NULL;
    return false;
}

void tt_blocks_mark_dirty(tt_blocks *b, uint32_t row)
{
    if (b->rows.ptr[row].dirty)
        return;
    b->rows.ptr[row].dirty = true;
    bool has_room = tt_vec_push(&b->dirty, row); /* add() reserved one place per row */
    tt_assert(has_room);
}

static bool set(tt_blocks *b, tt_item_ref at, uint8_t byte, uint16_t worker)
{
    tt_dir_block *row = &b->rows.ptr[at.row];
    uint8_t old = tt_blocks_get(b, at);
    if (old == byte && tt_blocks_worker(b, at) == worker)
        return true;
    if (!unpack(b, at.row))
        return false;
    if (b->answers) {
        tt_answers_uncount(b, at);
    } else {
        b->counts.of[tt_item_state_of(old)]--;
        b->counts.of[tt_item_state_of(byte)]++;
    }
    row->open += (uint32_t)is_open(byte) - (uint32_t)is_open(old);
    row->held += (uint32_t)is_held(byte) - (uint32_t)is_held(old);
    row->states[at.index] = byte;
    if (b->answers) {
        row->workers[at.index] = worker;
        tt_answers_count(b, at);
        if (is_open(byte))
            tt_answers_opened(b->answers, at.row);
    }
    if (is_open(byte) && at.row < b->first_open)
        b->first_open = at.row;
    tt_blocks_mark_dirty(b, at.row);
    tt_blocks_touch(b, at.row);
    return true;
}

uint16_t tt_blocks_worker(const tt_blocks *b, tt_item_ref at)
{
    const uint16_t *workers = b->rows.ptr[at.row].workers;
    return workers ? workers[at.index] : 0;
}

bool tt_blocks_set(tt_blocks *b, tt_item_ref at, uint8_t byte)
{
    bool keeps_worker = tt_item_state_of(byte) == TT_ITEM_RECEIVED || (tt_item_state_of(byte) == TT_ITEM_PENDING && tt_item_is_leased(byte));
    return set(b, at, byte, b->answers && keeps_worker ? tt_blocks_worker(b, at) : 0);
}

bool tt_blocks_set_by(tt_blocks *b, tt_item_ref at, uint8_t byte, uint16_t worker) { return set(b, at, byte, b->answers ? worker : 0); }

void tt_blocks_observe(tt_blocks *b, void (*fn)(void *arg), void *arg)
{
    b->observer = fn;
    b->observer_arg = arg;
    for (; b->touched.len; b->touched.len--)
        b->rows.ptr[b->touched.ptr[b->touched.len - 1]].touched = false;
}

void tt_blocks_touch(tt_blocks *b, uint32_t row)
{
    if (!b->observer || b->rows.ptr[row].touched)
        return;
    b->rows.ptr[row].touched = true;
    bool has_room = tt_vec_push(&b->touched, row); /* add() reserved one place per row */
    tt_assert(has_room);
    if (b->touched.len == 1)
        b->observer(b->observer_arg);
}

void tt_blocks_set_row(tt_blocks *b, uint32_t number, uint8_t byte)
{
    tt_dir_block *row = &b->rows.ptr[number];
    tt_assert(!row->states && row->in_flight == 0);
    count_uniform(b, row, (uint64_t)-1);
    row->uniform = byte;
    count_uniform(b, row, 1);
    row->open = is_open(byte) ? tt_blocks_slots(b, number) : 0;
    if (row->open && number < b->first_open)
        b->first_open = number;
    if (row->open && b->answers)
        tt_answers_opened(b->answers, number);
    tt_blocks_touch(b, number);
    tt_blocks_mark_dirty(b, number);
    tt_blocks_touch(b, number);
}

uint32_t tt_blocks_lease(const tt_blocks *b, tt_item_ref at)
{
    const tt_dir_block *row = &b->rows.ptr[at.row];
    return row->lease_of ? row->lease_of[at.index] : 0;
}

bool tt_blocks_reserve(tt_blocks *b, uint32_t number)
{
    tt_dir_block *row = &b->rows.ptr[number];
    if (!row->lease_of)
        row->lease_of = tt_calloc(tt_blocks_slots(b, number), sizeof *row->lease_of);
    return row->lease_of && unpack(b, number);
}

void tt_blocks_set_lease(tt_blocks *b, tt_item_ref at, uint32_t slot)
{
    tt_dir_block *row = &b->rows.ptr[at.row];
    uint32_t old = tt_blocks_lease(b, at);
    if (old == slot)
        return;
    tt_assert(row->lease_of);
    row->lease_of[at.index] = slot;
    uint32_t change = (uint32_t)(slot != 0) - (uint32_t)(old != 0);
    row->in_flight += change;
    b->counts.in_flight += (uint64_t)(int32_t)change;
}

void tt_blocks_pack(tt_blocks *b, uint32_t number)
{
    tt_dir_block *row = &b->rows.ptr[number];
    if (row->in_flight == 0 && row->lease_of) {
        free(row->lease_of);
        row->lease_of = NULL;
    }
    if (!row->states || row->open || row->in_flight || row->held)
        return;
    for (uint32_t i = 0; i < tt_blocks_slots(b, number); i++)
        if (tt_item_state_of(row->states[i]) != TT_ITEM_RECEIVED)
            return;
    row->uniform = tt_item_byte(TT_ITEM_RECEIVED, false, 0);
    free(row->states);
    free(row->workers);
    row->states = NULL;
    row->workers = NULL;
}

size_t tt_blocks_first_open(tt_blocks *b)
{
    while (b->first_open < b->rows.len && b->rows.ptr[b->first_open].open == 0)
        b->first_open++;
    return b->first_open;
}

uint64_t tt_blocks_id(const tt_blocks *b, tt_item_ref at) { return b->rows.ptr[at.row].block.first_id + at.index / tt_blocks_copies(b); }

static const char *fault_in_row(const tt_blocks *b, uint32_t number, tt_item_counts *sums)
{
    const tt_dir_block *row = &b->rows.ptr[number];
    uint32_t open = 0, in_flight = 0, held = 0;
    for (uint32_t i = 0; i < tt_blocks_slots(b, number); i++) {
        tt_item_ref at = {number, i};
        uint8_t byte = tt_blocks_get(b, at);
        bool leased = tt_blocks_lease(b, at) != 0;
        if (tt_item_state_of(byte) == TT_ITEM_PENDING && tt_item_is_leased(byte) != leased)
            return "a leased bit without a lease, or the reverse";
        open += is_open(byte);
        held += is_held(byte);
        in_flight += leased;
        if (i % tt_blocks_copies(b) == 0)
            sums->of[b->answers ? tt_answers_state(b, at) : tt_item_state_of(byte)]++;
    }
    sums->in_flight += in_flight;
    if (open != row->open)
        return "a block's count of open items";
    if (held != row->held)
        return "a block's count of held items";
    return in_flight != row->in_flight ? "a block's count of items in flight" : NULL;
}

bool tt_blocks_validate(const tt_blocks *b, const char **ret_reason)
{
    tt_item_counts sums = {0};
    *ret_reason = NULL;
    for (size_t i = 0; i < b->rows.len && !*ret_reason; i++) {
        *ret_reason = fault_in_row(b, (uint32_t)i, &sums);
        if (!*ret_reason && i < b->first_open && b->rows.ptr[i].open)
            *ret_reason = "an open block before the first open one";
    }
    if (!*ret_reason && memcmp(&sums, &b->counts, sizeof sums) != 0)
        *ret_reason = "the totals";
    return !*ret_reason;
}
