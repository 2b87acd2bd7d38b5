#include "items/mirror_inner.h"

static const tt_str texts[] = {[TT_KEY_SERVED] = {"SERVED", 6}, [TT_KEY_RECEIVED] = {"RECEIVED", 8}, [TT_KEY_ERROR] = {"ERROR", 5}};

uint8_t tt_key_of_state(uint8_t byte, bool is_reading)
{
    static const uint8_t keys[] = {[TT_ITEM_PENDING] = TT_KEY_ABSENT, [TT_ITEM_RECEIVED] = TT_KEY_RECEIVED, [TT_ITEM_ERROR] = TT_KEY_ERROR,
                                   [TT_ITEM_DEAD] = TT_KEY_ERROR, [TT_ITEM_HOLE] = TT_KEY_ABSENT, [TT_ITEM_HELD] = TT_KEY_ABSENT};
    tt_item_state state = tt_item_state_of(byte);
    if (state == TT_ITEM_PENDING && tt_item_is_leased(byte))
        return TT_KEY_SERVED;
    return is_reading && state == TT_ITEM_RECEIVED ? TT_KEY_SERVED : keys[state];
}

uint8_t tt_key_of_slots(const tt_blocks *b, tt_item_ref first)
{
    uint32_t copies = tt_blocks_copies(b), of[TT_KEY_OTHER] = {0};
    tt_item_ref at = first;
    for (uint32_t i = 0; i < copies; i++, at.index++)
        of[tt_blocks_lease(b, at) ? TT_KEY_SERVED : tt_key_of_state(tt_blocks_get(b, at), false)]++; /* a result keeps its lease until it is committed */
    if (of[TT_KEY_RECEIVED] == copies)
        return TT_KEY_RECEIVED;
    if (of[TT_KEY_SERVED] || (of[TT_KEY_RECEIVED] && of[TT_KEY_ABSENT]))
        return TT_KEY_SERVED;
    return of[TT_KEY_ABSENT] ? TT_KEY_ABSENT : TT_KEY_ERROR;
}

tt_str tt_key_text(uint8_t key)
{
    tt_assert(key > TT_KEY_ABSENT && key < TT_KEY_OTHER);
    return texts[key];
}

uint8_t tt_key_of_text(tt_str text)
{
    for (uint8_t key = TT_KEY_SERVED; key < TT_KEY_OTHER; key++)
        if (tt_str_eq(text, texts[key]))
            return key;
    return TT_KEY_OTHER;
}

tt_str tt_mirror_item_key(tt_mirror *m, const char *name, uint64_t id)
{
    char digits[20];
    tt_buf_clear(&m->key);
    tt_buf_cstr_put(&m->key, name);
    tt_buf_char(&m->key, ':');
    tt_buf_put(&m->key, digits, tt_u64_digits(id, digits));
    return tt_buf_view(&m->key);
}

tt_str tt_mirror_name_key(tt_mirror *m, const char *prefix, const char *name)
{
    tt_buf_clear(&m->key);
    tt_buf_cstr_put(&m->key, prefix);
    tt_buf_cstr_put(&m->key, name);
    return tt_buf_view(&m->key);
}

bool tt_item_key_split(tt_str key, tt_str *ret_name, uint64_t *ret_id)
{
    size_t end = key.len;
    while (end > 0 && key.ptr[end - 1] >= '0' && key.ptr[end - 1] <= '9')
        end--;
    tt_str digits = tt_str_slice(key, end, key.len);
    if (end > 0 && key.ptr[end - 1] == ' ')
        end--;
    if (digits.len == 0 || end < 2 || key.ptr[end - 1] != ':' || tt_parse_u64(digits, ret_id, NULL) != TT_OK)
        return false;
    *ret_name = tt_str_slice(key, 0, end - 1);
    return true;
}

/* Python writes the digits of \u escapes in lower case. */
static void lower_escapes(char *text)
{
    for (char *c = text; *c; c++) {
        if (*c != '\\')
            continue;
        c++;
        for (int i = 1; *c == 'u' && i <= 4; i++)
            c[i] = (char)tolower((unsigned char)c[i]);
    }
}

char *tt_mirror_record_text(const tt_definition *d, const char *reader_kind, const char *writer_kind)
{
    json_t *metadata = json_loads(d->metadata, JSON_ALLOW_NUL, NULL);
    json_t *record = json_pack("{s:o,s:s,s:s,s:s}", "metadata", metadata ? metadata : json_object(), "reader_name", reader_kind, "writer_name", writer_kind,
                               "mode", tt_job_mode_name(d->mode));
    char *text = record ? json_dumps(record, JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15)) : NULL;
    tt_assert(text); /* every text in it came through jansson or is ours */
    lower_escapes(text);
    json_decref(record);
    return text;
}
