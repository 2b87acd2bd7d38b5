#include "work/rq_text.h"

#include <sodium.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { MOST_MEMBERS = 64, MOST_MEMBER_BYTES = 2000 };

void tt_rq_plain_text(tt_buf *out, tt_str text, size_t most)
{
    if (!tt_utf8_valid(text.ptr, text.len)) {
        tt_buf_cstr_put(out, "(bytes that are no text)");
        return;
    }
    text = tt_utf8_slice(text, most);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '<')
            tt_buf_cstr_put(out, "\xE2\x80\xB9");
        else if (c == '>')
            tt_buf_cstr_put(out, "\xE2\x80\xBA");
        else if (c >= ' ' || c == '\n' || c == '\t')
            tt_buf_char(out, (char)c);
    }
}

/* ---- pickles ---- */

static void put_unicode(tt_buf *out, tt_str text)
{
    uint32_t len = (uint32_t)text.len;
    tt_buf_char(out, 'X');
    for (int i = 0; i < 4; i++)
        tt_buf_char(out, (char)(len >> (8 * i) & 0xFF));
    tt_buf_str(out, text);
}

void tt_rq_pickle_call(tt_buf *out, tt_str name)
{
    tt_buf_put(out, "\x80\x02(", 3);
    put_unicode(out, name);
    tt_buf_cstr_put(out, "N)}t."); /* None, an empty tuple, an empty dict; all of them as a tuple */
}

void tt_rq_pickle_text(tt_buf *out, tt_str text)
{
    tt_buf_put(out, "\x80\x02", 2);
    put_unicode(out, text);
    tt_buf_char(out, '.');
}

static void put_plain(tt_buf *out, tt_str text)
{
    TT_BUF_AUTO tt_buf plain = {0};
    tt_rq_plain_text(&plain, text, MOST_MEMBER_BYTES);
    put_unicode(out, tt_buf_view(&plain));
}

static void put_value(tt_buf *out, const json_t *value)
{
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    put_plain(out, json_is_string(value) ? (tt_str){json_string_value(value), json_string_length(value)} : tt_str_of(text));
    free(text);
}

void tt_rq_pickle_dict(tt_buf *out, const json_t *object)
{
    const char *name;
    const json_t *value;
    size_t count = 0;
    tt_buf_put(out, "\x80\x02}(", 4);
    json_object_foreach((json_t *)object, name, value) {
        if (count++ == MOST_MEMBERS)
            break;
        put_plain(out, tt_str_of(name));
        put_value(out, value);
    }
    tt_buf_cstr_put(out, "u.");
}

/* ---- the rest ---- */

void tt_rq_time(tt_buf *out, int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    if (wall_ms)
        tt_buf_cstr_put(out, tt_time_text(wall_ms, text));
}

void tt_rq_seconds(tt_buf *out, int64_t wall_ms) { tt_buf_printf(out, "%lld.%03d", (long long)(wall_ms / 1000), (int)(wall_ms % 1000)); }

void tt_rq_base64(tt_buf *out, tt_str bytes)
{
    size_t size = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    if (!tt_buf_reserve(out, size))
        return;
    sodium_bin2base64(out->ptr + out->len, size, (const unsigned char *)bytes.ptr, bytes.len, sodium_base64_VARIANT_ORIGINAL);
    out->len += size - 1;
}

void tt_rq_zip_base64(tt_buf *out, tt_str bytes)
{
    TT_BUF_AUTO tt_buf packed = {0};
    uLongf size = compressBound(bytes.len);
    if (tt_buf_reserve(&packed, size) && compress2((Bytef *)packed.ptr, &size, (const Bytef *)bytes.ptr, bytes.len, Z_BEST_SPEED) == Z_OK)
        packed.len = size;
    tt_rq_base64(out, tt_buf_view(&packed));
}
