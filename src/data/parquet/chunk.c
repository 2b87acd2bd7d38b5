#include "data/parquet/chunk.h"

#include <zlib.h>

enum {
    READ_AHEAD = 256 << 10,
    LOOK_AHEAD = 4 << 10,   /* while pages are skipped */
    UNCOUNTED_BYTES = 100,  /* parquet-mr to 1.2.8 left the dictionary's header out of the chunk's length */
};

void tt_pq_pages_deinit(tt_pq_pages *p)
{
    tt_pq_room_deinit(&p->window);
    tt_pq_room_deinit(&p->page);
    tt_pq_room_deinit(&p->dictionary_page);
    tt_pq_decoder_deinit(&p->dictionary_decoder);
    tt_pq_codec_deinit(&p->codec);
}

tt_rc tt_pq_pages_fail(const tt_pq_pages *p, tt_rc code, const char *why, tt_err *err)
{
    return tt_fail(err, code, "%s: row group %u, column `%.*s`, page at %llu: %s", p->f->name, p->row_group, TT_STR_ARG(p->column->path),
                   (unsigned long long)p->body_at, why);
}

static tt_rc fail_chunk(const tt_pq_pages *p, tt_rc code, const char *why, tt_err *err)
{
    return tt_fail(err, code, "%s: row group %u, column `%.*s`: %s", p->f->name, p->row_group, TT_STR_ARG(p->column->path), why);
}

tt_rc tt_pq_pages_seek(tt_pq_pages *p, uint32_t row_group, uint32_t column, tt_err *err)
{
    const tt_pq_row_group *g = tt_pq_row_group_at(p->f, row_group);
    const tt_pq_chunk *c = p->chunk = &g->chunks[column];
    p->row_group = row_group;
    p->slots_left = c->value_count;
    p->has_data_page = p->is_hopping = p->is_dictionary_loaded = false;
    p->dictionary_at = 0;
    p->dictionary = (tt_pq_dictionary){0};
    p->code_width = 0;
    p->body_at = c->start;
    if (c->is_encrypted)
        return fail_chunk(p, TT_UNSUPPORTED, "it is encrypted, which is not supported: decrypt the file first", err);
    if (c->external_path.len)
        return fail_chunk(p, TT_UNSUPPORTED, "its values lie in another file, which is not supported: read that file", err);
    if (c->codec == TT_PQ_CODECS)
        return fail_chunk(p, TT_UNSUPPORTED, "its codec is unknown", err);
    if (tt_pq_unpack_check(c->codec, 0, 0))
        return tt_fail(err, TT_UNSUPPORTED, "%s: row group %u, column `%.*s`: the codec %s is not supported: write the file with another one", p->f->name,
                       row_group, TT_STR_ARG(p->column->path), tt_pq_codec_name(c->codec));
    if (c->start > p->f->size_bytes || c->length_bytes > p->f->size_bytes - c->start)
        return fail_chunk(p, TT_CORRUPT, "it lies outside of the file", err);
    if (p->column->shape == TT_PQ_FLAT && c->value_count != g->row_count)
        return tt_fail(err, TT_CORRUPT, "%s: row group %u, column `%.*s`: it has %llu values, the row group %llu rows", p->f->name, row_group,
                       TT_STR_ARG(p->column->path), (unsigned long long)c->value_count, (unsigned long long)g->row_count);
    p->at = c->start;
    p->end = c->start + c->length_bytes;
    p->end = p->f->size_bytes - p->end > UNCOUNTED_BYTES ? p->end + UNCOUNTED_BYTES : p->f->size_bytes;
    return TT_OK;
}

/* At least len bytes at `at` (both inside of the chunk's end) in the window; more are read when they are likely to be wanted. */
static tt_rc look(tt_pq_pages *p, uint64_t at, size_t len, tt_str *ret, tt_err *err)
{
    size_t kept = 0;
    if (at >= p->window_at && at - p->window_at <= p->window_bytes)
        kept = p->window_bytes - (size_t)(at - p->window_at);
    if (kept < len) {
        uint64_t ahead = p->is_hopping ? LOOK_AHEAD : READ_AHEAD, room = p->end - at;
        size_t want = len > ahead ? len : (size_t)(ahead < room ? ahead : room);
        if (kept)
            memmove(p->window.at, p->window.at + (at - p->window_at), kept);
        p->window_bytes = 0;
        if (!tt_pq_room_grow(&p->window, want, kept))
            return tt_pq_nomem(err, p->f);
        TT_TRY(tt_pq_read_at(p->f, at + kept, p->window.at + kept, want - kept, err));
        p->window_at = at;
        p->window_bytes = want;
    }
    *ret = (tt_str){p->window.at + (at - p->window_at), p->window_bytes - (size_t)(at - p->window_at)};
    return TT_OK;
}

static tt_rc read_header(tt_pq_pages *p, tt_pq_page_header *ret, tt_err *err)
{
    for (size_t want = 64;; want *= 4) {
        tt_str bytes;
        bool is_short;
        uint64_t room = p->end - p->at;
        p->body_at = p->at;
        if (room == 0)
            return tt_pq_pages_fail(p, TT_CORRUPT, "the chunk's pages end before its values do", err);
        TT_TRY(look(p, p->at, want < room ? want : (size_t)room, &bytes, err));
        if (bytes.len > room)
            bytes.len = (size_t)room;
        const char *why = tt_pq_page_header_read(bytes, ret, &is_short);
        if (why && (!is_short || bytes.len >= room || want >= TT_PQ_PAGE_HEADER_MAX))
            return tt_pq_pages_fail(p, tt_pq_why_code(why), why, err);
        if (why)
            continue;
        p->at += ret->header_bytes;
        p->body_at = p->at;
        if ((uint64_t)ret->packed_bytes > p->end - p->at)
            return tt_pq_pages_fail(p, TT_CORRUPT, "it is longer than its chunk", err);
        p->at += (uint64_t)ret->packed_bytes;
        return TT_OK;
    }
}

tt_rc tt_pq_pages_next(tt_pq_pages *p, bool *ret_found, tt_err *err)
{
    *ret_found = false;
    while (p->slots_left) {
        tt_pq_page_header h;
        TT_TRY(read_header(p, &h, err));
        if (h.type == TT_PQ_P_DICTIONARY) {
            if (p->dictionary_at || p->has_data_page)
                return tt_pq_pages_fail(p, TT_CORRUPT, "a second dictionary, or one behind values", err);
            p->dictionary_header = h;
            p->dictionary_at = p->body_at;
            if (!p->is_hopping)
                TT_TRY(tt_pq_pages_dictionary(p, err));
        }
        if (h.type != TT_PQ_P_DATA && h.type != TT_PQ_P_DATA_V2)
            continue;
        if ((uint64_t)h.value_count > p->slots_left)
            return tt_pq_pages_fail(p, TT_CORRUPT, "it has more values than its chunk", err);
        if (h.type == TT_PQ_P_DATA_V2 && p->column->shape == TT_PQ_FLAT && h.row_count != h.value_count)
            return tt_pq_pages_fail(p, TT_CORRUPT, "it has not one value per row", err);
        p->slots_left -= (uint64_t)h.value_count;
        p->has_data_page = true;
        if (h.value_count == 0)
            continue;
        p->header = h;
        *ret_found = true;
        return TT_OK;
    }
    return TT_OK;
}

/* Without a codec the bytes stay where they are. Where nothing is packed, some writers leave nothing and some an empty frame. */
static tt_rc unpack(tt_pq_pages *p, tt_pq_codec codec, tt_str body, size_t out_len, tt_pq_room *room, tt_str *ret, tt_err *err)
{
    if (codec == TT_PQ_C_NONE && room == &p->page) {
        if (body.len != out_len)
            return tt_pq_pages_fail(p, TT_CORRUPT, "its packed and unpacked sizes differ without a codec", err);
        *ret = body;
        return TT_OK;
    }
    if (codec != TT_PQ_C_NONE && out_len == 0) {
        *ret = (tt_str){body.ptr, 0};
        return TT_OK;
    }
    const char *why = tt_pq_unpack_check(codec, body.len, out_len);
    if (why)
        return tt_pq_pages_fail(p, tt_pq_why_code(why), why, err);
    if (!tt_pq_room_grow(room, out_len, 0))
        return tt_pq_nomem(err, p->f);
    why = tt_pq_unpack(codec, &p->codec, body, room->at, out_len);
    *ret = (tt_str){room->at, out_len};
    return why ? tt_pq_pages_fail(p, tt_pq_why_code(why), why, err) : TT_OK;
}

static tt_rc read_body(tt_pq_pages *p, const tt_pq_page_header *h, uint64_t at, tt_str *ret, tt_err *err)
{
    uint64_t most = p->f->options.max_page_bytes;
    if ((uint64_t)h->unpacked_bytes > most || (uint64_t)h->packed_bytes > most)
        return tt_fail(err, TT_TOO_LARGE, "%s: row group %u, column `%.*s`: a page of %d bytes (%d packed) is over the limit of %llu", p->f->name,
                       p->row_group, TT_STR_ARG(p->column->path), h->unpacked_bytes, h->packed_bytes, (unsigned long long)most);
    TT_TRY(look(p, at, (size_t)h->packed_bytes, ret, err));
    ret->len = (size_t)h->packed_bytes;
    p->work.packed_bytes += (uint64_t)h->packed_bytes;
    p->work.unpacked_bytes += (uint64_t)h->unpacked_bytes;
    if (h->has_crc && (uint32_t)crc32(crc32(0, NULL, 0), (const unsigned char *)ret->ptr, (unsigned)ret->len) != h->crc)
        return tt_pq_pages_fail(p, TT_CORRUPT, "its checksum is wrong", err);
    return TT_OK;
}

/* parquet-cpp before 2.0 said of compressed values that they were not. */
static bool is_packed(const tt_pq_pages *p)
{
    return p->header.is_packed || tt_str_starts(p->f->created_by, TT_STR("parquet-cpp version 1."));
}

tt_rc tt_pq_pages_unpack(tt_pq_pages *p, tt_str *ret_levels, tt_str *ret_values, tt_err *err)
{
    const tt_pq_page_header *h = &p->header;
    tt_str body;
    TT_TRY(read_body(p, h, p->body_at, &body, err));
    p->work.pages++;
    size_t levels = h->type == TT_PQ_P_DATA_V2 ? (size_t)h->rep_bytes + (size_t)h->def_bytes : 0, out_len = (size_t)h->unpacked_bytes - levels;
    *ret_levels = (tt_str){body.ptr, levels};
    body = (tt_str){body.ptr + levels, body.len - levels};
    tt_pq_codec codec = h->type == TT_PQ_P_DATA_V2 && !is_packed(p) ? TT_PQ_C_NONE : p->chunk->codec;
    return unpack(p, codec, body, out_len, &p->page, ret_values, err);
}

static size_t entries_max(const tt_pq_column *c, size_t bytes)
{
    return c->kind == TT_PQ_BYTES ? bytes / 4 : c->type == TT_PQ_T_INT96 ? bytes / 12 : bytes / c->width;
}

tt_rc tt_pq_pages_dictionary(tt_pq_pages *p, tt_err *err)
{
    const tt_pq_page_header *h = &p->dictionary_header;
    tt_pq_decoder *d = &p->dictionary_decoder;
    tt_str body, values = {0};
    if (p->is_dictionary_loaded || !p->dictionary_at)
        return TT_OK;
    if (p->column->type == TT_PQ_T_BOOLEAN || (h->encoding != TT_PQ_E_PLAIN && h->encoding != TT_PQ_E_PLAIN_DICTIONARY))
        return tt_pq_pages_fail(p, TT_UNSUPPORTED, "its dictionary's encoding is not supported", err);
    TT_TRY(read_body(p, h, p->dictionary_at, &body, err));
    TT_TRY(unpack(p, p->chunk->codec, body, (size_t)h->unpacked_bytes, &p->dictionary_page, &values, err));
    d->column = p->column;
    if ((size_t)h->value_count > entries_max(p->column, values.len))
        return tt_pq_pages_fail(p, TT_CORRUPT, "its dictionary claims more entries than it has bytes", err);
    if (!tt_pq_decoder_reserve(d, 0, (size_t)h->value_count))
        return tt_pq_nomem(err, p->f);
    const uint8_t *at = (const uint8_t *)values.ptr;
    const char *why = tt_pq_decoder_open(d, TT_PQ_E_PLAIN, at, at + values.len);
    if (!why)
        why = tt_pq_decoder_read(d, 0, (size_t)h->value_count);
    if (why)
        return tt_pq_pages_fail(p, tt_pq_why_code(why), why, err);
    p->dictionary = (tt_pq_dictionary){
        .count = (uint32_t)h->value_count,
        .values = {.fixed = d->fixed.at, .base = d->base, .start = (uint32_t *)(void *)d->start.at, .length = (uint32_t *)(void *)d->length.at},
    };
    p->code_width = p->dictionary.count <= 1 << 8 ? 1 : p->dictionary.count <= 1 << 16 ? 2 : 4;
    p->is_dictionary_loaded = true;
    return TT_OK;
}
