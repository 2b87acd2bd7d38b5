/* Line ends in bytes: LF, CR LF (one end) and a CR alone. Counting many of them is what planning a JSONL file costs, so it
 * goes by 64 bytes at a time where the processor can. Pure functions; any thread. */
#ifndef TT_DATA_LINES_H
#define TT_DATA_LINES_H

#include "base/err.h"

/* Count the line ends from p on, at most limit (> 0) of them; *ret_past: the byte behind the last one counted, p when there is none.
 * A CR as the very last byte counts only when the input ends there (`last`): else its LF may still come. */
size_t tt_lines_count(const char *p, const char *end, bool last, size_t limit, const char **ret_past);
/* The plain twin, for tests. */
size_t tt_lines_count_scalar(const char *p, const char *end, bool last, size_t limit, const char **ret_past);

/* The first CR or LF from p on, or end. */
const char *tt_line_end(const char *p, const char *end);
/* at: a CR or LF. The byte behind this line end. */
static inline const char *tt_line_past(const char *at, const char *end)
{
    return at + 1 + (*at == '\r' && end - at > 1 && at[1] == '\n');
}

#endif
