/* A prepared part whose bytes are not what was written. Input: [0] bit 0: checksums are made right again, bit 1: so is the size it says; [1] which query;
 * then edits of five bytes each (an offset of two, a kind, a value of two).
 * Properties: as it was written it gives what its source gives. With checksums that are wrong it is refused, or what is wrong is not looked at: the answer is the
 * source's all the same. With right ones whatever else is wrong is refused or gives some answer: no access outside of it, no failed assertion. */
#include <fcntl.h>
#include <stdlib.h>
#include <xxhash.h>

#include "fuzz_rows.h"
#include "query/answer.h"
#include "query/engine.h"
#include "query/prepare.h"
#include "io/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EDIT_BYTES = 5, EDITS_MAX = 64 };

static const char *const queries[] = {
    "{}",
    "{\"funnel\":{\"sequence\":[{\"filter\":[\"s\",\"==\",\"view\"]},{\"filter\":[\"s\",\"==\",\"cart\"]},{\"filter\":[\"s\",\"!=\",\"buy\"]}]}}",
    "{\"funnel\":{\"sequence\":[{\"filter\":[\"f\",\">\",1]},{\"filter\":[\"b\",\"==\",true],\"rowFound\":false},{\"filter\":[\"s\",\"contains\",\"e\"]}],\"timeToConvert\":true,"
    "\"breakdown\":{\"column\":\"s\"}},\"timeframe\":{\"from\":3,\"to\":40}}",
    "{\"query\":{\"conditions\":[{\"filter\":[\"f\",\">=\",0.5],\"target\":[\"sum\",\"f\",\">\",2]},{\"filter\":[\"user\",\">\",3],\"target\":[\"count\",\">=\",2]}],"
    "\"relation\":\"or\",\"aggregations\":[{\"column\":\"s\"},{\"column\":\"b\",\"type\":\"meanPerValue\",\"otherColumn\":\"f\"},{\"column\":\"at\"},{\"column\":\"user\"}]}}",
    "{\"query\":{\"conditions\":[{\"sequence\":[{\"filter\":[\"at\",\">\",\"1970-02-01\"]},{\"filter\":[\"s\",\"in\",[\"view\",\"\"]],\"minGap\":2}]}]}}",
    "{\"retention\":{\"first\":{\"filter\":[\"s\",\"==\",\"view\"]},\"again\":{\"filter\":[\"f\",\"<\",3]},\"period\":7,\"periods\":5},\"query\":{\"aggregations\":[{\"column\":\"ts\"}]}}",
};

typedef struct {
    char *bytes;
    size_t len;
} content;

static const tt_prepared_identity identity = {.key = {1, 2}, .size_bytes = 3};

/* As it is written, once. */
static const content *part_once(void)
{
    static content part;
    uint64_t len;
    size_t got = 0;
    if (part.bytes)
        return &part;
    int fd = memfd_create("part", MFD_CLOEXEC);
    tt_assert(fd >= 0 && tt_prepare_write(file_once(), columns_once(false), &identity, &(tt_prepare_options){0}, fd, "part", &len, NULL) == TT_OK);
    part.len = (size_t)len;
    part.bytes = malloc(part.len);
    tt_assert(part.bytes && tt_fd_read_at(fd, 0, part.bytes, part.len, &got) == 0 && got == part.len && part.len < UINT16_MAX * 2);
    close(fd);
    return &part;
}

/* ---- edits ---- */

static void set_u32(content *c, size_t at, uint32_t value)
{
    if (at + 4 <= c->len)
        memcpy(c->bytes + at, &value, 4);
}

static void edit(content *c, const uint8_t *e)
{
    static const uint32_t words[] = {0, 1, UINT32_MAX, INT32_MAX, 64, 0x10000, 0xFFFFFFC0, 299, 300, 301};
    size_t at = (size_t)(e[0] | e[1] << 8) % c->len;
    uint16_t value = (uint16_t)(e[3] | e[4] << 8);
    switch (e[2] % 5) {
    case 0: c->bytes[at] = (char)value; break;
    case 1: c->bytes[at] = (char)(c->bytes[at] ^ 1 << (value & 7)); break;
    case 2: set_u32(c, at & ~(size_t)3, value); break;
    case 3: set_u32(c, at & ~(size_t)3, words[value % TT_COUNT(words)]); break;
    default: c->len = value % 8 ? c->len : at + 1; break; /* cut off, now and then */
    }
}

static void hash_section(const content *c, tt_prepared_section *s)
{
    if (s->at && s->at <= c->len && s->bytes <= c->len - s->at)
        s->hash = XXH3_64bits(c->bytes + s->at, s->bytes);
}

static void make_right(content *c, bool with_size)
{
    tt_prepared_header h;
    if (c->len < sizeof h)
        return;
    memcpy(&h, c->bytes, sizeof h);
    h.file_bytes = with_size ? c->len : h.file_bytes;
    size_t bytes = h.column_count * sizeof(tt_prepared_column);
    if (h.column_count > TT_PREPARED_COLUMNS_MAX || bytes > c->len - sizeof h)
        return;
    tt_prepared_column *columns = malloc(bytes + 1);
    tt_assert(columns);
    memcpy(columns, c->bytes + sizeof h, bytes);
    for (uint32_t i = 0; i < h.column_count; i++) {
        tt_prepared_section *all[] = {&columns[i].data, &columns[i].validity, &columns[i].fixed, &columns[i].start, &columns[i].length, &columns[i].heap};
        for (size_t k = 0; k < TT_COUNT(all); k++)
            hash_section(c, all[k]);
    }
    hash_section(c, &h.first);
    hash_section(c, &h.tick);
    hash_section(c, &h.timed);
    h.hash = 0;
    h.hash = XXH3_64bits_withSeed(columns, bytes, XXH3_64bits(&h, sizeof h));
    memcpy(c->bytes, &h, sizeof h);
    memcpy(c->bytes + sizeof h, columns, bytes);
    free(columns);
}

/* ---- answers ---- */

static void remove_file(void);
static const char *path_once(void)
{
    static char path[64];
    if (!path[0]) {
        const char *dir = getenv("TMPDIR");
        snprintf(path, sizeof path, "%.30s/fuzz_prepared.%d", dir ? dir : "/tmp", (int)getpid());
        tt_assert(atexit(remove_file) == 0);
    }
    return path;
}
static void remove_file(void) { unlink(path_once()); }

static const tt_plan *plan_once(size_t which)
{
    static tt_plan *plans[TT_COUNT(queries)];
    tt_err err = {0};
    if (!plans[which])
        tt_assert(tt_plan_make(tt_str_of(queries[which]), columns_once(false), &plans[which], &err) == TT_OK);
    return plans[which];
}

/* NULL: refused. */
static json_t *answer_of(const tt_plan *plan, const tt_prepared *prepared)
{
    tt_query_result *r = NULL;
    tt_err err = {0};
    const tt_engine_options options = {.ids = &(tt_ids_wanted){0}, .prepared = prepared, .group_count = prepared ? tt_prepared_group_count(prepared) : 0};
    if (tt_engine_run(plan, file_once(), &options, &r, &err) != TT_OK) {
        tt_assert(err.text[0]);
        return NULL;
    }
    json_t *answer = tt_query_result_json(r);
    tt_query_result_free(r);
    return answer;
}

static json_t *answer_of_part(const tt_plan *plan, const content *c)
{
    tt_prepared *p = NULL;
    tt_err err = {0};
    json_t *answer = NULL;
    int fd = open(path_once(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    tt_assert(fd >= 0 && tt_fd_write_at(fd, 0, c->bytes, c->len) == 0);
    close(fd);
    tt_rc rc = tt_prepared_open(path_once(), &identity, file_once(), &p, &err);
    if (rc == TT_OK)
        rc = tt_engine_use(plan, file_once(), p, true, &err);
    if (rc == TT_OK)
        answer = answer_of(plan, p);
    else
        tt_assert((rc == TT_CORRUPT || rc == TT_NOT_FOUND) && err.text[0]);
    tt_prepared_close(p);
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *right[TT_COUNT(queries)];
    const content *whole = part_once();
    if (size < 2 || size > 2 + EDITS_MAX * EDIT_BYTES)
        return 0;
    size_t which = data[1] % TT_COUNT(queries);
    bool is_forged = data[0] & 1;
    const tt_plan *plan = plan_once(which);
    if (!right[which]) {
        right[which] = answer_of(plan, NULL);
        json_t *same = answer_of_part(plan, whole);
        tt_assert(right[which] && json_equal(right[which], same));
        json_decref(same);
    }
    content c = {malloc(whole->len), whole->len};
    tt_assert(c.bytes);
    memcpy(c.bytes, whole->bytes, c.len);
    for (size_t at = 2; at + EDIT_BYTES <= size; at += EDIT_BYTES)
        edit(&c, data + at);
    if (is_forged)
        make_right(&c, data[0] & 2);
    json_t *answer = answer_of_part(plan, &c);
    tt_assert(!answer || is_forged || json_equal(answer, right[which]));
    json_decref(answer);
    free(c.bytes);
    return 0;
}
