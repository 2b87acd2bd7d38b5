/* SQL files as programs. Input: a text. Properties: statements are parts of it, in order, and not blank; parameters are parts of their statement, in order, and look
 * like names. */
#include "work/sql_program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str rest = {(const char *)data, size}, statement, name;
    const char *before = rest.ptr;
    size_t from;
    while (tt_sql_cut(&rest, &statement)) {
        tt_assert(statement.len > 0 && statement.ptr >= before && statement.ptr + statement.len <= (const char *)data + size);
        before = statement.ptr + statement.len;
        size_t last = 0;
        for (size_t at = 0; tt_sql_param(statement, &at, &name, &from);) {
            tt_assert(from >= last && statement.ptr[from] == ':' && name.ptr == statement.ptr + from + 1 && name.len > 0 && at == from + 1 + name.len && at <= statement.len);
            last = at;
        }
    }
    return 0;
}
