#include "items/state.h"

const char *tt_item_state_name(tt_item_state state)
{
    static const char *const names[] = {"pending", "received", "error", "dead", "hole", "held"};
    tt_assert(state < TT_ITEM_STATE_COUNT);
    return names[state];
}

/* Page: version byte, flags byte, five varints (LEB128) of the block, then runs of (length varint, state byte). With answers: their number per item
 * as a sixth varint, and behind the runs of states those of workers (length varint, number varint). */
enum { PAGE_VERSION = 1, FLAG_INSPECTED = 1, FLAG_ANSWERS = 2 };

static void put_varint(tt_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        tt_buf_char(out, (char)(v | 0x80));
    tt_buf_char(out, (char)v);
}

static bool take_varint(tt_str *rest, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && rest->len; shift += 7) {
        uint8_t byte = (uint8_t)rest->ptr[0];
        *rest = tt_str_slice(*rest, 1, rest->len);
        *ret |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* How a byte is kept: what no longer matters is dropped, so that finished pages shrink to one run. */
static uint8_t kept(uint8_t byte)
{
    tt_item_state state = tt_item_state_of(byte);
    if (state == TT_ITEM_RECEIVED || state == TT_ITEM_HOLE)
        return (uint8_t)state;
    if (state == TT_ITEM_HELD)
        return tt_item_byte(TT_ITEM_PENDING, false, tt_item_attempts(byte));
    return byte;
}

static size_t run_length(const uint8_t *states, size_t from, size_t count)
{
    uint64_t pattern = 0x0101010101010101ull * states[from], word;
    size_t at = from + 1;
    while (at + 8 <= count && (memcpy(&word, states + at, 8), word == pattern))
        at += 8;
    while (at < count && states[at] == states[from])
        at++;
    return at - from;
}

static void put_block(const tt_block *block, int flags, tt_buf *out)
{
    tt_buf_char(out, PAGE_VERSION);
    tt_buf_char(out, (char)flags);
    put_varint(out, block->first_id);
    put_varint(out, block->count);
    put_varint(out, block->file_no);
    put_varint(out, block->offset);
    put_varint(out, block->length_bytes);
}

static void put_states(const uint8_t *states, uint8_t uniform, size_t count, tt_buf *out)
{
    if (!states) {
        put_varint(out, count);
        tt_buf_char(out, (char)kept(uniform));
        return;
    }
    for (size_t at = 0, n; at < count; at += n) {
        n = run_length(states, at, count);
        uint8_t byte = kept(states[at]);
        while (at + n < count && kept(states[at + n]) == byte)
            n += run_length(states, at + n, count);
        put_varint(out, n);
        tt_buf_char(out, (char)byte);
    }
}

void tt_page_encode(const tt_block *block, bool inspected, const uint8_t *states, uint8_t uniform, tt_buf *out)
{
    put_block(block, inspected ? FLAG_INSPECTED : 0, out);
    put_states(states, uniform, block->count, out);
}

static uint16_t kept_worker(const uint8_t *states, const uint16_t *workers, size_t at)
{
    return workers && tt_item_state_of(states[at]) == TT_ITEM_RECEIVED ? workers[at] : 0;
}

void tt_page_encode_answers(const tt_block *block, uint32_t copies, bool inspected, const uint8_t *states, const uint16_t *workers, uint8_t uniform, tt_buf *out)
{
    size_t count = (size_t)block->count * copies;
    put_block(block, (inspected ? FLAG_INSPECTED : 0) | FLAG_ANSWERS, out);
    put_varint(out, copies);
    put_states(states, uniform, count, out);
    for (size_t at = 0, n; states && at < count; at += n) {
        uint16_t worker = kept_worker(states, workers, at);
        for (n = 1; at + n < count && kept_worker(states, workers, at + n) == worker;)
            n++;
        put_varint(out, n);
        put_varint(out, worker);
    }
}

static uint8_t forgiven(uint8_t byte)
{
    unsigned attempts = tt_item_attempts(byte);
    bool in_flight = tt_item_state_of(byte) == TT_ITEM_PENDING && tt_item_is_leased(byte);
    return in_flight ? tt_item_byte(TT_ITEM_PENDING, false, attempts ? attempts - 1 : 0) : byte;
}

static bool take_block(tt_str *rest, tt_block *ret)
{
    uint64_t count, file_no;
    if (!take_varint(rest, &ret->first_id) || !take_varint(rest, &count) || !take_varint(rest, &file_no) ||
        !take_varint(rest, &ret->offset) || !take_varint(rest, &ret->length_bytes))
        return false;
    if (count == 0 || count > TT_BLOCK_ITEMS || file_no > UINT32_MAX)
        return false;
    ret->count = (uint32_t)count;
    ret->file_no = (uint32_t)file_no;
    return true;
}

static bool take_states(tt_str *rest, size_t count, uint8_t *states)
{
    uint64_t n;
    for (size_t at = 0; at < count; at += n) {
        if (!take_varint(rest, &n) || n == 0 || n > count - at || rest->len == 0)
            return false;
        uint8_t byte = forgiven((uint8_t)rest->ptr[0]);
        if (tt_item_state_of(byte) >= TT_ITEM_HELD)
            return false;
        memset(states + at, byte, n);
        *rest = tt_str_slice(*rest, 1, rest->len);
    }
    return true;
}

static bool take_workers(tt_str *rest, size_t count, uint16_t *workers)
{
    uint64_t n, worker;
    for (size_t at = 0; at < count && rest->len; at += n) {
        if (!take_varint(rest, &n) || n == 0 || n > count - at || !take_varint(rest, &worker) || worker > UINT16_MAX)
            return false;
        for (size_t i = at; i < at + n; i++)
            workers[i] = (uint16_t)worker;
    }
    return true;
}

tt_rc tt_page_decode(tt_str page, tt_block *ret_block, bool *ret_inspected, uint8_t **ret_states, uint8_t *ret_uniform, tt_err *err)
{
    uint8_t states[TT_BLOCK_ITEMS];
    tt_block block = {0};
    tt_str rest = tt_str_slice(page, 2, page.len);
    if (page.len < 2 || page.ptr[0] != PAGE_VERSION || (page.ptr[1] & ~FLAG_INSPECTED))
        return tt_fail(err, TT_CORRUPT, "a page of item states has an unknown form");
    if (!take_block(&rest, &block) || !take_states(&rest, block.count, states) || rest.len)
        return tt_fail(err, TT_CORRUPT, "a page of item states is damaged");
    bool uniform = run_length(states, 0, block.count) == block.count;
    uint8_t *copy = uniform ? NULL : tt_malloc(block.count);
    if (!uniform && !copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a page of item states");
    if (copy)
        memcpy(copy, states, block.count);
    *ret_block = block;
    *ret_inspected = page.ptr[1] & FLAG_INSPECTED;
    *ret_states = copy;
    *ret_uniform = states[0];
    return TT_OK;
}

/* The arrays have room for every slot. False: it is damaged. */
static bool take_answers(tt_str rest, size_t count, uint8_t *states, uint16_t *workers)
{
    return take_states(&rest, count, states) && take_workers(&rest, count, workers) && rest.len == 0;
}

tt_rc tt_page_decode_answers(tt_str page, uint32_t copies, tt_block *ret_block, bool *ret_inspected, uint8_t **ret_states, uint16_t **ret_workers, uint8_t *ret_uniform,
                             tt_err *err)
{
    tt_block block = {0};
    uint64_t found;
    tt_str rest = tt_str_slice(page, 2, page.len);
    if (page.len < 2 || page.ptr[0] != PAGE_VERSION || (page.ptr[1] & ~FLAG_INSPECTED) != FLAG_ANSWERS)
        return tt_fail(err, TT_CORRUPT, "a page of answers has an unknown form");
    if (!take_block(&rest, &block) || !take_varint(&rest, &found) || found != copies)
        return tt_fail(err, TT_CORRUPT, "a page of answers is damaged");
    size_t count = (size_t)block.count * copies;
    uint8_t *states = tt_malloc(count);
    uint16_t *workers = tt_calloc(count, sizeof *workers);
    tt_rc rc = TT_OK;
    if (!states || !workers)
        rc = tt_fail(err, TT_NOMEM, "out of memory for a page of answers");
    else if (!take_answers(rest, count, states, workers))
        rc = tt_fail(err, TT_CORRUPT, "a page of answers is damaged");
    bool uniform = rc == TT_OK && run_length(states, 0, count) == count;
    if (rc == TT_OK) {
        *ret_block = block;
        *ret_inspected = page.ptr[1] & FLAG_INSPECTED;
        *ret_uniform = states[0];
        *ret_states = uniform ? NULL : states;
        *ret_workers = uniform ? NULL : workers;
    }
    if (rc != TT_OK || uniform) {
        free(states);
        free(workers);
    }
    return rc;
}
