/* Opening: the ends of the file, the footer, and what callers ask about it. */
#include "data/parquet/parquet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "data/parquet/file_impl.h"
#include "io/fd.h"

enum { MAGIC_BYTES = 4, TAIL_BYTES = 8, FOOTER_AMPLIFICATION = 64 };
static const tt_pq_options defaults = {.max_footer_bytes = 256u << 20, .max_page_bytes = 256u << 20};

tt_rc tt_pq_read_at(const tt_pq_file *f, uint64_t at, void *buf, size_t len, tt_err *err)
{
    size_t got = 0;
    if (at > f->size_bytes || len > f->size_bytes - at)
        return tt_fail(err, TT_CORRUPT, "%s: %zu bytes at offset %llu lie outside of the file", f->name, len, (unsigned long long)at);
    if (f->fd < 0 && !f->source) {
        memcpy(buf, f->memory.ptr + at, len);
        return TT_OK;
    }
    if (f->source)
        TT_TRY(tt_source_read_at(f->source, at, buf, len, &got, err));
    int errnum = f->source ? 0 : tt_fd_read_at(f->fd, at, buf, len, &got);
    if (errnum)
        return tt_fail_errno(err, errnum, "%s: cannot read", f->name);
    if (got < len)
        return tt_fail(err, TT_CORRUPT, "%s: became shorter while it was read", f->name);
    return TT_OK;
}

/* What to do about a file that does not have the signs of one. */
static const char *what_else(tt_pq_file *f)
{
    unsigned char head[64];
    size_t n = f->size_bytes < sizeof head ? (size_t)f->size_bytes : sizeof head;
    if (n == 0)
        return ": it is empty";
    if (tt_pq_read_at(f, 0, head, n, NULL) != TT_OK)
        return "";
    if (n >= MAGIC_BYTES && memcmp(head, "PAR1", MAGIC_BYTES) == 0)
        return ": its end is missing: was it written and copied to the end?";
    for (size_t i = 0; i < n; i++)
        if (head[i] < ' ' && head[i] != '\n' && head[i] != '\r' && head[i] != '\t')
            return "";
    return ": it looks like text: tutti parquet convert makes Parquet of CSV and JSON lines";
}

static tt_rc read_footer(tt_pq_file *f, tt_err *err)
{
    unsigned char tail[TAIL_BYTES], head[MAGIC_BYTES];
    if (f->size_bytes < MAGIC_BYTES + TAIL_BYTES)
        return tt_fail(err, TT_CORRUPT, "%s: no Parquet file: only %llu bytes long%s", f->name, (unsigned long long)f->size_bytes, what_else(f));
    TT_TRY(tt_pq_read_at(f, f->size_bytes - TAIL_BYTES, tail, sizeof tail, err));
    TT_TRY(tt_pq_read_at(f, 0, head, sizeof head, err));
    if (memcmp(tail + 4, "PARE", MAGIC_BYTES) == 0)
        return tt_fail(err, TT_UNSUPPORTED, "%s: the footer is encrypted, which is not supported: decrypt the file first", f->name);
    if (memcmp(tail + 4, "PAR1", MAGIC_BYTES) != 0 || memcmp(head, "PAR1", MAGIC_BYTES) != 0)
        return tt_fail(err, TT_CORRUPT, "%s: no Parquet file: it does not begin and end with PAR1%s", f->name, what_else(f));
    uint32_t length = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 | (uint32_t)tail[3] << 24;
    if (length > f->size_bytes - MAGIC_BYTES - TAIL_BYTES)
        return tt_fail(err, TT_CORRUPT, "%s: the footer of %u bytes is longer than the file: it is damaged or cut off", f->name, length);
    if (length > f->options.max_footer_bytes)
        return tt_fail(err, TT_TOO_LARGE, "%s: the footer has %u bytes, more than %llu", f->name, length, (unsigned long long)f->options.max_footer_bytes);
    f->footer = tt_malloc(length);
    if (!f->footer)
        return tt_pq_nomem(err, f);
    TT_TRY(tt_pq_read_at(f, f->size_bytes - TAIL_BYTES - length, f->footer, length, err));
    f->arena.limit_bytes = (size_t)length * FOOTER_AMPLIFICATION + ((size_t)1 << 20);
    TT_TRY(tt_pq_footer_parse(f, (tt_str){f->footer, length}, err));
    tt_pq_hints_apply(f);
    return TT_OK;
}

static tt_rc open_file(int fd, tt_source *source, tt_str memory, const char *name, const tt_pq_options *options, tt_pq_file **ret, tt_err *err)
{
    struct stat st;
    tt_pq_file *f = TT_NEW(tt_pq_file);
    *f = (tt_pq_file){.fd = fd, .source = source, .memory = memory, .size_bytes = memory.len, .options = defaults, .name = tt_dup_cstr(name)};
    if (options && options->max_footer_bytes)
        f->options.max_footer_bytes = options->max_footer_bytes;
    if (options && options->max_page_bytes)
        f->options.max_page_bytes = options->max_page_bytes;
    tt_rc rc = TT_OK;
    if (fd >= 0 && fstat(fd, &st) != 0)
        rc = tt_fail_errno(err, errno, "%s: cannot look at it", name);
    else if (fd >= 0 && !S_ISREG(st.st_mode))
        rc = tt_fail(err, TT_INVALID, "%s: not a regular file", name);
    else if (fd >= 0)
        f->size_bytes = (uint64_t)st.st_size;
    if (source && (tt_source_is_packed(source) || !tt_source_size(source, &f->size_bytes)))
        rc = tt_fail(err, TT_UNSUPPORTED, "%s: a Parquet file that is compressed as a whole: unpack it first", name);
    if (rc == TT_OK)
        rc = read_footer(f, err);
    if (rc != TT_OK) {
        tt_pq_close(f);
        return rc;
    }
    *ret = f;
    return TT_OK;
}

tt_rc tt_pq_open(const char *path, const tt_pq_options *options, tt_pq_file **ret, tt_err *err)
{
    int fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    return open_file(fd, NULL, (tt_str){0}, path, options, ret, err);
}

tt_rc tt_pq_open_fd(int fd, const char *name, const tt_pq_options *options, tt_pq_file **ret, tt_err *err)
{
    return open_file(fd, NULL, (tt_str){0}, name, options, ret, err);
}

tt_rc tt_pq_open_source(tt_source *source, const tt_pq_options *options, tt_pq_file **ret, tt_err *err)
{
    return open_file(-1, source, (tt_str){0}, tt_source_path(source), options, ret, err);
}

tt_rc tt_pq_open_memory(tt_str bytes, const char *name, const tt_pq_options *options, tt_pq_file **ret, tt_err *err)
{
    return open_file(-1, NULL, bytes, name, options, ret, err);
}

void tt_pq_close(tt_pq_file *f)
{
    if (!f)
        return;
    tt_fd_close(&f->fd);
    tt_arena_deinit(&f->arena);
    free(f->footer);
    free((char *)f->name);
    free(f);
}

const char *tt_pq_name(const tt_pq_file *f) { return f->name; }
uint64_t tt_pq_size_bytes(const tt_pq_file *f) { return f->size_bytes; }
uint64_t tt_pq_row_count(const tt_pq_file *f) { return f->row_count; }
uint64_t tt_pq_stated_row_count(const tt_pq_file *f) { return f->stated_row_count; }
tt_str tt_pq_created_by(const tt_pq_file *f) { return f->created_by; }
uint32_t tt_pq_column_count(const tt_pq_file *f) { return f->column_count; }
uint32_t tt_pq_row_group_count(const tt_pq_file *f) { return f->row_group_count; }

const tt_pq_column *tt_pq_column_at(const tt_pq_file *f, uint32_t column)
{
    tt_assert(column < f->column_count);
    return &f->columns[column];
}

int32_t tt_pq_column_find(const tt_pq_file *f, tt_str name)
{
    for (uint32_t i = 0; i < f->column_count; i++)
        if (tt_str_eq(f->columns[i].name, name))
            return (int32_t)i;
    for (uint32_t i = 0; i < f->column_count; i++)
        if (tt_str_eq(f->columns[i].path, name))
            return (int32_t)i;
    return -1;
}

const tt_pq_row_group *tt_pq_row_group_at(const tt_pq_file *f, uint32_t row_group)
{
    tt_assert(row_group < f->row_group_count);
    return &f->row_groups[row_group];
}

size_t tt_pq_key_values(const tt_pq_file *f, const tt_pq_key_value **ret)
{
    *ret = f->key_values;
    return f->key_value_count;
}

size_t tt_pq_elements(const tt_pq_file *f, const tt_pq_element **ret)
{
    *ret = f->elements;
    return f->element_count;
}
