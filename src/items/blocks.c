#include "items/blocks.h"

enum { SPARSE_SHIFT = 6 };

void tt_blocks_deinit(tt_blocks *b)
{
    for (size_t i = 0; i < b->rows.len; i++) {
        free(b->rows.ptr[i].states);
        free(b->rows.ptr[i].lease_of);
    }
    tt_vec_deinit(&b->rows);
    tt_vec_deinit(&b->dirty);
    tt_map_deinit(&b->by_range);
    *b = (tt_blocks){.sparse = b->sparse};
}

static bool is_open(uint8_t byte) { return tt_item_state_of(byte) == TT_ITEM_PENDING && !tt_item_is_leased(byte); }

static void count_row(tt_blocks *b, tt_dir_block *row)
{
    if (!row->states) {
        b->counts.of[tt_item_state_of(row->uniform)] += row->block.count;
        row->open = is_open(row->uniform) ? row->block.count : 0;
        return;
    }
    for (uint32_t i = 0; i < row->block.count; i++) {
        b->counts.of[tt_item_state_of(row->states[i])]++;
        row->open += is_open(row->states[i]);
    }
}

bool tt_blocks_add(tt_blocks *b, const tt_block *block, bool inspected, uint8_t *states_taken, uint8_t uniform, bool dirty)
{
    tt_dir_block row = {.block = *block, .states = states_taken, .uniform = uniform, .inspected = inspected};
    if (!tt_vec_reserve(&b->rows, 1) || !tt_vec_reserve(&b->dirty, b->rows.len + 1 - b->dirty.len))
        return false;
    if (b->sparse) {
        uint64_t range = block->first_id >> SPARSE_SHIFT;
        void *number = (void *)(uintptr_t)(b->rows.len + 1);
        if (!tt_map_put(&b->by_range, (tt_str){(char *)&range, sizeof range}, number, NULL))
            return false;
    }
    count_row(b, &row);
    b->rows.ptr[b->rows.len++] = row;
    if (dirty)
        tt_blocks_mark_dirty(b, (uint32_t)(b->rows.len - 1));
    return true;
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
    *ret = (tt_item_ref){(uint32_t)row, (uint32_t)(id - b->rows.ptr[row].block.first_id)};
    return true;
}

uint8_t tt_blocks_get(const tt_blocks *b, tt_item_ref at)
{
    const tt_dir_block *row = &b->rows.ptr[at.row];
    return row->states ? row->states[at.index] : row->uniform;
}

static bool unpack(tt_dir_block *row)
{
    if (row->states)
        return true;
    row->states = tt_malloc(row->block.count);
    if (row->states)
        memset(row->states, row->uniform, row->block.count);
    return row->states != NULL;
}

void tt_blocks_mark_dirty(tt_blocks *b, uint32_t row)
{
    if (b->rows.ptr[row].dirty)
        return;
    b->rows.ptr[row].dirty = true;
    bool has_room = tt_vec_push(&b->dirty, row); /* add() reserved one place per row */
    tt_assert(has_room);
}

bool tt_blocks_set(tt_blocks *b, tt_item_ref at, uint8_t byte)
{
    tt_dir_block *row = &b->rows.ptr[at.row];
    uint8_t old = tt_blocks_get(b, at);
    if (old == byte)
        return true;
    if (!unpack(row))
        return false;
    b->counts.of[tt_item_state_of(old)]--;
    b->counts.of[tt_item_state_of(byte)]++;
    row->open += (uint32_t)is_open(byte) - (uint32_t)is_open(old);
    row->states[at.index] = byte;
    if (is_open(byte) && at.row < b->first_open)
        b->first_open = at.row;
    tt_blocks_mark_dirty(b, at.row);
    return true;
}

void tt_blocks_set_row(tt_blocks *b, uint32_t number, uint8_t byte)
{
    tt_dir_block *row = &b->rows.ptr[number];
    tt_assert(!row->states && row->in_flight == 0);
    b->counts.of[tt_item_state_of(row->uniform)] -= row->block.count;
    b->counts.of[tt_item_state_of(byte)] += row->block.count;
    row->uniform = byte;
    row->open = is_open(byte) ? row->block.count : 0;
    if (row->open && number < b->first_open)
        b->first_open = number;
    tt_blocks_mark_dirty(b, number);
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
        row->lease_of = tt_calloc(row->block.count, sizeof *row->lease_of);
    return row->lease_of && unpack(row);
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
    if (!row->states || row->open || row->in_flight)
        return;
    for (uint32_t i = 0; i < row->block.count; i++)
        if (tt_item_state_of(row->states[i]) != TT_ITEM_RECEIVED)
            return;
    row->uniform = tt_item_byte(TT_ITEM_RECEIVED, false, 0);
    free(row->states);
    row->states = NULL;
}

size_t tt_blocks_first_open(tt_blocks *b)
{
    while (b->first_open < b->rows.len && b->rows.ptr[b->first_open].open == 0)
        b->first_open++;
    return b->first_open;
}

uint64_t tt_blocks_id(const tt_blocks *b, tt_item_ref at) { return b->rows.ptr[at.row].block.first_id + at.index; }

static const char *fault_in_row(const tt_blocks *b, uint32_t number, tt_item_counts *sums)
{
    const tt_dir_block *row = &b->rows.ptr[number];
    uint32_t open = 0, in_flight = 0;
    for (uint32_t i = 0; i < row->block.count; i++) {
        tt_item_ref at = {number, i};
        uint8_t byte = tt_blocks_get(b, at);
        bool leased = tt_blocks_lease(b, at) != 0;
        if (tt_item_state_of(byte) == TT_ITEM_PENDING && tt_item_is_leased(byte) != leased)
            return "a leased bit without a lease, or the reverse";
        open += is_open(byte);
        in_flight += leased;
        sums->of[tt_item_state_of(byte)]++;
    }
    sums->in_flight += in_flight;
    if (open != row->open)
        return "a block's count of open items";
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
