#include "query/prepared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* with the widest instructions that the processor has */
#endif

#include "base/sys.h"
#include "io/fd.h"

struct tt_prepared {
    tt_prepared_header header;
    tt_prepared_column *columns;
    tt_pq_dictionary *dictionaries; /* by column */
    bool *used;                     /* checked */
    uint32_t *by_file_column;       /* index + 1; 0: not here */
    uint32_t file_column_count;
    const char *map;
    char *path;
};

static tt_rc bad(const char *path, const char *why, tt_err *err) { return tt_fail(err, TT_CORRUPT, "%s: not a prepared part that can be used: %s", path, why); }

/* ---- opening ---- */

/* Sections lie behind the header, inside of the file, aligned, and have the bytes that the counts ask for. */
static bool is_section(const tt_prepared *p, const tt_prepared_section *s, uint64_t bytes)
{
    uint64_t head = sizeof p->header + p->header.column_count * sizeof *p->columns;
    return s->at >= head && s->at % 64 == 0 && s->bytes == bytes && s->at < p->header.file_bytes && p->header.file_bytes - s->at >= 64 &&
           bytes <= p->header.file_bytes - s->at - 64;
}

static bool is_absent(const tt_prepared_section *s) { return s->at == 0 && s->bytes == 0; }

/* What a column does not use is not there: all sections that are get read. */
static bool is_dictionary(const tt_prepared *p, const tt_prepared_column *c)
{
    if (c->width)
        return is_section(p, &c->fixed, (uint64_t)c->entry_count * c->width) && is_absent(&c->start) && is_absent(&c->length) && is_absent(&c->heap);
    return is_absent(&c->fixed) && is_section(p, &c->start, c->entry_count * 4ull) && is_section(p, &c->length, c->entry_count * 4ull) && is_section(p, &c->heap, c->heap.bytes);
}

static bool is_column(const tt_prepared *p, uint32_t i, const tt_pq_file *source)
{
    const tt_prepared_column *c = &p->columns[i];
    uint64_t rows = p->header.row_count;
    bool is_group = i == p->header.group_column;
    if (c->file_column >= tt_pq_column_count(source) || p->by_file_column[c->file_column])
        return false;
    const tt_pq_column *f = tt_pq_column_at(source, c->file_column);
    if (f->shape != TT_PQ_FLAT || c->kind != f->kind || c->width != f->width || (f->kind == TT_PQ_BYTES) != (c->width == 0))
        return false;
    if (c->code_width != 0 && c->code_width != 1 && c->code_width != 2 && c->code_width != 4)
        return false;
    if (is_group)
        return c->code_width == 4 && c->null_rows == 0 && c->entry_count == p->header.group_count && is_absent(&c->data) && is_absent(&c->validity) && is_dictionary(p, c);
    if (c->null_rows > rows || (c->null_rows ? !is_section(p, &c->validity, tt_prepared_words(rows) * 8) : !is_absent(&c->validity)))
        return false;
    if (c->code_width == 0)
        return c->width && is_section(p, &c->data, rows * c->width) && is_absent(&c->fixed) && is_absent(&c->start) && is_absent(&c->length) && is_absent(&c->heap);
    return is_section(p, &c->data, rows * c->code_width) && is_dictionary(p, c);
}

static tt_rc check_head(tt_prepared *p, const tt_pq_file *source, tt_err *err)
{
    const tt_prepared_header *h = &p->header;
    tt_prepared_header blank = *h;
    blank.hash = 0;
    uint64_t hash = XXH3_64bits_withSeed(p->columns, h->column_count * sizeof *p->columns, XXH3_64bits(&blank, sizeof blank));
    if (hash != h->hash)
        return bad(p->path, "its checksum is wrong", err);
    if (h->group_column >= h->column_count || h->time_column >= h->column_count || h->group_count > h->row_count)
        return bad(p->path, "its counts contradict each other", err);
    if (!is_section(p, &h->first, (h->group_count + 1ull) * 4) || !is_section(p, &h->tick, tt_prepared_words(h->row_count) * 8) ||
        (h->timed.at ? !is_section(p, &h->timed, tt_prepared_words(h->row_count) * 8) : !is_absent(&h->timed)))
        return bad(p->path, "a section lies outside of it", err);
    for (uint32_t i = 0; i < h->column_count; i++) {
        if (!is_column(p, i, source))
            return bad(p->path, "a column is not what its source has, or lies outside of it", err);
        p->by_file_column[p->columns[i].file_column] = i + 1;
    }
    return TT_OK;
}

static tt_rc read_head(tt_prepared *p, int fd, const tt_prepared_identity *identity, const tt_pq_file *source, tt_err *err)
{
    struct stat st;
    size_t len = 0;
    tt_prepared_header *h = &p->header;
    if (fstat(fd, &st) != 0 || tt_fd_read_at(fd, 0, h, sizeof *h, &len) != 0)
        return tt_fail_errno(err, errno, "%s: cannot read", p->path);
    if (len != sizeof *h || memcmp(h->magic, TT_PREPARED_MAGIC, sizeof h->magic) != 0 || h->byte_order != TT_PREPARED_ORDER)
        return bad(p->path, "its header is not that of one", err);
    if (h->file_bytes != (uint64_t)st.st_size || h->column_count > TT_PREPARED_COLUMNS_MAX)
        return bad(p->path, "its size is not the one it says", err);
    if (memcmp(&h->source, identity, sizeof *identity) != 0)
        return tt_fail(err, TT_NOT_FOUND, "%s: the file that it was made of has changed", p->path);
    size_t bytes = h->column_count * sizeof *p->columns;
    p->file_column_count = tt_pq_column_count(source);
    p->columns = tt_calloc(h->column_count + 1, sizeof *p->columns);
    p->dictionaries = tt_calloc(h->column_count + 1, sizeof *p->dictionaries);
    p->used = tt_calloc(h->column_count + 1, sizeof *p->used);
    p->by_file_column = tt_calloc(p->file_column_count + 1, sizeof *p->by_file_column);
    if (!p->columns || !p->dictionaries || !p->used || !p->by_file_column)
        return tt_fail(err, TT_NOMEM, "%s: out of memory", p->path);
    if (tt_fd_read_at(fd, sizeof *h, p->columns, bytes, &len) != 0 || len != bytes)
        return bad(p->path, "it ends too early", err);
    TT_TRY(check_head(p, source, err));
    void *map = mmap(NULL, h->file_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return tt_fail_errno(err, errno, "%s: cannot map", p->path);
    p->map = map;
    return TT_OK;
}

static const void *section(const tt_prepared *p, const tt_prepared_section *s) { return p->map + s->at; }

static tt_rc check_hash(const tt_prepared *p, const tt_prepared_section *s, tt_err *err)
{
    if (s->at == 0 || XXH3_64bits(section(p, s), s->bytes) == s->hash)
        return TT_OK;
    return bad(p->path, "a section's checksum is wrong", err);
}

/* Every group has rows, and they follow one another. */
static tt_rc check_groups(const tt_prepared *p, tt_err *err)
{
    const tt_prepared_header *h = &p->header;
    const uint32_t *first = tt_prepared_first_rows(p);
    bool ok = first[0] == 0 && first[h->group_count] == h->row_count;
    TT_TRY(check_hash(p, &h->first, err));
    TT_TRY(check_hash(p, &h->tick, err));
    TT_TRY(check_hash(p, &h->timed, err));
    for (uint32_t g = 0; g < h->group_count; g++)
        ok &= first[g] < first[g + 1];
    return ok ? TT_OK : bad(p->path, "its groups contradict each other", err);
}

tt_rc tt_prepared_open(const char *path, const tt_prepared_identity *identity, const tt_pq_file *source, tt_prepared **ret, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        return errno == ENOENT ? tt_fail(err, TT_NOT_FOUND, "%s: there is none", path) : tt_fail_errno(err, errno, "%s: cannot open", path);
    tt_prepared *p = TT_NEW(tt_prepared);
    p->path = tt_dup_cstr(path);
    tt_rc rc = read_head(p, fd, identity, source, err);
    if (rc == TT_OK)
        rc = check_groups(p, err);
    if (rc != TT_OK) {
        tt_prepared_close(p);
        return rc;
    }
    *ret = p;
    return TT_OK;
}

void tt_prepared_close(tt_prepared *p)
{
    if (!p)
        return;
    if (p->map)
        munmap((void *)(uintptr_t)p->map, p->header.file_bytes);
    free(p->columns);
    free(p->dictionaries);
    free(p->used);
    free(p->by_file_column);
    free(p->path);
    free(p);
}

/* ---- columns ---- */

/* In the codes' own type, so that a vector compares as many as it holds. */
#define HIGHEST(bits)                                                      \
    static uint32_t highest_##bits(const uint##bits##_t *codes, uint64_t count) \
    {                                                                      \
        uint##bits##_t most = 0;                                           \
        for (uint64_t i = 0; i < count; i++)                               \
            most = codes[i] > most ? codes[i] : most;                      \
        return most;                                                       \
    }
HIGHEST(8)
HIGHEST(16)
HIGHEST(32)

static uint32_t highest(const void *codes, uint32_t width, uint64_t count)
{
    return width == 1 ? highest_8(codes, count) : width == 2 ? highest_16(codes, count) : highest_32(codes, count);
}

/* As many rows are null as it says. */
static bool is_null_count(const tt_prepared *p, const tt_prepared_column *c)
{
    const uint64_t *validity = section(p, &c->validity);
    uint64_t rows = p->header.row_count, valid = 0;
    for (uint64_t w = 0; w < rows / 64; w++)
        valid += (uint64_t)__builtin_popcountll(validity[w]);
    if (rows % 64)
        valid += (uint64_t)__builtin_popcountll(validity[rows / 64] & ((UINT64_C(1) << rows % 64) - 1));
    return valid + c->null_rows == rows;
}

/* Codes are in the dictionary, whose entries are in the heap. Where every row is null, the dictionary may be empty. */
static tt_rc check_codes(const tt_prepared *p, const tt_prepared_column *c, tt_err *err)
{
    const uint32_t *start = section(p, &c->start), *length = section(p, &c->length);
    bool ok = c->null_rows == 0 || is_null_count(p, c), all_null = c->entry_count == 0 && c->null_rows == p->header.row_count;
    if (c->code_width && c->data.at && p->header.row_count && !all_null)
        ok &= highest(section(p, &c->data), c->code_width, p->header.row_count) < c->entry_count;
    for (uint32_t i = 0; c->width == 0 && i < c->entry_count; i++)
        ok &= (uint64_t)start[i] + length[i] <= c->heap.bytes;
    return ok ? TT_OK : bad(p->path, "a code or a text lies outside of its column, or its nulls are not those that it says", err);
}

tt_rc tt_prepared_use(tt_prepared *p, uint32_t file_column, tt_err *err)
{
    uint32_t i = file_column < p->file_column_count ? p->by_file_column[file_column] : 0;
    if (i == 0)
        return tt_fail(err, TT_NOT_FOUND, "%s: it does not have that column", p->path);
    const tt_prepared_column *c = &p->columns[--i];
    const tt_prepared_section *all[] = {&c->data, &c->validity, &c->fixed, &c->start, &c->length, &c->heap};
    if (p->used[i])
        return TT_OK;
    for (size_t k = 0; k < TT_COUNT(all); k++)
        TT_TRY(check_hash(p, all[k], err));
    TT_TRY(check_codes(p, c, err));
    p->dictionaries[i] = (tt_pq_dictionary){
        .count = c->entry_count,
        .values = {.fixed = section(p, &c->fixed), .base = section(p, &c->heap), .start = section(p, &c->start), .length = section(p, &c->length)},
    };
    p->used[i] = true;
    return TT_OK;
}

uint32_t tt_prepared_row_count(const tt_prepared *p) { return p->header.row_count; }
uint32_t tt_prepared_group_count(const tt_prepared *p) { return p->header.group_count; }
const uint32_t *tt_prepared_first_rows(const tt_prepared *p) { return section(p, &p->header.first); }
const uint64_t *tt_prepared_ticks(const tt_prepared *p) { return section(p, &p->header.tick); }
const uint64_t *tt_prepared_timed(const tt_prepared *p) { return p->header.timed.at ? section(p, &p->header.timed) : NULL; }
uint32_t tt_prepared_group_column(const tt_prepared *p) { return p->columns[p->header.group_column].file_column; }

const tt_pq_dictionary *tt_prepared_groups(const tt_prepared *p)
{
    tt_assert(p->used[p->header.group_column]);
    return &p->dictionaries[p->header.group_column];
}

void tt_prepared_batch(const tt_prepared *p, uint32_t file_column, uint32_t row, uint32_t count, tt_pq_batch *ret)
{
    uint32_t i = p->by_file_column[file_column] - 1;
    const tt_prepared_column *c = &p->columns[i];
    tt_assert(p->used[i] && row % 64 == 0 && i != p->header.group_column);
    *ret = (tt_pq_batch){.first_row = row, .row_count = count, .value_count = count, .dictionary = &p->dictionaries[i]};
    const char *data = section(p, &c->data);
    if (c->null_rows)
        ret->validity = (const uint64_t *)section(p, &c->validity) + row / 64;
    if (c->code_width) {
        ret->form = TT_PQ_FORM_CODES;
        ret->code_width = (uint8_t)c->code_width;
        ret->codes = data + (size_t)row * c->code_width;
    } else {
        ret->form = TT_PQ_FORM_VALUES;
        ret->values.fixed = data + (size_t)row * c->width;
    }
}

uint32_t tt_prepared_group_of(const tt_prepared *p, uint32_t row)
{
    const uint32_t *first = tt_prepared_first_rows(p);
    uint32_t low = 0, high = p->header.group_count;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (first[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}
