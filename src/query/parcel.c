#include "query/parcel.h"

#include <sodium.h>

#include "data/parquet/codec.h"

static json_t *to_text(tt_str packed)
{
    size_t size = sodium_base64_encoded_len(packed.len, sodium_base64_VARIANT_ORIGINAL);
    TT_BUF_AUTO tt_buf text = {0};
    if (!tt_buf_reserve(&text, size))
        return NULL;
    sodium_bin2base64(text.ptr, size, (const unsigned char *)packed.ptr, packed.len, sodium_base64_VARIANT_ORIGINAL);
    return json_stringn_nocheck(text.ptr, size - 1);
}

json_t *tt_parcel_pack(tt_str bytes)
{
    TT_BUF_AUTO tt_buf packed = {0};
    tt_pq_codec_state state = {0};
    bool ok = bytes.len == 0 || tt_pq_pack(TT_PQ_C_ZSTD, &state, bytes, &packed);
    tt_pq_codec_deinit(&state);
    json_t *text = ok ? to_text(tt_buf_view(&packed)) : NULL;
    return text ? json_pack("[I,o]", (json_int_t)bytes.len, text) : NULL;
}

tt_rc tt_parcel_open(const json_t *parcel, size_t most_bytes, tt_buf *out, tt_err *err)
{
    const json_t *count = json_array_get(parcel, 0), *text = json_array_get(parcel, 1);
    size_t text_len = json_string_length(text), packed_len = 0, bytes = (size_t)json_integer_value(count);
    TT_BUF_AUTO tt_buf packed = {0};
    tt_pq_codec_state state = {0};
    tt_buf_clear(out);
    if (!json_is_integer(count) || json_integer_value(count) < 0 || bytes > most_bytes || !json_is_string(text))
        return tt_fail(err, TT_CORRUPT, "a part's result holds a damaged parcel: were worker and server of the same version?");
    if (bytes == 0)
        return TT_OK;
    if (!tt_buf_reserve(&packed, text_len + 1))
        return tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
    if (sodium_base642bin((unsigned char *)packed.ptr, text_len + 1, json_string_value(text), text_len, NULL, &packed_len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        tt_pq_unpack_check(TT_PQ_C_ZSTD, packed_len, bytes))
        return tt_fail(err, TT_CORRUPT, "a part's result holds a damaged parcel");
    if (!tt_buf_reserve(out, bytes + TT_PQ_SLACK))
        return tt_fail(err, TT_NOMEM, "out of memory for the result of a part");
    const char *why = tt_pq_unpack(TT_PQ_C_ZSTD, &state, (tt_str){packed.ptr, packed_len}, out->ptr, bytes);
    tt_pq_codec_deinit(&state);
    if (why)
        return tt_fail(err, TT_CORRUPT, "a part's result holds a damaged parcel: %s", why);
    out->len = bytes;
    return TT_OK;
}
