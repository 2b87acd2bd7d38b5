/* Text of other encodings, in pieces. Properties: however input and room are cut, the outcome is that of one piece; what comes out is UTF-8, and without fault it is what
 * iconv makes of the whole. The first byte chooses the encoding, the second the sizes of the pieces. */
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "io/recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

typedef struct {
    tt_rc rc;
    size_t len;
    char *out;
} outcome;

static void recode(const char *name, const uint8_t *data, size_t size, size_t in_step, size_t out_step, outcome *ret)
{
    void *state = tt_recode_start(name, NULL);
    tt_unpack_io io = {0};
    size_t given = 0;
    tt_assert(state);
    ret->rc = TT_OK;
    ret->len = 0;
    for (int idle = 0; ret->rc == TT_OK && idle < 2;) {
        size_t more = io.in_len || given == size ? 0 : in_step < size - given ? in_step : size - given;
        if (more) {
            io.in = data + given;
            io.in_len = more;
            given += more;
        }
        size_t before = io.in_len, room = out_step < OUT_MAX - ret->len ? out_step : OUT_MAX - ret->len;
        tt_assert(room); /* OUT_MAX is more than any input becomes */
        io.out = (unsigned char *)ret->out + ret->len;
        io.out_len = room;
        ret->rc = tt_recode_step(state, &io);
        ret->len += room - io.out_len;
        idle = before == io.in_len && room == io.out_len && given == size ? idle + 1 : 0;
    }
    if (ret->rc == TT_OK && !io.complete)
        ret->rc = TT_UNAVAILABLE; /* cut off */
    tt_recode_stop(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"ISO-8859-1", "CP1252", "UTF-16", "UTF-16LE", "UTF-32", "SHIFT_JIS", "GB18030", "EUC-KR"};
    static char outs[2][OUT_MAX];
    if (size < 2 || size > OUT_MAX / 16)
        return 0;
    const char *name = names[data[0] % (sizeof names / sizeof *names)];
    size_t in_step = 1 + data[1] % 16, out_step = 1 + data[1] / 16;
    outcome whole = {.out = outs[0]}, pieces = {.out = outs[1]};
    recode(name, data + 2, size - 2, size, OUT_MAX, &whole);
    recode(name, data + 2, size - 2, in_step, out_step, &pieces);
    tt_assert(whole.rc == pieces.rc);
    tt_assert(whole.len == pieces.len && memcmp(whole.out, pieces.out, whole.len) == 0);
    tt_assert(tt_utf8_valid(whole.out, whole.len));
    return 0;
}
