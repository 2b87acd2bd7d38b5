#include "data/parquet/reader.h"

#include "data/parquet/chunk.h"
#include "data/parquet/spread.h"

enum {
    BATCH_ROWS_MAX = 65536,
    BATCH_BYTES_MAX = 64 << 20,        /* of fixed values: shortens batches of very wide ones */
    LIST_SLOTS_MAX = 16 << 20,         /* of one batch of lists */
    LIST_BYTES_MAX = 1 << 30,
    LEVELS = 4096,                     /* decoded at a time */
};

struct tt_pq_reader {
    const tt_pq_column *column;
    uint32_t column_no, batch_rows;
    bool is_at_group;     /* sought, and no error since */
    uint64_t row, rows_left; /* of the row group */
    uint64_t to_pass;     /* rows before `row` that were skipped, but stand in the page in hand (flat columns) or from there on (lists) */
    tt_pq_pages pages;
    /* The page in hand. */
    bool has_page;
    uint32_t slots_left;
    bool is_open;         /* unpacked, cursors set */
    uint64_t seen;        /* of a flat page: its values so far; of a page of lists: lists that begin in it so far */
    tt_pq_hybrid def, rep;
    tt_pq_decoder values;
    tt_pq_room validity, scratch;
    /* Lists. */
    bool gives_codes;     /* this chunk's batches are codes */
    uint8_t *defs, *reps; /* LEVELS each, of the page in hand */
    uint32_t level, level_count;
    tt_pq_room list_offsets, list_validity;
};

tt_rc tt_pq_reader_new(const tt_pq_file *f, uint32_t column, uint32_t batch_rows, tt_pq_reader **ret, tt_err *err)
{
    const tt_pq_column *c = tt_pq_column_at(f, column);
    tt_assert(batch_rows >= 1 && batch_rows <= BATCH_ROWS_MAX);
    TT_TRY(tt_pq_column_check(f, column, err));
    if (c->width && (uint64_t)batch_rows * c->width > BATCH_BYTES_MAX)
        batch_rows = BATCH_BYTES_MAX / c->width;
    tt_pq_reader *r = TT_NEW(tt_pq_reader);
    r->column = r->pages.column = r->values.column = c;
    r->pages.f = f;
    r->column_no = column;
    r->batch_rows = batch_rows;
    r->values.made_limit = LIST_BYTES_MAX;
    size_t words = (batch_rows + 63) / 64 * 8;
    bool has_room = tt_pq_room_grow(&r->validity, words, 0) && tt_pq_room_grow(&r->scratch, (size_t)batch_rows * 4, 0) &&
                    tt_pq_room_grow(&r->values.codes, (size_t)batch_rows * 4, 0) && tt_pq_room_grow(&r->values.scratch, (size_t)batch_rows * 4, 0);
    if (has_room && c->shape == TT_PQ_LIST) {
        r->defs = tt_new_bytes(LEVELS);
        r->reps = tt_new_bytes(LEVELS);
        has_room = tt_pq_room_grow(&r->list_offsets, (batch_rows + 1) * sizeof(uint32_t), 0) && tt_pq_room_grow(&r->list_validity, words, 0) &&
                   tt_pq_room_grow(&r->values.scratch, (size_t)(batch_rows > LEVELS ? batch_rows : LEVELS) * 4, 0);
    }
    if (!has_room) {
        tt_pq_reader_free(r);
        return tt_pq_nomem(err, f);
    }
    *ret = r;
    return TT_OK;
}

void tt_pq_reader_free(tt_pq_reader *r)
{
    if (!r)
        return;
    tt_pq_pages_deinit(&r->pages);
    tt_pq_decoder_deinit(&r->values);
    tt_pq_room_deinit(&r->validity);
    tt_pq_room_deinit(&r->scratch);
    tt_pq_room_deinit(&r->list_offsets);
    tt_pq_room_deinit(&r->list_validity);
    free(r->defs);
    free(r->reps);
    free(r);
}

/* A page that was never opened was passed over. */
static void leave_page(tt_pq_reader *r)
{
    r->pages.work.passed_pages += r->has_page && !r->is_open;
    r->has_page = r->is_open = false;
    r->slots_left = r->level = r->level_count = 0;
}

tt_rc tt_pq_reader_seek(tt_pq_reader *r, uint32_t row_group, tt_err *err)
{
    leave_page(r);
    r->is_at_group = false;
    r->to_pass = 0;
    r->values.row = NULL;
    TT_TRY(tt_pq_pages_seek(&r->pages, row_group, r->column_no, err));
    r->row = 0;
    r->rows_left = tt_pq_row_group_at(r->pages.f, row_group)->row_count;
    r->gives_codes = r->column->shape == TT_PQ_LIST && r->pages.chunk->is_all_dictionary;
    r->is_at_group = true;
    return TT_OK;
}

/* ---- a page ---- */

static unsigned bits_of(unsigned max) { return max ? 32u - (unsigned)__builtin_clz(max) : 0; }

/* Levels of version 1 stand before the values: with their length in front, or in the old way without. */
static const char *take_levels(tt_str *bytes, int32_t encoding, unsigned max, uint32_t slots, tt_pq_hybrid *h)
{
    const uint8_t *at = (const uint8_t *)bytes->ptr, *end = at + bytes->len, *past;
    uint32_t len;
    if (max == 0)
        return NULL;
    if (encoding == TT_PQ_E_BIT_PACKED) {
        if (!tt_pq_hybrid_init_msb(h, at, end, bits_of(max), slots, &past))
            return "its levels are longer than the page";
    } else if (encoding == TT_PQ_E_RLE) {
        if (bytes->len < 4)
            return "its levels are missing";
        memcpy(&len, at, 4);
        if (len > bytes->len - 4)
            return "its levels are longer than the page";
        past = at + 4 + len;
        tt_pq_hybrid_init(h, at + 4, past, bits_of(max));
    } else {
        return tt_pq_why_unsupported;
    }
    *bytes = (tt_str){(const char *)past, (size_t)(end - past)};
    return NULL;
}

static const char *open_levels(tt_pq_reader *r, tt_str levels, tt_str *values)
{
    const tt_pq_page_header *h = &r->pages.header;
    if (h->type == TT_PQ_P_DATA_V2) {
        const uint8_t *at = (const uint8_t *)levels.ptr;
        tt_pq_hybrid_init(&r->rep, at, at + h->rep_bytes, bits_of(r->column->max_rep));
        tt_pq_hybrid_init(&r->def, at + h->rep_bytes, at + h->rep_bytes + h->def_bytes, bits_of(r->column->max_def));
        return NULL;
    }
    const char *why = take_levels(values, h->rep_encoding, r->column->max_rep, r->slots_left, &r->rep);
    return why ? why : take_levels(values, h->def_encoding, r->column->max_def, r->slots_left, &r->def);
}

static tt_rc open_page(tt_pq_reader *r, tt_err *err)
{
    tt_str levels, values;
    if (r->is_open)
        return TT_OK;
    if (tt_pq_gives_codes(r->pages.header.encoding)) /* first, because the page's bytes may lie where the dictionary's are read to */
        TT_TRY(tt_pq_pages_dictionary(&r->pages, err));
    TT_TRY(tt_pq_pages_unpack(&r->pages, &levels, &values, err));
    const char *why = open_levels(r, levels, &values);
    const uint8_t *at = (const uint8_t *)values.ptr;
    if (!why)
        why = tt_pq_decoder_open(&r->values, r->pages.header.encoding, at, at + values.len);
    if (why)
        return tt_fail(err, tt_pq_why_code(why), "%s: column `%.*s`, row group %u, page at %llu: %s (%s, %s)",
                       r->pages.f->name, TT_STR_ARG(r->column->path), r->pages.row_group, (unsigned long long)r->pages.body_at, why,
                       tt_pq_encoding_name(r->pages.header.encoding), tt_pq_type_name(r->column->type));
    r->is_open = true;
    return TT_OK;
}

/* Codes need the dictionary. */
static tt_rc open_codes(tt_pq_reader *r, tt_err *err)
{
    if (!r->values.row->gives_codes)
        return TT_OK;
    if (!r->pages.is_dictionary_loaded)
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "it needs a dictionary, and there is none", err);
    r->values.code_width = r->pages.code_width;
    r->values.code_count = r->pages.dictionary.count;
    return TT_OK;
}

static tt_rc next_page(tt_pq_reader *r, bool is_hopping, bool *ret_found, tt_err *err)
{
    leave_page(r);
    r->pages.is_hopping = is_hopping;
    tt_rc rc = tt_pq_pages_next(&r->pages, ret_found, err);
    r->pages.is_hopping = false;
    TT_TRY(rc);
    r->has_page = *ret_found;
    r->slots_left = *ret_found ? (uint32_t)r->pages.header.value_count : 0;
    r->seen = 0;
    return TT_OK;
}

/* A page of version 2 says how many lists it has, and none goes over its end; of pyarrow before 12 it says how many slots, and one may. */
static bool counts_lists(const tt_pq_page_header *h) { return h->type == TT_PQ_P_DATA_V2 && h->row_count > 0 && h->row_count < h->value_count; }

/* After the last value of a page of which none was left out: what it says of itself is true. */
static tt_rc finish_page(tt_pq_reader *r, tt_err *err)
{
    const tt_pq_page_header *h = &r->pages.header;
    const char *why = tt_pq_decoder_finish(&r->values);
    if (!why && r->column->shape == TT_PQ_FLAT && h->type == TT_PQ_P_DATA_V2 && (uint64_t)(h->value_count - h->null_count) != r->seen)
        why = "it has more nulls than it says, or fewer";
    if (!why && r->column->shape == TT_PQ_LIST && counts_lists(h) && (uint64_t)h->row_count != r->seen)
        why = "it has more lists than it says, or fewer";
    return why ? tt_pq_pages_fail(&r->pages, tt_pq_why_code(why), why, err) : TT_OK;
}

/* ---- flat columns ---- */

/* Which of the next count slots have values: *ret_bits NULL: all of them. */
static tt_rc read_validity(tt_pq_reader *r, uint32_t count, uint32_t *ret_valid, const uint64_t **ret_bits, tt_err *err)
{
    size_t valid = count;
    bool is_all = true;
    uint64_t *bits = (uint64_t *)(void *)r->validity.at;
    if (r->column->max_def && !tt_pq_hybrid_equals(&r->def, count, r->column->max_def, (uint8_t *)r->scratch.at, bits, &valid, &is_all))
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "its definition levels are malformed or too few", err);
    *ret_valid = (uint32_t)valid;
    *ret_bits = is_all || valid == count ? NULL : bits;
    return TT_OK;
}

static void spread(tt_pq_reader *r, bool is_coded, size_t at, size_t slots, size_t values, const uint64_t *bits)
{
    tt_pq_decoder *d = &r->values;
    if (is_coded) {
        tt_pq_spread(d->codes.at + at * d->code_width, d->code_width, slots, values, bits, at);
    } else if (r->column->kind == TT_PQ_BYTES) {
        tt_pq_spread(d->start.at + at * 4, 4, slots, values, bits, at);
        tt_pq_spread(d->length.at + at * 4, 4, slots, values, bits, at);
    } else {
        tt_pq_spread(d->fixed.at + at * r->column->width, r->column->width, slots, values, bits, at);
    }
}

static void show_values(const tt_pq_reader *r, bool is_coded, tt_pq_batch *ret)
{
    const tt_pq_decoder *d = &r->values;
    ret->form = is_coded ? TT_PQ_FORM_CODES : TT_PQ_FORM_VALUES;
    if (is_coded) {
        ret->code_width = r->pages.code_width;
        ret->codes = d->codes.at;
        ret->dictionary = &r->pages.dictionary;
    } else {
        ret->values = (tt_pq_values){.fixed = d->fixed.at, .base = d->base, .start = (uint32_t *)(void *)d->start.at,
                                     .length = (uint32_t *)(void *)d->length.at};
    }
}

/* A page in hand with slots that are not passed over: those of which nothing is read are never opened. */
static tt_rc need_page(tt_pq_reader *r, tt_err *err)
{
    while (r->slots_left <= r->to_pass) {
        bool found;
        r->to_pass -= r->slots_left;
        TT_TRY(next_page(r, true, &found, err));
        if (!found)
            return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "the chunk's pages hold fewer rows than the row group", err);
    }
    return TT_OK;
}

/* Of the page in hand, which is open. */
static tt_rc pass_slots(tt_pq_reader *r, tt_err *err)
{
    while (r->to_pass) {
        uint32_t n = r->to_pass < r->batch_rows ? (uint32_t)r->to_pass : r->batch_rows, valid = 0;
        const uint64_t *bits = NULL;
        TT_TRY(read_validity(r, n, &valid, &bits, err));
        tt_buf_clear(&r->values.made);
        const char *why = tt_pq_decoder_skip(&r->values, valid);
        if (why)
            return tt_pq_pages_fail(&r->pages, tt_pq_why_code(why), why, err);
        r->slots_left -= n;
        r->seen += valid;
        r->to_pass -= n;
    }
    return TT_OK;
}

static tt_rc next_flat(tt_pq_reader *r, uint32_t rows, tt_pq_batch *ret, tt_err *err)
{
    uint32_t valid = 0;
    const uint64_t *bits = NULL;
    TT_TRY(open_page(r, err));
    TT_TRY(open_codes(r, err));
    TT_TRY(pass_slots(r, err));
    bool is_coded = r->values.row->gives_codes;
    TT_TRY(read_validity(r, rows, &valid, &bits, err));
    if (!is_coded && !tt_pq_decoder_reserve(&r->values, 0, rows))
        return tt_pq_nomem(err, r->pages.f);
    tt_buf_clear(&r->values.made);
    const char *why = tt_pq_decoder_read(&r->values, 0, valid);
    if (why)
        return tt_pq_pages_fail(&r->pages, tt_pq_why_code(why), why, err);
    if (bits)
        spread(r, is_coded, 0, rows, valid, bits);
    ret->value_count = rows;
    ret->null_count = rows - valid;
    ret->validity = bits;
    show_values(r, is_coded, ret);
    r->slots_left -= rows;
    r->seen += valid;
    return r->slots_left ? TT_OK : finish_page(r, err);
}

/* ---- lists ---- */

/* The next levels of the page in hand, or of the next page. *ret_found false: the chunk is at its end. */
static tt_rc need_levels(tt_pq_reader *r, bool *ret_found, tt_err *err)
{
    *ret_found = true;
    if (r->level < r->level_count)
        return TT_OK;
    if (r->slots_left == 0)
        TT_TRY(next_page(r, false, ret_found, err));
    if (!*ret_found)
        return TT_OK;
    TT_TRY(open_page(r, err));
    uint32_t n = r->slots_left < LEVELS ? r->slots_left : LEVELS;
    const tt_pq_column *c = r->column;
    if (c->max_def > UINT8_MAX || !tt_pq_hybrid_read(&r->rep, n, 1, r->reps) || !tt_pq_hybrid_read(&r->def, n, 1, r->defs))
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "its levels are malformed or too few", err);
    if (r->seen == 0 && r->reps[0] && counts_lists(&r->pages.header))
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "its first list begins in the middle", err);
    uint8_t bad = 0, max_def = (uint8_t)c->max_def, list_def = (uint8_t)c->list_def;
    uint32_t begun = 0;
    for (uint32_t i = 0; i < n; i++) {
        bad |= (uint8_t)((r->reps[i] > 1) | (r->defs[i] > max_def) | ((r->reps[i] != 0) & (r->defs[i] < list_def)));
        begun += r->reps[i] == 0;
    }
    if (bad)
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "its levels contradict each other", err);
    r->seen += begun;
    r->slots_left -= n;
    r->level = 0;
    r->level_count = n;
    return TT_OK;
}

/* Values are copied out of the page, because a list may go on in the next one. */
static const char *own_bytes(tt_pq_decoder *d, const tt_pq_values *from, size_t at, size_t count)
{
    uint32_t *start = (uint32_t *)(void *)d->start.at + at, *length = (uint32_t *)(void *)d->length.at + at;
    for (size_t i = 0; i < count; i++) {
        if (length[i] > d->made_limit - d->made.len)
            return tt_pq_why_too_large;
        uint32_t to = (uint32_t)d->made.len;
        tt_buf_put(&d->made, from->base + start[i], length[i]);
        start[i] = to;
    }
    return d->made.failed ? tt_pq_why_nomem : NULL;
}

/* Codes of this page as values of the dictionary. */
static void decode_codes(tt_pq_reader *r, size_t at, size_t count)
{
    tt_pq_decoder *d = &r->values;
    const tt_pq_values *from = &r->pages.dictionary.values;
    tt_pq_batch b = {.code_width = d->code_width, .codes = d->codes.at};
    for (size_t i = 0; i < count; i++) {
        uint32_t code = tt_pq_code(&b, (uint32_t)i);
        if (r->column->kind == TT_PQ_BYTES) {
            ((uint32_t *)(void *)d->start.at)[at + i] = from->start[code];
            ((uint32_t *)(void *)d->length.at)[at + i] = from->length[code];
        } else {
            memcpy(d->fixed.at + (at + i) * r->column->width, (const char *)from->fixed + (size_t)code * r->column->width, r->column->width);
        }
    }
}

static tt_rc read_list_values(tt_pq_reader *r, size_t at, size_t slots, size_t values, tt_err *err)
{
    tt_pq_decoder *d = &r->values;
    TT_TRY(open_codes(r, err));
    bool is_coded = d->row->gives_codes;
    if (r->gives_codes && !is_coded)
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "the footer says that all pages use the dictionary, and this one does not", err);
    if (at + slots > LIST_SLOTS_MAX || (r->column->width && (at + slots) * r->column->width > LIST_BYTES_MAX))
        return tt_fail(err, TT_TOO_LARGE, "%s: column `%.*s`: a batch of lists has more than %d elements: ask for fewer rows", r->pages.f->name,
                       TT_STR_ARG(r->column->path), LIST_SLOTS_MAX);
    size_t code_from = r->gives_codes ? at : 0;
    if (!(is_coded ? tt_pq_room_grow(&d->codes, (code_from + slots) * 4, code_from * d->code_width) : true) ||
        !(r->gives_codes ? true : tt_pq_decoder_reserve(d, at, slots)))
        return tt_pq_nomem(err, r->pages.f);
    const char *why = tt_pq_decoder_read(d, is_coded ? code_from : at, values);
    if (!why && is_coded && !r->gives_codes)
        decode_codes(r, at, values);
    if (!why && !r->gives_codes && r->column->kind == TT_PQ_BYTES && !d->row->makes_bytes)
        why = own_bytes(d, is_coded ? &r->pages.dictionary.values : &(tt_pq_values){.base = d->base}, at, values);
    return why ? tt_pq_pages_fail(&r->pages, tt_pq_why_code(why), why, err) : TT_OK;
}

typedef struct {
    uint32_t rows, max_rows; /* begun */
    size_t slots, valid;
    bool has_null_list;
} list_state;

/* Walks over levels in hand until the row behind max_rows begins. Fills offsets and validities. */
static void walk_levels(tt_pq_reader *r, list_state *s, size_t *ret_slots, size_t *ret_valid)
{
    uint32_t *offsets = (uint32_t *)(void *)r->list_offsets.at;
    uint64_t *lists = (uint64_t *)(void *)r->list_validity.at, *bits = (uint64_t *)(void *)r->validity.at;
    const tt_pq_column *c = r->column;
    size_t slots = s->slots, valid = 0;
    for (; r->level < r->level_count; r->level++) {
        uint8_t def = r->defs[r->level];
        if (r->reps[r->level] == 0) {
            if (s->rows == s->max_rows)
                break;
            offsets[s->rows] = (uint32_t)slots;
            bool is_null = def + 1 < c->list_def;
            s->has_null_list |= is_null;
            if (s->rows % 64 == 0)
                lists[s->rows / 64] = 0;
            lists[s->rows / 64] |= (uint64_t)!is_null << (s->rows % 64);
            s->rows++;
        }
        if (def < c->list_def)
            continue;
        if (slots % 64 == 0)
            bits[slots / 64] = 0;
        bits[slots / 64] |= (uint64_t)(def == c->max_def) << (slots % 64);
        valid += def == c->max_def;
        slots++;
    }
    *ret_slots = slots - s->slots;
    *ret_valid = valid;
}

/* At least the rows that are asked for, to their end; with is_skipping without values. */
static tt_rc walk_lists(tt_pq_reader *r, list_state *s, bool is_skipping, tt_err *err)
{
    for (bool found; s->rows <= s->max_rows;) {
        size_t slots, valid;
        TT_TRY(need_levels(r, &found, err));
        if (!found)
            break;
        if (s->rows == 0 && r->reps[r->level] != 0)
            return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "its first list begins in the middle", err);
        if (s->rows == s->max_rows && r->reps[r->level] == 0)
            break;
        size_t words = (s->slots + LEVELS + 64) / 64;
        if (!tt_pq_room_grow(&r->validity, words * 8, (s->slots + 63) / 64 * 8))
            return tt_pq_nomem(err, r->pages.f);
        walk_levels(r, s, &slots, &valid);
        if (is_skipping) {
            const char *why = tt_pq_decoder_skip(&r->values, valid);
            if (why)
                return tt_pq_pages_fail(&r->pages, tt_pq_why_code(why), why, err);
        } else {
            TT_TRY(read_list_values(r, s->slots, slots, valid, err));
            if (valid < slots)
                spread(r, r->gives_codes, s->slots, slots, valid, (uint64_t *)(void *)r->validity.at);
            s->slots += slots;
            s->valid += valid;
        }
        if (r->level == r->level_count && r->slots_left == 0)
            TT_TRY(finish_page(r, err));
    }
    if (s->rows < s->max_rows)
        return tt_pq_pages_fail(&r->pages, TT_CORRUPT, "the chunk's pages hold fewer rows than the row group", err);
    return TT_OK;
}

/* Behind the last row of the row group there is nothing. */
static tt_rc finish_lists(tt_pq_reader *r, uint64_t rows, tt_err *err)
{
    bool is_left = r->level < r->level_count || r->slots_left || r->pages.slots_left;
    return rows == r->rows_left && is_left ? tt_pq_pages_fail(&r->pages, TT_CORRUPT, "the chunk's pages hold more rows than the row group", err) : TT_OK;
}

static tt_rc pass_lists(tt_pq_reader *r, tt_err *err)
{
    while (r->to_pass) {
        if (r->level == r->level_count && r->slots_left == 0) {
            bool found;
            TT_TRY(next_page(r, r->to_pass > r->batch_rows, &found, err));
            const tt_pq_page_header *h = &r->pages.header;
            if (found && counts_lists(h) && (uint64_t)h->row_count <= r->to_pass) {
                r->to_pass -= (uint64_t)h->row_count;
                r->slots_left = 0;
                continue;
            }
        }
        list_state s = {.max_rows = r->to_pass < r->batch_rows ? (uint32_t)r->to_pass : r->batch_rows};
        tt_buf_clear(&r->values.made);
        TT_TRY(walk_lists(r, &s, true, err));
        r->to_pass -= s.max_rows;
    }
    return TT_OK;
}

static tt_rc next_lists(tt_pq_reader *r, uint32_t rows, tt_pq_batch *ret, tt_err *err)
{
    list_state s = {.max_rows = rows};
    TT_TRY(pass_lists(r, err));
    tt_buf_clear(&r->values.made);
    TT_TRY(walk_lists(r, &s, false, err));
    TT_TRY(finish_lists(r, rows, err));
    ((uint32_t *)(void *)r->list_offsets.at)[rows] = (uint32_t)s.slots;
    ret->value_count = (uint32_t)s.slots;
    ret->null_count = (uint32_t)(s.slots - s.valid);
    ret->validity = s.valid < s.slots ? (uint64_t *)(void *)r->validity.at : NULL;
    ret->list_offsets = (uint32_t *)(void *)r->list_offsets.at;
    ret->list_validity = s.has_null_list ? (uint64_t *)(void *)r->list_validity.at : NULL;
    show_values(r, r->gives_codes, ret);
    if (!r->gives_codes)
        ret->values.base = tt_buf_cstr(&r->values.made);
    return TT_OK;
}

/* ---- both ---- */

static tt_rc end_if_bad(tt_pq_reader *r, tt_rc rc)
{
    if (rc != TT_OK)
        r->is_at_group = false;
    return rc;
}

/* So many lists as the footer says they are long come to half of what a batch may hold; one at least. */
static uint64_t lists_that_fit(const tt_pq_reader *r)
{
    uint64_t rows = tt_pq_row_group_at(r->pages.f, r->pages.row_group)->row_count, slots = r->pages.chunk->value_count / rows + 1;
    if (slots > LIST_SLOTS_MAX)
        return 1;
    uint64_t bytes = r->column->width ? slots * r->column->width : r->pages.chunk->unpacked_bytes / rows + 1;
    uint64_t fit = LIST_SLOTS_MAX / 2 / slots, fit_bytes = LIST_BYTES_MAX / 2 / bytes;
    fit = fit < fit_bytes ? fit : fit_bytes;
    return fit ? fit : 1;
}

tt_rc tt_pq_reader_ready(tt_pq_reader *r, uint32_t max_rows, uint32_t *ret_rows, tt_err *err)
{
    tt_assert(r->is_at_group);
    uint64_t rows = max_rows < r->batch_rows ? max_rows : r->batch_rows;
    rows = rows < r->rows_left ? rows : r->rows_left;
    if (rows && r->column->shape == TT_PQ_LIST) {
        uint64_t fit = lists_that_fit(r);
        rows = rows < fit ? rows : fit;
    }
    if (rows && r->column->shape == TT_PQ_FLAT) {
        TT_TRY(end_if_bad(r, need_page(r, err)));
        uint64_t left = r->slots_left - r->to_pass;
        rows = rows < left ? rows : left;
    }
    *ret_rows = (uint32_t)rows;
    return TT_OK;
}

tt_rc tt_pq_reader_next(tt_pq_reader *r, uint32_t max_rows, tt_pq_batch *ret, tt_err *err)
{
    uint32_t rows;
    *ret = (tt_pq_batch){.first_row = r->row};
    TT_TRY(tt_pq_reader_ready(r, max_rows, &rows, err));
    if (rows == 0)
        return TT_OK;
    TT_TRY(end_if_bad(r, r->column->shape == TT_PQ_FLAT ? next_flat(r, rows, ret, err) : next_lists(r, rows, ret, err)));
    ret->row_count = rows;
    r->row += rows;
    r->rows_left -= rows;
    return TT_OK;
}

tt_rc tt_pq_reader_skip(tt_pq_reader *r, uint64_t rows, tt_err *err)
{
    tt_assert(r->is_at_group);
    if (rows > r->rows_left)
        return tt_fail(err, TT_INVALID, "%s: column `%.*s`: cannot skip %llu rows: %llu are left", r->pages.f->name, TT_STR_ARG(r->column->path),
                       (unsigned long long)rows, (unsigned long long)r->rows_left);
    r->to_pass += rows;
    r->row += rows;
    r->rows_left -= rows;
    return TT_OK;
}

tt_rc tt_pq_reader_dictionary(tt_pq_reader *r, const tt_pq_dictionary **ret, bool *ret_is_complete, tt_err *err)
{
    tt_assert(r->is_at_group);
    if (r->rows_left && !r->pages.has_data_page) {
        if (r->column->shape == TT_PQ_FLAT) {
            TT_TRY(end_if_bad(r, need_page(r, err)));
        } else {
            bool found;
            TT_TRY(end_if_bad(r, next_page(r, false, &found, err)));
        }
    }
    TT_TRY(end_if_bad(r, tt_pq_pages_dictionary(&r->pages, err)));
    *ret = r->pages.is_dictionary_loaded ? &r->pages.dictionary : NULL;
    if (ret_is_complete)
        *ret_is_complete = *ret && r->pages.chunk->is_all_dictionary;
    return TT_OK;
}

bool tt_pq_reader_page(const tt_pq_reader *r, tt_pq_page *ret)
{
    const tt_pq_page_header *h = &r->pages.header;
    if (!r->has_page || r->column->shape != TT_PQ_FLAT)
        return false;
    *ret = (tt_pq_page){.offset = r->pages.body_at - h->header_bytes, .length_bytes = h->header_bytes + (uint32_t)h->packed_bytes,
                        .first_row = r->pages.chunk->value_count - r->pages.slots_left - (uint64_t)h->value_count, .row_count = (uint64_t)h->value_count};
    return true;
}

tt_pq_work tt_pq_reader_work(const tt_pq_reader *r) { return r->pages.work; }
