/* Any bytes as what pandas and Arrow say about columns: whatever it is, the columns are as they were, with hints that lie in the file's memory. */
#include "data/parquet/file_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_base64(tt_buf *out, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t word = (uint32_t)data[i] << 16 | (i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0) | (i + 2 < size ? data[i + 2] : 0);
        for (int k = 3; k >= 0; k--)
            tt_buf_char(out, digits[word >> (6 * k) & 63]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TT_BUF_AUTO tt_buf base64 = {0};
    tt_pq_column columns[4] = {{.name = TT_STR("a"), .field = 0, .max_def = 1, .meaning = TT_PQ_TIMESTAMP},
                               {.name = TT_STR("s.x"), .field = 1, .max_def = 2, .meaning = TT_PQ_TIMESTAMP},
                               {.name = TT_STR("l"), .field = 2, .shape = TT_PQ_LIST, .is_list_annotated = true, .meaning = TT_PQ_TIMESTAMP},
                               {.name = TT_STR("a"), .field = 3, .meaning = TT_PQ_STRING}};
    tt_pq_element elements[1] = {{.child_count = 4}};
    put_base64(&base64, data, size);
    tt_str raw = {(const char *)data, size};
    tt_pq_key_value keys[2] = {{TT_STR("pandas"), raw}, {TT_STR("ARROW:schema"), size && data[0] % 2 ? tt_buf_view(&base64) : raw}};
    tt_pq_file f = {.arena = {.limit_bytes = 1 << 20}, .elements = elements, .element_count = 1, .columns = columns, .column_count = 4, .key_values = keys, .key_value_count = 2};
    tt_pq_hints_apply(&f);
    for (size_t i = 0; i < TT_COUNT(columns); i++) {
        tt_assert(columns[i].name.len <= 3 && columns[i].field == i);
        tt_assert(columns[i].zone.len == 0 || (columns[i].meaning == TT_PQ_TIMESTAMP && strlen(columns[i].zone.ptr) == columns[i].zone.len));
    }
    tt_arena_deinit(&f.arena);
    return 0;
}
