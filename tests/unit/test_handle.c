/* Many files and few descriptors: outputs and inputs are closed and opened again, and are found to be the same or not. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/sys.h"
#include "io/append.h"
#include "io/handle.h"
#include "io/source.h"

enum { LENT = 8 };

static char dir[4096];
static tt_roots *roots;
static tt_err err;

static const char *path_of(const char *name)
{
    static char paths[8][4300];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "wb");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void assert_text(const char *name, const char *text)
{
    char have[65536];
    FILE *f = fopen(path_of(name), "rb");
    cr_assert(f);
    have[fread(have, 1, sizeof have - 1, f)] = '\0';
    fclose(f);
    cr_assert_str_eq(have, text, "%s", name);
}

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.3000s/tutti-handle-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert(mkdtemp(dir));
    char *real = realpath(dir, NULL);
    snprintf(dir, sizeof dir, "%s", real);
    free(real);
    tt_str one = tt_str_of(dir);
    cr_assert_eq(tt_roots_new(&one, 1, &roots, &err), TT_OK, "%s", err.text);
    tt_handles_limit(LENT);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) { return remove(path); }

static void teardown(void)
{
    tt_handles_state is;
    tt_handles_get(&is);
    cr_expect(is.open == 0 && is.pinned == 0, "%zu open, %zu pinned at the end", is.open, is.pinned);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    tt_roots_free(roots);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(handle, .init = setup, .fini = teardown, .timeout = 120);

static int descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- outputs ---- */

static tt_append *create(const char *name)
{
    tt_append *a = NULL;
    cr_assert_eq(tt_append_create(roots, tt_str_of(name), TT_APPEND_KEEP, &a, &err), TT_OK, "%s", err.text);
    return a;
}

static void put(tt_append *a, const char *text) { tt_append_put(a, text, strlen(text)); }

static tt_append_mark commit(tt_append *a)
{
    tt_append_mark mark;
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), TT_OK, "%s", err.text);
    tt_append_commit(a);
    return mark;
}

static void assert_flush_fails(tt_append *a, tt_rc rc, const char *word)
{
    tt_append_mark mark;
    put(a, "more\n");
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), rc, "%s", err.text);
    cr_assert(strstr(err.text, word), "%s", err.text);
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK, "%s", err.text);
}

/* Uses so many others that the descriptors of all that were used before are given up. */
static void use_others(void)
{
    char name[32];
    tt_append *others[LENT];
    for (int i = 0; i < LENT; i++) {
        snprintf(name, sizeof name, "other%d", i);
        others[i] = create(name);
    }
    for (int i = 0; i < LENT; i++)
        tt_append_close(others[i]);
}

Test(handle, many_outputs_share_few_descriptors)
{
    enum { OUTPUTS = 200, ROUNDS = 5 };
    tt_append *all[OUTPUTS];
    char name[32], want[256];
    int before = descriptors();
    for (int i = 0; i < OUTPUTS; i++) {
        snprintf(name, sizeof name, "out%d", i);
        all[i] = create(name);
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < OUTPUTS; i++) {
            snprintf(want, sizeof want, "%d %d\n", i, round);
            put(all[i], want);
            cr_assert_eq(commit(all[i]).length_bytes, strlen(want) * (size_t)(round + 1));
        }
    cr_assert_leq(descriptors(), before + LENT);
    tt_handles_state is;
    tt_handles_get(&is);
    cr_assert_geq(is.reopened, OUTPUTS * (ROUNDS - 1));
    for (int i = 0; i < OUTPUTS; i++) {
        snprintf(name, sizeof name, "out%d", i);
        snprintf(want, sizeof want, "%d 0\n%d 1\n%d 2\n%d 3\n%d 4\n", i, i, i, i, i);
        tt_append_close(all[i]);
        assert_text(name, want);
    }
}

Test(handle, what_is_staged_or_unsynced_keeps_its_descriptors)
{
    tt_append *staged = create("staged"), *unsynced = create("unsynced");
    tt_append_mark mark;
    put(staged, "one\n");
    put(unsynced, "one\n");
    cr_assert_eq(tt_append_flush(unsynced, false, &mark, &err), TT_OK);
    tt_append_commit(unsynced);
    use_others();
    cr_assert_eq(unlink(path_of("unsynced")), 0);
    write_text("unsynced", "one\n");
    commit(staged);
    assert_flush_fails(unsynced, TT_CONFLICT, "deleted"); /* it looks at its own file, not at the other one of the name */
    tt_append_close(staged);
    tt_append_close(unsynced);
    assert_text("staged", "one\n");
}

Test(handle, an_output_that_was_closed_is_only_taken_as_it_was_left)
{
    tt_append *a = create("out");
    put(a, "one\n");
    tt_append_mark left = commit(a), same;
    use_others();
    cr_assert_eq(tt_append_flush(a, true, &same, &err), TT_OK, "nothing to do, and nothing is opened");
    cr_assert(same.length_bytes == left.length_bytes && same.tail_hash == left.tail_hash);
    cr_assert_eq(rename(path_of("out"), path_of("elsewhere")), 0);
    assert_flush_fails(a, TT_CONFLICT, "deleted");
    write_text("out", "one\n");
    assert_flush_fails(a, TT_CONFLICT, "replaced");
    cr_assert_eq(rename(path_of("elsewhere"), path_of("out")), 0);
    FILE *f = fopen(path_of("out"), "r+b");
    cr_assert(f && fputs("two", f) >= 0 && fclose(f) == 0);
    assert_flush_fails(a, TT_CONFLICT, "bytes");
    write_text("out", "one\nand more\n"); /* the same inode */
    assert_flush_fails(a, TT_CONFLICT, "appended to");
    write_text("out", "one\n");
    put(a, "two\n");
    commit(a);
    tt_append_close(a);
    assert_text("out", "one\ntwo\n");
}

Test(handle, a_closed_output_is_taken_and_a_locked_one_is_refused)
{
    tt_append *a = create("out"), *b = NULL;
    put(a, "one\n");
    commit(a);
    use_others();
    cr_assert_eq(link(path_of("out"), path_of("linked")), 0);
    cr_assert_eq(tt_append_create(roots, TT_STR("linked"), TT_APPEND_TRUNCATE, &b, &err), TT_LOCKED, "%s", err.text);
    int fd = open(path_of("linked"), O_RDWR);
    cr_assert_eq(flock(fd, LOCK_EX | LOCK_NB), 0, "nobody has the lock now");
    assert_flush_fails(a, TT_LOCKED, "in use");
    close(fd);
    put(a, "two\n");
    commit(a);
    tt_append_close(a);
    assert_text("out", "one\ntwo\n");
    cr_assert_eq(tt_append_create(roots, TT_STR("linked"), TT_APPEND_KEEP, &b, &err), TT_OK, "%s", err.text);
    tt_append_close(b);
}

Test(handle, a_closed_output_can_be_removed_and_put_aside)
{
    tt_append *a = create("out"), *b = create("aside"), *gone = create("gone");
    char *old = NULL;
    put(a, "one\n");
    put(b, "one\n");
    commit(a);
    commit(b);
    use_others();
    cr_assert_eq(tt_append_remove(a, &err), TT_OK, "%s", err.text);
    cr_assert_neq(access(path_of("out"), F_OK), 0);
    cr_assert_eq(tt_append_new_generation(b, &old, &err), TT_OK, "%s", err.text);
    cr_assert_str_eq(old, path_of("aside.1"));
    free(old);
    use_others();
    put(b, "two\n");
    commit(b);
    tt_append_close(b);
    assert_text("aside.1", "one\n");
    assert_text("aside", "two\n");
    cr_assert_eq(unlink(path_of("gone")), 0);
    cr_assert_eq(tt_append_remove(gone, &err), TT_OK, "%s", err.text);
}

Test(handle, an_open_that_finds_no_descriptor_closes_idle_ones)
{
    tt_append *a = create("a"), *b;
    put(a, "one\n");
    commit(a);
    use_others();
    b = create("b"); /* idle, to be closed */
    cr_assert_eq(tt_sys_fault_arm("open:1:EMFILE", &err), TT_OK, "%s", err.text);
    put(a, "two\n");
    commit(a);
    tt_append_close(a);
    tt_append_close(b);
    assert_text("a", "one\ntwo\n");
}

/* ---- inputs ---- */

static void write_packed(const char *name, const char *text, size_t len)
{
    gzFile gz = gzopen(path_of(name), "wb");
    cr_assert(gz && gzwrite(gz, text, (unsigned)len) == (int)len && gzclose(gz) == Z_OK);
}

enum { SOURCES = 40, SOURCE_BYTES = 100000 };
static tt_source *sources[SOURCES];
static char content[SOURCE_BYTES];

static char byte_of(int source, size_t at) { return (char)(content[at] ^ (char)source); }

static void open_sources(void)
{
    char *bytes = malloc(SOURCE_BYTES), name[32];
    for (size_t i = 0; i < SOURCE_BYTES; i++)
        content[i] = (char)(i * 2654435761u >> 13);
    for (int s = 0; s < SOURCES; s++) {
        snprintf(name, sizeof name, "in%d", s);
        for (size_t i = 0; i < SOURCE_BYTES; i++)
            bytes[i] = byte_of(s, i);
        if (s % 2) {
            write_packed(name, bytes, SOURCE_BYTES);
        } else {
            FILE *f = fopen(path_of(name), "wb");
            cr_assert(f && fwrite(bytes, 1, SOURCE_BYTES, f) == SOURCE_BYTES && fclose(f) == 0);
        }
        cr_assert_eq(tt_source_open(roots, tt_str_of(name), dir, &sources[s], &err), TT_OK, "%s", err.text);
        cr_assert_eq(tt_source_is_packed(sources[s]), s % 2);
    }
    free(bytes);
}

static void *read_around(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    char buf[512];
    size_t len;
    tt_err why;
    for (int i = 0; i < 2000; i++) {
        int s = rand_r(&seed) % SOURCES;
        size_t at = (size_t)rand_r(&seed) % SOURCE_BYTES;
        if (tt_source_read_at(sources[s], at, buf, sizeof buf, &len, &why) != TT_OK)
            return (void *)(uintptr_t)"a read failed";
        if (len != (SOURCE_BYTES - at < sizeof buf ? SOURCE_BYTES - at : sizeof buf))
            return (void *)(uintptr_t)"a read is short";
        for (size_t k = 0; k < len; k++)
            if (buf[k] != byte_of(s, at + k))
                return (void *)(uintptr_t)"a read gives other bytes";
    }
    return NULL;
}

Test(handle, many_inputs_share_few_descriptors)
{
    pthread_t threads[4];
    void *fault;
    int before = descriptors();
    open_sources();
    for (uintptr_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_around, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &fault);
        cr_assert_null(fault, "%s", (const char *)fault);
    }
    uint64_t size;
    tt_fingerprint print;
    for (int s = 0; s < SOURCES; s++) {
        cr_assert(tt_source_size(sources[s], &size) && size == SOURCE_BYTES, "source %d", s);
        cr_assert_eq(tt_source_fingerprint(sources[s], &print, &err), TT_OK, "%s", err.text);
        cr_assert_eq(tt_source_unchanged(sources[s], &print, &err), TT_OK, "%s", err.text);
    }
    cr_assert_leq(descriptors(), before + LENT + 2);
    for (int s = 0; s < SOURCES; s++)
        tt_source_close(sources[s]);
}

Test(handle, an_input_that_was_replaced_while_it_was_closed_is_refused)
{
    tt_source *s = NULL;
    char buf[16];
    size_t len;
    write_text("in", "one\n");
    cr_assert_eq(tt_source_open(roots, TT_STR("in"), dir, &s, &err), TT_OK);
    use_others();
    cr_assert_eq(rename(path_of("in"), path_of("kept")), 0);
    cr_assert_eq(tt_source_read_at(s, 0, buf, sizeof buf, &len, &err), TT_CONFLICT);
    cr_assert(strstr(err.text, "moved or deleted"), "%s", err.text);
    write_text("in", "two\n");
    cr_assert_eq(tt_source_read_at(s, 0, buf, sizeof buf, &len, &err), TT_CONFLICT);
    cr_assert(strstr(err.text, "replaced"), "%s", err.text);
    cr_assert_eq(rename(path_of("kept"), path_of("in")), 0);
    cr_assert_eq(tt_source_read_at(s, 0, buf, sizeof buf, &len, &err), TT_OK, "%s", err.text);
    cr_assert(len == 4 && memcmp(buf, "one\n", 4) == 0);
    tt_source_close(s);
}
