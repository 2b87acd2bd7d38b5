/* Unpackers on foreign bytes. Properties: however the input and the room are cut into pieces, the outcome is the same; and a
 * tt_source over a file with these bytes gives what the unpacker alone gives. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/source.h"
#include "io/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_MAX = 1 << 20 };

typedef struct {
    tt_rc rc;
    size_t len;     /* of out */
    bool full;      /* stopped at OUT_MAX */
    unsigned char out[OUT_MAX];
} outcome;

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* in_step, out_step: sizes of the pieces. */
static void unpack(const tt_unpacker *row, const uint8_t *data, size_t size, size_t in_step, size_t out_step, outcome *ret)
{
    void *state = row->start();
    tt_unpack_io io = {0};
    size_t given = 0;
    ret->rc = TT_OK;
    ret->len = 0;
    while (ret->len < OUT_MAX && ret->rc == TT_OK) {
        if (!io.in_len && given == size && io.complete)
            break;
        size_t more = io.in_len ? 0 : least(in_step, size - given);
        if (more) {
            io.in = data + given;
            io.in_len = more;
            given += more;
        }
        io.out = ret->out + ret->len;
        io.out_len = least(out_step, OUT_MAX - ret->len);
        size_t in_before = io.in_len, out_before = io.out_len;
        ret->rc = row->step(state, &io);
        tt_assert(io.in_len <= in_before && io.out_len <= out_before);
        tt_assert(ret->rc == TT_OK || io.why);
        ret->len += out_before - io.out_len;
        if (ret->rc == TT_OK && in_before == io.in_len && out_before == io.out_len && !io.complete)
            ret->rc = TT_CORRUPT;
    }
    ret->full = ret->len == OUT_MAX;
    row->stop(state);
}

static void compare(const outcome *a, const outcome *b)
{
    size_t both = least(a->len, b->len);
    tt_assert(memcmp(a->out, b->out, both) == 0);
    if (a->full || b->full)
        return;
    tt_assert(a->rc == b->rc);
    tt_assert(a->rc != TT_OK || a->len == b->len);
}

static tt_roots *roots;
static char dir[] = "/tmp/tutti-fuzz-XXXXXX", file[64];

static void clean_up(void)
{
    unlink(file);
    rmdir(dir);
}

static void start(void)
{
    if (!mkdtemp(dir))
        abort();
    snprintf(file, sizeof file, "%s/packed", dir);
    tt_str root = tt_str_of(dir);
    tt_err err;
    if (tt_roots_new(&root, 1, &roots, &err) != TT_OK)
        abort();
    atexit(clean_up);
}

static void read_source(const uint8_t *data, size_t size, size_t piece, outcome *ret)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    tt_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    tt_source *s = NULL;
    tt_err err = {0};
    tt_assert(tt_source_open(roots, TT_STR("packed"), dir, &s, &err) == TT_OK);
    ret->len = 0;
    ret->rc = TT_OK;
    for (size_t len = 0, cap; (cap = least(piece, OUT_MAX - ret->len)) > 0; ret->len += len) {
        ret->rc = tt_source_read_at(s, ret->len, ret->out + ret->len, cap, &len, &err);
        if (ret->rc != TT_OK || len < cap) {
            ret->len += ret->rc == TT_OK ? len : 0;
            break;
        }
    }
    tt_assert(ret->rc == TT_OK || strstr(err.text, "at byte"));
    uint64_t total;
    if (tt_source_size(s, &total))
        tt_assert(ret->rc == TT_OK && total >= ret->len);
    ret->full = ret->len == OUT_MAX;
    tt_source_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static outcome whole, pieces;
    static size_t turn;
    size_t count;
    if (!roots)
        start();
    if (size == 0)
        return 0;
    turn = turn * 31 + size + data[size / 2];
    const tt_unpacker *rows = tt_unpacker_rows(&count);
    for (size_t i = 0; i < count; i++) {
        unpack(&rows[i], data, size, size, OUT_MAX, &whole);
        unpack(&rows[i], data, size, turn % 7 + 1, turn % 13 + 1 + (whole.len >> 8), &pieces);
        compare(&whole, &pieces);
    }
    const tt_unpacker *row = tt_unpacker_find(data, size);
    read_source(data, size, turn % 5000 + 1, &pieces);
    if (row) {
        unpack(row, data, size, size, OUT_MAX, &whole);
        compare(&whole, &pieces);
    } else
        tt_assert(pieces.rc == TT_OK && pieces.len == least(size, OUT_MAX) && memcmp(pieces.out, data, pieces.len) == 0);
    return 0;
}
