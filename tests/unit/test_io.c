#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "base/sys.h"
#include "io/append.h"
#include "io/roots.h"
#include "io/source.h"
#include "io/unpack.h"
#include "io/wildcard.h"

/* --- a directory of our own for each test; a test is a process --- */

static char base[4096], root_dir[4096];
static tt_roots *roots;
static tt_err err;

static const char *path_of(const char *name)
{
    static char paths[8][4300];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root_dir, name);
    return path;
}

static void write_file(const char *path, const void *ptr, size_t len)
{
    FILE *f = fopen(path, "wb");
    cr_assert(f, "%s: %s", path, strerror(errno));
    cr_assert(len == 0 || fwrite(ptr, 1, len, f) == len);
    cr_assert_eq(fclose(f), 0);
}
static void write_text(const char *path, const char *text) { write_file(path, text, strlen(text)); }

static void append_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "ab");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* Appends without the table of system calls, whose faults are meant for others. */
static void keep(tt_buf *b, const void *ptr, size_t len)
{
    if (b->cap < b->len + len) {
        b->cap = (b->len + len) * 2;
        b->ptr = realloc(b->ptr, b->cap);
        cr_assert(b->ptr);
    }
    if (len)
        memcpy(b->ptr + b->len, ptr, len);
    b->len += len;
}

static tt_buf read_file(const char *path)
{
    tt_buf b = {0};
    char piece[65536];
    FILE *f = fopen(path, "rb");
    cr_assert(f, "%s: %s", path, strerror(errno));
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        keep(&b, piece, n);
    fclose(f);
    return b;
}

static void assert_content(const char *path, tt_str wanted)
{
    TT_BUF_AUTO tt_buf have = read_file(path);
    cr_assert_eq(have.len, wanted.len, "%s has %zu bytes, not %zu", path, have.len, wanted.len);
    cr_assert(wanted.len == 0 || memcmp(have.ptr, wanted.ptr, wanted.len) == 0, "%s has other bytes", path);
}
#define assert_text(path, text) assert_content((path), tt_str_of(text))

static void setup(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof base, "%s/tutti-io-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert(mkdtemp(base));
    char *real = realpath(base, NULL);
    snprintf(base, sizeof base, "%s", real);
    free(real);
    snprintf(root_dir, sizeof root_dir, "%.4000s/inner", base);
    cr_assert_eq(mkdir(root_dir, 0777), 0);
    tt_str dir = tt_str_of(root_dir);
    cr_assert_eq(tt_roots_new(&dir, 1, &roots, &err), TT_OK, "%s", err.text);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) { return remove(path); }

static void teardown(void)
{
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    tt_roots_free(roots);
    nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t seed = 88172645463325252;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Text that compresses somewhat. */
static tt_buf sample(size_t len)
{
    static const char words[8][9] = {"{\"id\": \"", "abcdefgh", "\"}\n{\"x\":", "00000000", "hello wo", "        ", "\n\n\n\n\n\n\n\n", "[1, 2, 3"};
    tt_buf b = {0};
    while (b.len < len) {
        uint64_t r = next_random();
        keep(&b, words[r & 7], 8);
        keep(&b, &r, 3);
    }
    b.len = len;
    return b;
}

/* --- roots --- */

TestSuite(roots, .init = setup, .fini = teardown, .timeout = 20);

static void make_tree(void)
{
    char text[4300];
    snprintf(text, sizeof text, "%s/outside.txt", base);
    write_text(text, "secret");
    snprintf(text, sizeof text, "%s/innerless", base);
    cr_assert_eq(mkdir(text, 0777), 0);
    snprintf(text, sizeof text, "%s/innerless/f", base);
    write_text(text, "x");
    cr_assert_eq(mkdir(path_of("sub"), 0777), 0);
    write_text(path_of("sub/in.txt"), "inside");
    static const char *const links[][2] = {
        {"../outside.txt", "link_out"}, {"sub/in.txt", "link_in"}, {"..", "up"}, {"loop", "loop"}, {"loop_b", "loop_a"},
        {"loop_a", "loop_b"}, {"gone", "dangling"}, {"/etc/passwd", "link_etc"}, {"/proc/self/environ", "link_proc"},
        {"sub/../../inner/sub/in.txt", "link_out_and_in"},
    };
    for (size_t i = 0; i < TT_COUNT(links); i++)
        cr_assert_eq(symlink(links[i][0], path_of(links[i][1])), 0);
    cr_assert_eq(symlink(path_of("sub/in.txt"), path_of("link_absolute")), 0);
    cr_assert_eq(mkfifo(path_of("fifo"), 0666), 0);
}

static tt_rc try_open(tt_str path, int flags)
{
    int fd = -1;
    char *real = NULL;
    memset(&err, 0, sizeof err);
    tt_rc rc = tt_roots_open(roots, path, flags, 0666, &fd, &real, &err);
    cr_assert_eq(rc == TT_OK, fd >= 0);
    cr_assert_eq(rc == TT_OK, real != NULL);
    cr_assert_eq(rc == TT_OK, err.text[0] == 0, "%s", err.text);
    cr_assert_eq(rc, err.code);
    if (fd >= 0) {
        cr_assert(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
        cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    }
    free(real);
    return rc;
}

Test(roots, keep_paths_inside)
{
    make_tree();
    static const struct { const char *path; tt_rc rc; } cases[] = {
        {"sub/in.txt", TT_OK}, {"./sub//in.txt", TT_OK}, {"sub/../sub/in.txt", TT_OK}, {"link_in", TT_OK}, {"up", TT_DENIED},
        {"../outside.txt", TT_DENIED}, {"sub/../../outside.txt", TT_DENIED}, {"../inner/sub/in.txt", TT_DENIED},
        {"../../../../../../../../etc/passwd", TT_DENIED}, {"/etc/passwd", TT_DENIED}, {"//etc/passwd", TT_DENIED}, {"/", TT_DENIED},
        {"link_out", TT_DENIED}, {"link_etc", TT_DENIED}, {"link_absolute", TT_DENIED}, {"link_out_and_in", TT_DENIED},
        {"up/outside.txt", TT_DENIED}, {"up/inner/sub/in.txt", TT_DENIED}, {"loop", TT_DENIED}, {"loop_a", TT_DENIED}, {"loop_a/x", TT_DENIED},
        {"/proc/self/environ", TT_DENIED}, {"/proc/self/fd/0", TT_DENIED}, {"/proc/self/ro" "ot/etc/passwd", TT_DENIED}, {"link_proc", TT_DENIED},
        {"", TT_INVALID}, {".", TT_INVALID}, {"sub", TT_INVALID}, {"sub/", TT_INVALID}, {"fifo", TT_INVALID},
        {"missing", TT_NOT_FOUND}, {"sub/missing/x", TT_NOT_FOUND}, {"sub/in.txt/x", TT_NOT_FOUND}, {"sub/in.txt/", TT_NOT_FOUND},
        {"dangling", TT_NOT_FOUND}, {"~/x", TT_NOT_FOUND}, {"..\\outside.txt", TT_NOT_FOUND}, {"%2e%2e/outside.txt", TT_NOT_FOUND},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++)
        cr_expect_eq(try_open(tt_str_of(cases[i].path), O_RDONLY), cases[i].rc, "%s: %s", cases[i].path, err.text);
    for (size_t i = 0; i < TT_COUNT(cases); i++)
        if (cases[i].rc == TT_DENIED || cases[i].rc == TT_INVALID)
            cr_expect_eq(try_open(tt_str_of(cases[i].path), O_RDWR | O_CREAT), cases[i].rc, "%s for writing: %s", cases[i].path, err.text);
    cr_expect_eq(try_open(TT_STR("fifo"), O_WRONLY), TT_INVALID);
    cr_expect_eq(try_open(TT_STR("sub/in.txt\0.gz"), O_RDONLY), TT_INVALID);
    cr_expect_eq(try_open(TT_STR("\0"), O_RDONLY), TT_INVALID);
    char outside[4300];
    snprintf(outside, sizeof outside, "%s/outside.txt", base);
    assert_text(outside, "secret");
}

Test(roots, judge_absolute_and_long_paths)
{
    make_tree();
    static const struct { const char *tail; tt_rc rc; } cases[] = {
        {"/inner/sub/in.txt", TT_OK}, {"/./inner//sub/./in.txt", TT_OK}, {"/inner/sub/../sub/in.txt", TT_OK}, {"/inner", TT_INVALID}, {"/inner/", TT_INVALID},
        {"/outside.txt", TT_DENIED}, {"/inner/../outside.txt", TT_DENIED}, {"/innerless/f", TT_DENIED}, {"/inner/../inner/sub/in.txt", TT_DENIED},
        {"/innerless/../inner/sub/in.txt", TT_DENIED}, {"/inner/missing", TT_NOT_FOUND},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        char path[4300];
        snprintf(path, sizeof path, "%s%s", base, cases[i].tail);
        cr_expect_eq(try_open(tt_str_of(path), O_RDONLY), cases[i].rc, "%s: %s", path, err.text);
    }
    static char longer[1 << 16];
    static const size_t lengths[] = {256, 1000, 4094, 4095, 4096, 5000, sizeof longer};
    for (size_t i = 0; i < TT_COUNT(lengths); i++) {
        memset(longer, 'a', sizeof longer);
        cr_expect_eq(try_open((tt_str){longer, lengths[i]}, O_RDONLY), TT_INVALID, "%zu", lengths[i]);
        for (size_t k = 0; k + 1 < lengths[i]; k += 2)
            memcpy(longer + k, "a/", 2);
        cr_expect_eq(try_open((tt_str){longer, lengths[i]}, O_RDONLY), lengths[i] < 4096 ? TT_NOT_FOUND : TT_INVALID, "%zu", lengths[i]);
    }
}

Test(roots, say_what_is_wrong)
{
    make_tree();
    try_open(TT_STR("nope.jsonl"), O_RDONLY);
    cr_assert_str_eq(err.text, "[Errno 2] No such file or directory: 'nope.jsonl'");
    try_open(TT_STR("/etc/passwd"), O_RDONLY);
    cr_assert(strstr(err.text, root_dir), "%s", err.text);
    cr_assert_str_eq(tt_roots_text(roots), root_dir);
    cr_assert_eq(tt_sys_fault_arm("openat2:2:ENOSYS", NULL), TT_OK);
    cr_assert_eq(try_open(TT_STR("sub/in.txt"), O_RDONLY), TT_UNSUPPORTED);
    cr_assert(strstr(err.text, "openat2"));
    tt_roots *none = NULL;
    tt_str dir = tt_str_of(root_dir);
    cr_assert_eq(tt_sys_fault_arm("openat2:1:ENOSYS", NULL), TT_OK);
    cr_assert_eq(tt_roots_new(&dir, 1, &none, &err), TT_UNSUPPORTED);
    cr_assert_eq(tt_sys_fault_arm("openat2:2:EMFILE", NULL), TT_OK);
    cr_assert_eq(try_open(TT_STR("sub/in.txt"), O_RDONLY), TT_UNAVAILABLE);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    dir = tt_str_of(path_of("missing"));
    cr_assert_eq(tt_roots_new(&dir, 1, &none, &err), TT_NOT_FOUND);
    dir = tt_str_of(path_of("sub/in.txt"));
    cr_assert_eq(tt_roots_new(&dir, 1, &none, &err), TT_NOT_FOUND);
    cr_assert_eq(tt_roots_new(&dir, 0, &none, &err), TT_INVALID);
    cr_assert_null(none);
}

Test(roots, may_be_several_and_reached_through_links)
{
    make_tree();
    char alias[4300], second[4300], path[8600];
    snprintf(alias, sizeof alias, "%s/alias", base);
    cr_assert_eq(symlink("inner", alias), 0);
    snprintf(second, sizeof second, "%s/innerless", base);
    tt_str dirs[] = {tt_str_of(alias), tt_str_of(second)};
    tt_roots *first_one = roots;
    cr_assert_eq(tt_roots_new(dirs, 2, &roots, &err), TT_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s, %s", root_dir, second);
    cr_assert_str_eq(tt_roots_text(roots), path);
    snprintf(path, sizeof path, "%s/sub/in.txt", alias);
    cr_assert_eq(try_open(tt_str_of(path), O_RDONLY), TT_OK, "%s", err.text);
    cr_assert_eq(try_open(tt_str_of(path_of("sub/in.txt")), O_RDONLY), TT_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/f", second);
    cr_assert_eq(try_open(tt_str_of(path), O_RDONLY), TT_OK, "%s", err.text);
    cr_assert_eq(try_open(TT_STR("f"), O_RDONLY), TT_NOT_FOUND, "relative paths start at the first root");
    tt_roots_free(roots);
    roots = first_one;
    cr_assert_eq(try_open(tt_str_of(path), O_RDONLY), TT_DENIED);
    snprintf(path, sizeof path, "%s/sub/in.txt", alias);
    cr_assert_eq(try_open(tt_str_of(path), O_RDONLY), TT_DENIED, "the link lies outside");
    /* A root whose directory was replaced by a link is no root any more. */
    char moved[4300];
    snprintf(moved, sizeof moved, "%s/moved", base);
    cr_assert_eq(rename(root_dir, moved), 0);
    cr_assert_eq(symlink("innerless", root_dir), 0);
    cr_assert_eq(try_open(TT_STR("f"), O_RDONLY), TT_DENIED);
}

Test(roots, show_no_devices_and_nothing_of_proc)
{
    tt_roots_free(roots);
    tt_str dir = TT_STR("/");
    cr_assert_eq(tt_roots_new(&dir, 1, &roots, &err), TT_OK);
    static const struct { const char *path; tt_rc rc; } cases[] = {
        {"/etc/passwd", TT_OK}, {"etc/passwd", TT_OK}, {"/../etc/passwd", TT_DENIED}, {"/dev/null", TT_INVALID}, {"/dev/zero", TT_INVALID},
        {"/proc/self/environ", TT_DENIED}, {"/proc/self/maps", TT_DENIED}, {"/proc/self/fd/0", TT_DENIED}, {"/proc/self/ro" "ot/etc/passwd", TT_DENIED},
        {"/proc/version", TT_DENIED}, {"/", TT_INVALID},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++)
        cr_expect_eq(try_open(tt_str_of(cases[i].path), O_RDONLY), cases[i].rc, "%s: %s", cases[i].path, err.text);
}

Test(roots, give_real_paths_and_parents)
{
    make_tree();
    int fd;
    char *real, where[4300];
    cr_assert_eq(tt_roots_open(roots, TT_STR("sub/../link_in"), O_RDONLY, 0, &fd, &real, &err), TT_OK);
    cr_assert_str_eq(real, path_of("sub/in.txt"));
    free(real);
    close(fd);
    tt_str name;
    static const char *const good[][2] = {{"sub/new.txt", "sub"}, {"new.txt", ""}, {"./sub/../new.txt", ""}, {"sub//new.txt", "sub"}};
    for (size_t i = 0; i < TT_COUNT(good); i++) {
        cr_assert_eq(tt_roots_open_parent(roots, tt_str_of(good[i][0]), &fd, &name, &real, &err), TT_OK, "%s", err.text);
        cr_assert(tt_str_is(name, "new.txt"));
        snprintf(where, sizeof where, "%s%s%s", root_dir, *good[i][1] ? "/" : "", good[i][1]);
        cr_assert_str_eq(real, where);
        free(real);
        close(fd);
    }
    static const struct { const char *path; tt_rc rc; } bad[] = {
        {"sub/", TT_INVALID}, {"sub/..", TT_INVALID}, {".", TT_INVALID}, {"", TT_INVALID}, {"../x", TT_DENIED}, {"up/x", TT_DENIED},
        {"/x", TT_DENIED}, {"no/x", TT_NOT_FOUND}, {"sub/in.txt/x", TT_NOT_FOUND}, {"loop/x", TT_DENIED},
    };
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_roots_open_parent(roots, tt_str_of(bad[i].path), &fd, &name, NULL, &err), bad[i].rc, "%s: %s", bad[i].path, err.text);
    cr_assert_eq(tt_roots_open_parent(roots, tt_str_of(root_dir), &fd, &name, NULL, &err), TT_DENIED);
}

/* --- patterns --- */

Test(wildcard, matches_names)
{
    static const struct { const char *pattern, *name; bool match; } cases[] = {
        {"*", "a", true}, {"*", "", true}, {"*", ".a", false}, {".*", ".a", true}, {"?a", ".a", false}, {"[.]a", ".a", false},
        {"a*c", "abbbc", true}, {"a*c", "abbbd", false}, {"a*b*c", "axxbyybzzc", true}, {"*.jsonl", "x.jsonl", true}, {"*.jsonl", "x.json", false},
        {"a?c", "abc", true}, {"a?c", "ac", false}, {"a?c", "a\xc3\xa9" "c", true}, {"a??c", "a\xc3\xa9" "c", false}, {"a?c", "a\xff" "c", true},
        {"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[!a-c]x", "dx", true}, {"[^a-c]x", "ax", false}, {"[]]x", "]x", true}, {"[!]]x", "]x", false},
        {"[a-]x", "-x", true}, {"[\\]]x", "]x", true}, {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true}, {"[\xc3\xa0-\xc3\xbf]", "z", false},
        {"[abc", "[abc", true}, {"[abc", "a", false}, {"[", "[", true}, {"[]", "[]", true}, {"\\*", "*", true}, {"\\*", "a", false}, {"a\\", "a\\", true},
        {"", "", true}, {"", "a", false}, {"a", "", false}, {"**", "abc", true}, {"part-[0-9][0-9]", "part-07", true}, {"[c-a]", "b", false},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++)
        cr_expect_eq(tt_wildcard_match(tt_str_of(cases[i].pattern), tt_str_of(cases[i].name)), cases[i].match, "%s / %s", cases[i].pattern, cases[i].name);
    char hard[256], name[256];
    memset(name, 'a', sizeof name);
    for (size_t i = 0; i < sizeof hard; i += 2)
        memcpy(hard + i, "*a", 2);
    hard[255] = 'b';
    cr_assert(!tt_wildcard_match((tt_str){hard, 256}, (tt_str){name, 256})); /* exponential in other matchers */
}

static void assert_glob(const char *pattern, const char *wanted)
{
    tt_paths found = {0};
    TT_BUF_AUTO tt_buf have = {0};
    tt_rc rc = tt_roots_glob(roots, tt_str_of(pattern), &found, &err);
    for (size_t i = 0; i < found.len; i++)
        tt_buf_printf(&have, "%s%s", i ? " " : "", found.ptr[i]);
    if (rc != TT_OK)
        tt_buf_printf(&have, "%s", tt_rc_name(rc));
    cr_expect_str_eq(tt_buf_cstr(&have), wanted, "%s gave %s", pattern, tt_buf_cstr(&have));
    tt_paths_deinit(&found);
}

static void make_files(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[4300];
        snprintf(path, sizeof path, "%s", path_of(names[i]));
        for (char *slash = path + strlen(root_dir) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
            *slash = 0;
            mkdir(path, 0777);
        }
        write_text(path, names[i]);
    }
}

Test(roots, glob_files_in_order)
{
    static const char *const names[] = {"b.jsonl", "a.jsonl", "B.jsonl", "a.csv", ".hidden.jsonl", "d/x.jsonl", "d/e/x.jsonl", "d/e/f/x.jsonl",
        "d/e/f/y.csv", ".git/x.jsonl", "z10", "z9", "data[1].csv", "data1.csv", "d/b/c/b/c.txt"};
    make_files(names, TT_COUNT(names));
    cr_assert_eq(symlink("..", path_of("d/back")), 0);
    cr_assert_eq(symlink("d/e", path_of("e_link")), 0);
    cr_assert_eq(symlink("/etc", path_of("etc_link")), 0);
    cr_assert_eq(symlink("../a.csv", path_of("d/a_link.csv")), 0);
    cr_assert_eq(symlink("/etc/passwd", path_of("d/out_link.csv")), 0);
    cr_assert_eq(mkfifo(path_of("fifo.jsonl"), 0666), 0);
    assert_glob("*.jsonl", "B.jsonl a.jsonl b.jsonl");
    assert_glob("./*.jsonl", "B.jsonl a.jsonl b.jsonl");
    assert_glob(".*.jsonl", ".hidden.jsonl");
    assert_glob("z*", "z10 z9");
    assert_glob("**/x.jsonl", "d/e/f/x.jsonl d/e/x.jsonl d/x.jsonl");
    assert_glob("**/**/x.jsonl", "d/e/f/x.jsonl d/e/x.jsonl d/x.jsonl");
    assert_glob("d/**/x.jsonl", "d/e/f/x.jsonl d/e/x.jsonl d/x.jsonl");
    assert_glob("d/*/x.jsonl", "d/e/x.jsonl");
    assert_glob("d/*/../x.jsonl", "d/b/../x.jsonl d/e/../x.jsonl");
    assert_glob("d/e/../*.jsonl", "d/e/../x.jsonl");
    assert_glob("*/x.jsonl", "d/x.jsonl e_link/x.jsonl");
    assert_glob("e_link/**/*.csv", "e_link/f/y.csv");
    assert_glob("d/*.csv", "d/a_link.csv");
    assert_glob("d/e/**", "d/e/f/x.jsonl d/e/f/y.csv d/e/x.jsonl");
    assert_glob("**/b/**/c.txt", "d/b/c/b/c.txt");
    assert_glob("**/**/**/**/c/**/c.txt", "d/b/c/b/c.txt");
    assert_glob("data[1].csv", "data[1].csv");
    assert_glob("data[12].csv", "data1.csv");
    assert_glob("data\\[1\\].cs?", "data[1].csv");
    assert_glob("a.jsonl", "a.jsonl");
    assert_glob("nothing.jsonl", "nothing.jsonl");
    assert_glob("nothing*", "not_found");
    assert_glob("etc_link/*", "denied");
    assert_glob("*/passwd", "not_found");
    assert_glob("../*", "denied");
    assert_glob("/etc/*", "denied");
    assert_glob("/*/passwd", "denied");
    assert_glob("", "invalid");
    assert_glob("d", "d");
    char pattern[4300], wanted[4300];
    snprintf(pattern, sizeof pattern, "%s/z*0", root_dir);
    snprintf(wanted, sizeof wanted, "%s/z10", root_dir);
    assert_glob(pattern, wanted);
    static char many[300];
    for (size_t i = 0; i + 2 < sizeof many; i += 2)
        memcpy(many + i, "*/", 2);
    assert_glob(many, "invalid");
}

Test(roots, glob_survives_deep_trees_and_lack_of_memory)
{
    char deep[4300];
    snprintf(deep, sizeof deep, "%s", root_dir);
    for (int i = 0; i < 140; i++) {
        size_t len = strlen(deep);
        snprintf(deep + len, sizeof deep - len, "/d");
        cr_assert_eq(mkdir(deep, 0777), 0);
    }
    assert_glob("**/x", "too_large");
    static const char *const names[] = {"m/1", "m/2", "m/3"};
    make_files(names, TT_COUNT(names));
    uint64_t hits = 1;
    for (unsigned n = 1; hits; n++) {
        char fault[64];
        tt_paths found = {0};
        snprintf(fault, sizeof fault, "malloc:%u:ENOMEM,realloc:%u:ENOMEM,openat2:%u:EMFILE", n, n, n);
        cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
        tt_rc rc = tt_roots_glob(roots, TT_STR("m/*"), &found, &err);
        hits = tt_sys_fault_hits();
        cr_assert(rc == TT_OK ? found.len == 3 : found.len == 0 && (rc == TT_NOMEM || rc == TT_UNAVAILABLE || rc == TT_TOO_LARGE), "%u: %s", n, err.text);
        tt_paths_deinit(&found);
    }
}

/* --- sources --- */

TestSuite(source, .init = setup, .fini = teardown, .timeout = 60);

static void put_gzip(tt_buf *out, tt_str plain)
{
    z_stream z = {0};
    cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&z, plain.len);
    cr_assert(tt_buf_reserve(out, bound));
    z.next_in = (Bytef *)(uintptr_t)plain.ptr;
    z.avail_in = (uInt)plain.len;
    z.next_out = (Bytef *)out->ptr + out->len;
    z.avail_out = (uInt)bound;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += bound - z.avail_out;
    deflateEnd(&z);
}

static void put_zstd(tt_buf *out, tt_str plain)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t bound = ZSTD_compressBound(plain.len);
    cr_assert(tt_buf_reserve(out, bound));
    size_t len = ZSTD_compress2(c, out->ptr + out->len, bound, plain.ptr, plain.len);
    cr_assert(!ZSTD_isError(len));
    out->len += len;
    ZSTD_freeCCtx(c);
}

typedef void put_packed(tt_buf *out, tt_str plain);
static put_packed *const packers[] = {put_gzip, put_zstd};

static tt_source *open_source(const char *name)
{
    tt_source *s = NULL;
    cr_assert_eq(tt_source_open(roots, tt_str_of(name), base, &s, &err), TT_OK, "%s", err.text);
    return s;
}

/* All bytes, read in pieces; stops at the first failure. */
static tt_rc read_all(tt_source *s, size_t piece, tt_buf *out)
{
    char *buf = malloc(piece);
    size_t len = piece;
    tt_rc rc = TT_OK;
    while (len == piece && (rc = tt_source_read_at(s, out->len, buf, piece, &len, &err)) == TT_OK)
        tt_buf_put(out, buf, len);
    free(buf);
    return rc;
}

static void assert_source(const char *name, size_t piece, tt_str wanted)
{
    tt_source *s = open_source(name);
    TT_BUF_AUTO tt_buf have = {0};
    uint64_t size = 0;
    cr_assert_eq(read_all(s, piece, &have), TT_OK, "%s", err.text);
    cr_assert(have.len == wanted.len && (have.len == 0 || memcmp(have.ptr, wanted.ptr, have.len) == 0));
    cr_assert(tt_source_size(s, &size));
    cr_assert_eq(size, wanted.len);
    tt_source_close(s);
}

Test(source, reads_plain_files_as_they_are)
{
    static const struct { const char *bytes; size_t len; } plain[] = {
        {"", 0}, {"\x1f", 1}, {"\x1f\x8b", 2}, {"\x28\xb5\x2f", 3}, {"{\"a\": 1}\n", 9}, {"\x1f\x8b\x07....", 7}, {"\x50\x2a\x4d\x17", 4},
    };
    for (size_t i = 0; i < TT_COUNT(plain); i++) {
        write_file(path_of("p.gz"), plain[i].bytes, plain[i].len);
        assert_source("p.gz", 4, (tt_str){plain[i].bytes, plain[i].len});
    }
    tt_source *s = open_source("p.gz");
    char buf[8];
    size_t len = 99;
    cr_assert(!tt_source_is_packed(s));
    cr_assert_str_eq(tt_source_path(s), path_of("p.gz"));
    cr_assert_eq(tt_source_read_at(s, 1000, buf, 8, &len, &err), TT_OK);
    cr_assert_eq(len, 0);
    cr_assert_eq(tt_source_read_at(s, UINT64_MAX - 2, buf, 8, &len, &err), TT_OK);
    cr_assert_eq(len, 0);
    cr_assert_eq(tt_sys_fault_arm("pread:1:EIO", NULL), TT_OK);
    cr_assert_eq(tt_source_read_at(s, 0, buf, 8, &len, &err), TT_IO);
    cr_assert(strstr(err.text, "p.gz"));
    tt_source_close(s);
}

Test(source, unpacks_one_and_many_members)
{
    TT_BUF_AUTO tt_buf plain = sample(3 << 20);
    for (size_t k = 0; k < TT_COUNT(packers); k++) {
        TT_BUF_AUTO tt_buf packed = {0};
        packers[k](&packed, tt_buf_view(&plain));
        write_file(path_of("one"), packed.ptr, packed.len);
        assert_source("one", 1 << 20, tt_buf_view(&plain));
        assert_source("one", 77777, tt_buf_view(&plain));
        tt_buf_clear(&packed);
        for (size_t at = 0, step = 1; at < plain.len; at += step, step = step * 3 % 100003) {
            packers[k](&packed, tt_str_slice(tt_buf_view(&plain), at, at + step));
            packers[k](&packed, (tt_str){"", 0});
        }
        write_file(path_of("many"), packed.ptr, packed.len);
        assert_source("many", 1 << 20, tt_buf_view(&plain));
        tt_buf_clear(&packed);
        packers[k](&packed, (tt_str){"", 0});
        write_file(path_of("none"), packed.ptr, packed.len);
        assert_source("none", 10, (tt_str){NULL, 0});
    }
}

Test(source, passes_over_padding_and_skippable_frames)
{
    TT_BUF_AUTO tt_buf gz = {0}, zst = {0};
    char zeros[1000] = {0};
    put_gzip(&gz, TT_STR("one,"));
    tt_buf_put(&gz, zeros, sizeof zeros);
    put_gzip(&gz, TT_STR("two"));
    tt_buf_put(&gz, zeros, sizeof zeros);
    write_file(path_of("padded"), gz.ptr, gz.len);
    assert_source("padded", 100, TT_STR("one,two"));
    tt_buf_put(&zst, "\x50\x2a\x4d\x18\x05\0\0\0skip!", 13);
    put_zstd(&zst, TT_STR("one,"));
    tt_buf_put(&zst, "\x5f\x2a\x4d\x18\0\0\0\0", 8);
    put_zstd(&zst, TT_STR("two"));
    write_file(path_of("skips"), zst.ptr, zst.len);
    assert_source("skips", 100, TT_STR("one,two"));
}

Test(source, refuses_what_is_cut_off)
{
    for (size_t k = 0; k < TT_COUNT(packers); k++) {
        TT_BUF_AUTO tt_buf packed = {0}, plain = sample(500);
        packers[k](&packed, tt_buf_view(&plain));
        size_t first = packed.len;
        packers[k](&packed, tt_buf_view(&plain));
        for (size_t len = TT_UNPACK_MAGIC; len < packed.len; len++) {
            TT_BUF_AUTO tt_buf have = {0};
            write_file(path_of("cut"), packed.ptr, len);
            tt_source *s = open_source("cut");
            tt_rc rc = read_all(s, 100, &have);
            uint64_t size;
            cr_assert(tt_source_is_packed(s));
            cr_assert_eq(rc, len == first ? TT_OK : TT_CORRUPT, "%zu of %zu bytes: %s", len, packed.len, err.text);
            cr_assert_eq(tt_source_size(s, &size), rc == TT_OK);
            cr_assert(have.len <= 1000 && memcmp(have.ptr ? have.ptr : "", plain.ptr, have.len < 500 ? have.len : 500) == 0);
            if (rc != TT_OK)
                cr_assert(strstr(err.text, "/cut'") && strstr(err.text, "at byte") && strstr(err.text, "cut off"), "%s", err.text);
            tt_source_close(s);
        }
    }
}

Test(source, never_gives_wrong_bytes_for_damaged_data)
{
    for (size_t k = 0; k < TT_COUNT(packers); k++) {
        TT_BUF_AUTO tt_buf packed = {0}, plain = sample(400);
        packers[k](&packed, tt_buf_view(&plain));
        unsigned refused = 0;
        for (size_t at = 0; at < packed.len; at++) {
            TT_BUF_AUTO tt_buf have = {0};
            packed.ptr[at] ^= 0x15;
            write_file(path_of("hurt"), packed.ptr, packed.len);
            packed.ptr[at] ^= 0x15;
            tt_source *s = open_source("hurt");
            tt_rc rc = read_all(s, 1000, &have);
            if (tt_source_is_packed(s)) {
                cr_assert(rc == TT_CORRUPT || rc == TT_TOO_LARGE || (rc == TT_OK && have.len == plain.len && memcmp(have.ptr, plain.ptr, have.len) == 0),
                    "byte %zu: %s", at, err.text);
                refused += rc != TT_OK;
            }
            tt_source_close(s);
        }
        cr_assert_gt(refused, packed.len / 2);
    }
    TT_BUF_AUTO tt_buf junk = {0};
    put_gzip(&junk, TT_STR("good"));
    size_t good_len = junk.len;
    tt_buf_cstr_put(&junk, "junk");
    write_file(path_of("junk"), junk.ptr, junk.len);
    tt_source *s = open_source("junk");
    char buf[16], wanted[64];
    size_t len = 0;
    cr_assert_eq(tt_source_read_at(s, 0, buf, 4, &len, &err), TT_OK, "what comes before the damage can be read");
    cr_assert(len == 4 && memcmp(buf, "good", 4) == 0);
    cr_assert_eq(tt_source_read_at(s, 0, buf, 5, &len, &err), TT_CORRUPT);
    cr_assert_eq(tt_source_read_at(s, 4, buf, 1, &len, &err), TT_CORRUPT, "and it stays known");
    snprintf(wanted, sizeof wanted, "at byte %zu, behind 4 unpacked", good_len);
    cr_assert(strstr(err.text, "at byte") && strstr(err.text, "behind 4 unpacked"), "%s, not %s", err.text, wanted);
    tt_source_close(s);
}

Test(source, bounds_what_a_file_may_ask_for)
{
    static const char window[] = "\x28\xb5\x2f\xfd\x00\x90\x01\0\0"; /* a window of 2^28 */
    write_file(path_of("wide"), window, 9);
    tt_source *s = open_source("wide");
    char buf[16];
    size_t len;
    cr_assert_eq(tt_source_read_at(s, 0, buf, 16, &len, &err), TT_TOO_LARGE, "%s", err.text);
    tt_source_close(s);
    /* A frame of the format of 2015 behind a good one. */
    TT_BUF_AUTO tt_buf old = {0};
    put_zstd(&old, TT_STR("good"));
    tt_buf_put(&old, "\x26\xb5\x2f\xfd\xa1\x01\0\0", 8);
    write_file(path_of("old"), old.ptr, old.len);
    s = open_source("old");
    cr_assert_eq(tt_source_read_at(s, 0, buf, 16, &len, &err), TT_CORRUPT);
    cr_assert(strstr(err.text, "no frame begins here"), "%s", err.text);
    tt_source_close(s);
    /* 200 MB of zeros in 200 KB: asked for little, little is unpacked. */
    tt_buf zeros = {0}, packed = {0};
    cr_assert(tt_buf_reserve(&zeros, 200u << 20));
    memset(zeros.ptr, 0, zeros.len = 200u << 20);
    put_gzip(&packed, tt_buf_view(&zeros));
    tt_buf_deinit(&zeros);
    write_file(path_of("bomb"), packed.ptr, packed.len);
    tt_buf_deinit(&packed);
    cr_assert_eq(tt_sys_fault_arm("pwrite:3:ENOSPC,pwrite:4+:EIO", NULL), TT_OK);
    s = open_source("bomb");
    cr_assert_eq(tt_source_read_at(s, 0, buf, 16, &len, &err), TT_OK, "%s", err.text);
    uint64_t size;
    cr_assert(!tt_source_size(s, &size));
    cr_assert_eq(tt_sys_fault_calls("pwrite"), 1);
    cr_assert_eq(tt_source_read_at(s, 190u << 20, buf, 16, &len, &err), TT_NOSPACE, "%s", err.text);
    tt_source_close(s);
}

Test(source, goes_on_after_a_full_disk)
{
    TT_BUF_AUTO tt_buf plain = sample(2 << 20);
    for (size_t k = 0; k < TT_COUNT(packers); k++) {
        TT_BUF_AUTO tt_buf packed = {0};
        packers[k](&packed, tt_buf_view(&plain));
        write_file(path_of("packed"), packed.ptr, packed.len);
        static const char *const faults[] = {"pwrite:2:ENOSPC", "pwrite:3:short", "pwrite:5:EIO,pwrite:6:ENOSPC", "pread:3:EIO", "pread:2:EIO,pwrite:1:short,pwrite:2:ENOSPC"};
        for (size_t i = 0; i < TT_COUNT(faults); i++) {
            TT_BUF_AUTO tt_buf have = {0};
            cr_assert_eq(tt_sys_fault_arm(faults[i], NULL), TT_OK);
            tt_source *s = open_source("packed");
            unsigned failures = 0;
            while (read_all(s, 100000, &have) != TT_OK)
                cr_assert_lt(++failures, 5, "%s", err.text);
            cr_assert_gt(tt_sys_fault_hits(), 0);
            cr_assert(failures > 0 || i == 1);
            cr_assert(have.len == plain.len && memcmp(have.ptr, plain.ptr, have.len) == 0);
            tt_source_close(s);
        }
    }
}

static int (*plain_open)(const char *path, int flags, mode_t mode);
static int open_without_tmpfile(const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return plain_open(path, flags, mode);
}

static int count_spools(void)
{
    tt_roots *here = NULL;
    tt_paths found = {0};
    tt_str dir = tt_str_of(base);
    cr_assert_eq(tt_roots_new(&dir, 1, &here, &err), TT_OK);
    (void)!tt_roots_glob(here, TT_STR("*"), &found, &err);
    int count = (int)found.len;
    tt_paths_deinit(&found);
    tt_roots_free(here);
    return count;
}

Test(source, leaves_no_spool_files)
{
    TT_BUF_AUTO tt_buf packed = {0};
    put_gzip(&packed, TT_STR("hello"));
    write_file(path_of("x.gz"), packed.ptr, packed.len);
    tt_source *s = NULL;
    plain_open = tt_sys.open;
    for (int i = 0; i < 2; i++) {
        assert_source("x.gz", 100, TT_STR("hello"));
        s = open_source("x.gz");
        cr_assert_eq(count_spools(), 0);
        tt_source_close(s);
        tt_sys.open = open_without_tmpfile;
    }
    cr_assert_eq(tt_source_open(roots, TT_STR("x.gz"), path_of("no/such"), &s, &err), TT_NOT_FOUND);
    cr_assert(strstr(err.text, "no/such"));
    tt_sys.open = plain_open;
    cr_assert_eq(tt_sys_fault_arm("malloc:1:ENOMEM", NULL), TT_OK);
    cr_assert_eq(tt_source_open(roots, TT_STR("x.gz"), base, &s, &err), TT_NOMEM, "%s", err.text);
}

typedef struct {
    tt_source *source;
    tt_str plain;
    uint64_t seed;
    unsigned wrong;
} reading;

static void *read_randomly(void *arg)
{
    reading *r = arg;
    char *buf = malloc(200000);
    for (int i = 0; i < 200; i++) {
        r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
        size_t reach = r->plain.len / 200 * (size_t)(i + 1), at = (r->seed >> 20) % reach, cap = (r->seed >> 40) % 200000, len = 0;
        size_t wanted = r->plain.len - at < cap ? r->plain.len - at : cap;
        if (tt_source_read_at(r->source, at, buf, cap, &len, NULL) != TT_OK || len != wanted || memcmp(buf, r->plain.ptr + at, len) != 0)
            r->wrong++;
    }
    free(buf);
    return NULL;
}

Test(source, serves_several_threads_at_once)
{
    TT_BUF_AUTO tt_buf plain = sample(8 << 20);
    for (size_t k = 0; k < TT_COUNT(packers); k++) {
        TT_BUF_AUTO tt_buf packed = {0};
        packers[k](&packed, tt_buf_view(&plain));
        write_file(path_of("packed"), packed.ptr, packed.len);
        tt_source *s = open_source("packed");
        pthread_t threads[4];
        reading readings[4];
        for (size_t i = 0; i < 4; i++) {
            readings[i] = (reading){.source = s, .plain = tt_buf_view(&plain), .seed = i + 1};
            cr_assert_eq(pthread_create(&threads[i], NULL, read_randomly, &readings[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            cr_assert_eq(readings[i].wrong, 0);
        }
        tt_source_close(s);
    }
}

static tt_fingerprint fingerprint(const char *name)
{
    tt_fingerprint f = {0};
    tt_source *s = open_source(name);
    cr_assert_eq(tt_source_fingerprint(s, &f, &err), TT_OK);
    tt_source_close(s);
    return f;
}

Test(source, notices_changed_inputs)
{
    TT_BUF_AUTO tt_buf b = sample(300000);
    const char *path = path_of("in.jsonl");
    static const struct { size_t at, len; tt_rc rc; const char *word; } edits[] = {
        {0, 300000, TT_CONFLICT, "beginning"}, {65535, 300000, TT_CONFLICT, "beginning"}, {299999, 300000, TT_CONFLICT, "end"},
        {300000 - 65536, 300000, TT_CONFLICT, "end"}, {300000, 300001, TT_CONFLICT, "300001"}, {300000, 299999, TT_CONFLICT, "299999"},
        {300000, 300000, TT_OK, NULL},
    };
    write_file(path, b.ptr, b.len);
    tt_fingerprint recorded = fingerprint("in.jsonl");
    cr_assert_eq(recorded.size_bytes, 300000);
    for (size_t i = 0; i < TT_COUNT(edits); i++) {
        char edited[300002];
        memcpy(edited, b.ptr, b.len);
        edited[300000] = '\n';
        if (edits[i].at < 300000)
            edited[edits[i].at] ^= 1;
        write_file(path, edited, edits[i].len);
        tt_fingerprint now = fingerprint("in.jsonl");
        cr_assert_eq(tt_fingerprint_check(path, &recorded, &now, &err), edits[i].rc, "edit %zu", i);
        cr_assert(!edits[i].word || (strstr(err.text, edits[i].word) && strstr(err.text, path)), "%s", err.text);
    }
    /* mtime alone */
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 7}};
    tt_source *s = open_source("in.jsonl");
    cr_assert_eq(tt_source_fingerprint(s, &recorded, &err), TT_OK);
    cr_assert_eq(tt_source_unchanged(s, &recorded, &err), TT_OK);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    tt_fingerprint touched = fingerprint("in.jsonl");
    cr_assert_eq(touched.mtime_ns, 1000000000007);
    cr_assert_eq(tt_fingerprint_check(path, &recorded, &touched, &err), TT_OK);
    cr_assert_eq(tt_source_unchanged(s, &recorded, &err), TT_CONFLICT);
    cr_assert_eq(tt_source_unchanged(s, &touched, &err), TT_OK);
    append_text(path, "x");
    cr_assert_eq(tt_source_unchanged(s, &touched, &err), TT_CONFLICT);
    tt_source_close(s);
    write_text(path, "");
    cr_assert_eq(fingerprint("in.jsonl").size_bytes, 0);
}

static tt_fingerprint whole(tt_source *s, uint64_t budget)
{
    tt_fingerprint f = {0};
    for (bool done = false; !done;)
        cr_assert_eq(tt_source_hash_step(s, budget, &done, &f, &err), TT_OK, "%s", err.text);
    return f;
}

Test(source, hashes_what_is_read_anyway)
{
    TT_BUF_AUTO tt_buf b = sample(3000000);
    char piece[70000];
    size_t len;
    bool done = false;
    tt_fingerprint f;
    write_file(path_of("in.jsonl"), b.ptr, b.len);
    uint64_t wanted = XXH3_64bits(b.ptr, b.len);
    tt_source *s = open_source("in.jsonl");
    cr_assert_eq(whole(s, 100000).whole_hash, wanted, "nobody read anything");
    tt_source_hash_reads(s);
    for (uint64_t at = 0; at < b.len; at += 60000) { /* with overlaps, and a look back */
        cr_assert_eq(tt_source_read_at(s, at, piece, sizeof piece, &len, &err), TT_OK);
        cr_assert_eq(tt_source_read_at(s, at / 2, piece, 100, &len, &err), TT_OK);
    }
    cr_assert_eq(tt_sys_fault_arm("pread:2+:EIO", NULL), TT_OK); /* the one read that finds the end; the fingerprint's own fail */
    cr_assert_neq(tt_source_hash_step(s, 0, &done, &f, &err), TT_OK);
    cr_assert(done, "all of it had passed by");
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    tt_source_hash_reads(s);
    cr_assert_eq(tt_source_read_at(s, 0, piece, sizeof piece, &len, &err), TT_OK);
    cr_assert_eq(tt_source_read_at(s, 200000, piece, sizeof piece, &len, &err), TT_OK); /* a gap */
    f = whole(s, 1 << 20);
    cr_assert(f.whole_hash == wanted && f.size_bytes == b.len);
    tt_source_close(s);
}

/* --- append --- */

TestSuite(append, .init = setup, .fini = teardown, .timeout = 60);

static tt_append *create(const char *name, tt_append_mode mode)
{
    tt_append *a = NULL;
    cr_assert_eq(tt_append_create(roots, tt_str_of(name), mode, &a, &err), TT_OK, "%s", err.text);
    return a;
}

static void put(tt_append *a, const char *text) { tt_append_put(a, text, strlen(text)); }

static tt_append_mark flush(tt_append *a)
{
    tt_append_mark mark = {0};
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), TT_OK, "%s", err.text);
    return mark;
}

static void assert_flush_fails(tt_append *a, tt_rc rc, const char *word)
{
    tt_append_mark mark;
    memset(&err, 0, sizeof err);
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), rc, "%s", err.text);
    cr_assert(strstr(err.text, word) && strstr(err.text, "/out'"), "%s", err.text);
}

static uint64_t hash_of_tail(tt_str s) { return XXH3_64bits(s.ptr + (s.len > 4096 ? s.len - 4096 : 0), s.len < 4096 ? s.len : 4096); }

static ino_t inode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

Test(append, commits_what_was_put)
{
    tt_append *a = create("out", TT_APPEND_KEEP);
    const char *path = path_of("out");
    cr_assert_str_eq(tt_append_path(a), path);
    uint64_t dev, ino;
    tt_append_id(a, &dev, &ino);
    cr_assert_eq(ino, inode_of(path));
    put(a, "one\n");
    put(a, "");
    put(a, "two\n");
    cr_assert_eq(tt_append_staged(a), 8);
    cr_assert_eq(tt_append_length(a), 0);
    assert_text(path, "");
    tt_append_mark mark = flush(a);
    assert_text(path, "one\ntwo\n");
    cr_assert_eq(mark.length_bytes, 8);
    cr_assert_eq(mark.tail_hash, hash_of_tail(TT_STR("one\ntwo\n")));
    cr_assert_eq(tt_append_length(a), 0, "not before the ledger has it");
    put(a, "more\n");
    mark = flush(a);
    cr_assert_eq(mark.length_bytes, 13);
    tt_append_commit(a);
    cr_assert_eq(tt_append_length(a), 13);
    cr_assert_eq(tt_append_staged(a), 0);
    tt_append_commit(a);
    put(a, "lost\n");
    tt_append_close(a);
    assert_text(path, "one\ntwo\nmore\n");
    tt_append_close(NULL);
}

Test(append, leaves_what_may_have_been_committed_until_it_writes_again)
{
    static char large[2 << 20];
    tt_append *a = create("out", TT_APPEND_KEEP);
    const char *path = path_of("out");
    tt_append_mark mark;
    put(a, "one\n");
    flush(a);
    tt_append_commit(a);
    put(a, "perhaps\n");
    mark = flush(a);
    tt_append_leave(a);
    assert_text(path, "one\nperhaps\n");
    tt_append_put(a, large, sizeof large);
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), TT_UNAVAILABLE, "nothing is written before the cut");
    tt_append_leave(a);
    tt_append_close(a);
    assert_text(path, "one\nperhaps\n");
    mark.length_bytes = 4;
    mark.tail_hash = hash_of_tail(TT_STR("one\n"));
    cr_assert_eq(tt_append_resume(roots, TT_STR("out"), &mark, &a, &err), TT_OK);
    put(a, "two\n");
    flush(a);
    tt_append_leave(a);
    put(a, "three\n");
    flush(a);
    tt_append_commit(a);
    assert_text(path, "one\nthree\n");
    tt_append_close(a);
}

Test(append, does_no_io_without_staged_bytes)
{
    tt_append *a = create("out", TT_APPEND_KEEP);
    put(a, "x\n");
    tt_append_mark first = flush(a);
    tt_append_commit(a);
    cr_assert_eq(tt_sys_fault_arm("pwrite:1+:EIO,fdatasync:1+:EIO,fsync:1+:EIO,ftruncate:1+:EIO,pread:1+:EIO", NULL), TT_OK);
    tt_append_mark again = flush(a);
    cr_assert(again.length_bytes == first.length_bytes && again.tail_hash == first.tail_hash);
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    put(a, "y\n");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK, "buffered bytes are only forgotten");
    cr_assert_eq(tt_sys_fault_hits(), 0);
    cr_assert_eq(tt_sys_fault_arm("fsync:9:EIO", NULL), TT_OK);
    for (int i = 0; i < 1000; i++)
        put(a, "200 bytes\n");
    flush(a);
    cr_assert_eq(tt_sys_fault_calls("pwrite"), 1);
    cr_assert_eq(tt_sys_fault_calls("fdatasync"), 1);
    flush(a);
    cr_assert_eq(tt_sys_fault_calls("fdatasync"), 1);
    tt_append_commit(a);
    put(a, "z\n");
    tt_append_mark mark;
    cr_assert_eq(tt_append_flush(a, false, &mark, &err), TT_OK);
    tt_append_commit(a);
    cr_assert_eq(tt_sys_fault_calls("fdatasync"), 1);
    flush(a);
    cr_assert_eq(tt_sys_fault_calls("fdatasync"), 2, "what was not synced is synced when asked for");
    cr_assert_eq(tt_sys_fault_calls("pread"), 0);
    tt_append_close(a);
}

Test(append, opens_new_outputs)
{
    const char *path = path_of("out");
    write_text(path, "old line\nhalf");
    tt_append *a = create("out", TT_APPEND_KEEP);
    cr_assert_eq(tt_append_length(a), 14);
    assert_text(path, "old line\nhalf\n");
    put(a, "new\n");
    tt_append_mark mark = flush(a);
    cr_assert_eq(mark.tail_hash, hash_of_tail(TT_STR("old line\nhalf\nnew\n")));
    tt_append_close(a);
    assert_text(path, "old line\nhalf\n");
    a = create("out", TT_APPEND_KEEP);
    tt_append_close(a);
    assert_text(path, "old line\nhalf\n");
    ino_t ino = inode_of(path);
    a = create("out", TT_APPEND_TRUNCATE);
    cr_assert_eq(tt_append_length(a), 0);
    cr_assert_eq(flush(a).length_bytes, 0);
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    tt_append_close(a);
    assert_text(path, "old line\nhalf\n"); /* not before the ledger knows */
    a = create("out", TT_APPEND_TRUNCATE);
    tt_append_commit(a);
    assert_text(path, "");
    tt_append_close(a);
    cr_assert_eq(inode_of(path), ino);
    umask(027);
    tt_append_close(create("fresh", TT_APPEND_TRUNCATE));
    struct stat st;
    cr_assert_eq(stat(path_of("fresh"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0640);
    static const struct { const char *path; tt_rc rc; } bad[] = {
        {"../out", TT_DENIED}, {"/etc/tutti-out", TT_DENIED}, {"no/out", TT_NOT_FOUND}, {"", TT_INVALID}, {".", TT_INVALID}, {"sub/", TT_INVALID},
    };
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_append_create(roots, tt_str_of(bad[i].path), TT_APPEND_KEEP, &a, &err), bad[i].rc, "%s: %s", bad[i].path, err.text);
}

Test(append, has_one_owner)
{
    tt_append *a = create("out", TT_APPEND_KEEP), *b = NULL;
    const tt_append_mark nothing = {0, hash_of_tail(TT_STR(""))};
    cr_assert_eq(symlink("out", path_of("alias")), 0);
    cr_assert_eq(link(path_of("out"), path_of("hard")), 0);
    static const char *const spellings[] = {"out", "./out", "alias", "hard"};
    for (size_t i = 0; i < TT_COUNT(spellings); i++) {
        cr_assert_eq(tt_append_create(roots, tt_str_of(spellings[i]), TT_APPEND_TRUNCATE, &b, &err), TT_LOCKED, "%s", err.text);
        cr_assert_eq(tt_append_resume(roots, tt_str_of(spellings[i]), &nothing, &b, &err), TT_LOCKED);
    }
    put(a, "kept\n");
    flush(a);
    tt_append_commit(a);
    assert_text(path_of("out"), "kept\n");
    tt_append_close(a);
    b = create("alias", TT_APPEND_KEEP);
    cr_assert_str_eq(tt_append_path(b), path_of("out"));
    tt_append_close(b);
}

static tt_rc resume(tt_append_mark mark, tt_append **ret)
{
    *ret = NULL;
    return tt_append_resume(roots, TT_STR("out"), &mark, ret, &err);
}

Test(append, resumes_the_same_file_only)
{
    const char *path = path_of("out");
    static const size_t lengths[] = {1, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < TT_COUNT(lengths); i++) {
        TT_BUF_AUTO tt_buf text = sample(lengths[i]);
        tt_append_mark mark = {text.len, hash_of_tail(tt_buf_view(&text))}, after;
        tt_append *a;
        write_file(path, text.ptr, text.len);
        cr_assert_eq(resume(mark, &a), TT_OK, "%s", err.text);
        cr_assert_eq(tt_append_length(a), text.len);
        after = flush(a);
        cr_assert(after.length_bytes == mark.length_bytes && after.tail_hash == mark.tail_hash);
        tt_append_close(a);
        /* longer: cut */
        append_text(path, "torn {\"half");
        cr_assert_eq(resume(mark, &a), TT_OK, "%s", err.text);
        assert_content(path, tt_buf_view(&text));
        put(a, "next\n");
        after = flush(a);
        tt_append_commit(a);
        tt_append_close(a);
        keep(&text, "next\n", 5);
        cr_assert_eq(after.tail_hash, hash_of_tail(tt_buf_view(&text)));
        assert_content(path, tt_buf_view(&text));
        /* shorter, changed at the end, at the first byte of the tail: refused, and nothing is changed */
        mark = after;
        write_file(path, text.ptr, text.len - 1);
        cr_assert_eq(resume(mark, &a), TT_CONFLICT);
        assert_content(path, (tt_str){text.ptr, text.len - 1});
        size_t spots[] = {text.len - 1, text.len > 4096 ? text.len - 4096 : 0};
        for (size_t k = 0; k < 2; k++) {
            text.ptr[spots[k]] ^= 1;
            write_file(path, text.ptr, text.len);
            append_text(path, "tail");
            text.ptr[spots[k]] ^= 1;
            cr_assert_eq(resume(mark, &a), TT_CONFLICT);
            struct stat st;
            cr_assert(stat(path, &st) == 0 && (size_t)st.st_size == text.len + 4);
        }
        cr_assert_null(a);
    }
}

Test(append, resumes_missing_files_only_when_they_were_empty)
{
    tt_append *a;
    const tt_append_mark nothing = {0, hash_of_tail(TT_STR(""))}, some = {5, 1};
    cr_assert_eq(resume(some, &a), TT_CONFLICT);
    cr_assert(strstr(err.text, "missing"), "%s", err.text);
    cr_assert_neq(access(path_of("out"), F_OK), 0);
    cr_assert_eq(resume(nothing, &a), TT_OK, "%s", err.text);
    put(a, "x\n");
    flush(a);
    tt_append_close(a);
    write_text(path_of("out"), "never committed");
    cr_assert_eq(resume(nothing, &a), TT_OK);
    assert_text(path_of("out"), "");
    tt_append_close(a);
    write_text(path_of("out"), "never committed");
    cr_assert_eq(tt_sys_fault_arm("ftruncate:1:EIO", NULL), TT_OK);
    cr_assert_eq(resume(nothing, &a), TT_IO);
    cr_assert_eq(tt_sys_fault_arm("pread:1+:EIO", NULL), TT_OK);
    cr_assert_eq(resume(some, &a), TT_IO);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    cr_assert_eq(resume(nothing, &a), TT_OK, "no lock is left behind");
    tt_append_close(a);
}

static tt_append *with_one_line(void)
{
    tt_append *a = create("out", TT_APPEND_TRUNCATE);
    put(a, "line\n");
    flush(a);
    tt_append_commit(a);
    return a;
}

Test(append, notices_strangers)
{
    const char *path = path_of("out"), *other = path_of("other");
    tt_append *a = with_one_line();
    append_text(path, "stranger\n");
    put(a, "mine\n");
    assert_flush_fails(a, TT_CONFLICT, "appended");
    assert_flush_fails(a, TT_CONFLICT, "appended");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK, "none of our bytes are in it");
    assert_text(path, "line\nstranger\n");
    cr_assert_eq(truncate(path, 3), 0);
    put(a, "mine\n");
    assert_flush_fails(a, TT_CONFLICT, "cut");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    assert_text(path, "lin");
    write_text(path, "line\n");
    put(a, "mine\n");
    flush(a);
    append_text(path, "stranger\n");
    cr_assert_eq(tt_append_rollback(a, &err), TT_CONFLICT, "the stranger's bytes are not ours to cut");
    assert_text(path, "line\nmine\nstranger\n");
    put(a, "again\n");
    assert_flush_fails(a, TT_CONFLICT, "changed");
    cr_assert_eq(tt_append_rollback(a, &err), TT_CONFLICT);
    write_text(path, "line\n");
    put(a, "again\n");
    flush(a);
    tt_append_commit(a);
    assert_text(path, "line\nagain\n");
    /* moved, then another file in its place, then deleted */
    cr_assert_eq(rename(path, other), 0);
    put(a, "1\n");
    assert_flush_fails(a, TT_CONFLICT, "moved");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    write_text(path, "line\nagain\n");
    put(a, "2\n");
    assert_flush_fails(a, TT_CONFLICT, "replaced");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    cr_assert_eq(rename(other, path), 0);
    put(a, "3\n");
    flush(a);
    tt_append_commit(a);
    assert_text(path, "line\nagain\n3\n");
    cr_assert_eq(unlink(path), 0);
    put(a, "4\n");
    assert_flush_fails(a, TT_CONFLICT, "deleted");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    tt_append_close(a);
    cr_assert_neq(access(path, F_OK), 0);
    /* while bytes of ours are written but not flushed */
    cr_assert_eq(tt_sys_fault_arm("realloc:1+:ENOMEM", NULL), TT_OK); /* no buffer */
    a = with_one_line();
    put(a, "mine\n");
    append_text(path, "stranger\n");
    assert_text(path, "line\nmine\nstranger\n");
    assert_flush_fails(a, TT_CONFLICT, "appended");
    tt_append_close(a);
}

Test(append, keeps_memory_bounded)
{
    tt_append *a = create("out", TT_APPEND_KEEP);
    TT_BUF_AUTO tt_buf big = sample(5u << 20), all = {0};
    cr_assert_eq(tt_sys_fault_arm("pwrite:1000:EIO,realloc:100:ENOMEM", NULL), TT_OK);
    static const size_t pieces[] = {200, 1 << 20, 100, (1 << 20) + 1, 5u << 20, 1, (1 << 20) - 1, 200000, 3u << 20, 7};
    for (size_t i = 0; i < TT_COUNT(pieces); i++) {
        tt_append_put(a, big.ptr, pieces[i]);
        keep(&all, big.ptr, pieces[i]);
        struct stat st;
        cr_assert_eq(stat(tt_append_path(a), &st), 0);
        cr_assert_leq(all.len - (size_t)st.st_size, 1u << 20);
    }
    cr_assert_eq(tt_append_staged(a), all.len);
    tt_append_mark mark = flush(a);
    tt_append_commit(a);
    cr_assert_eq(mark.length_bytes, all.len);
    cr_assert_eq(mark.tail_hash, hash_of_tail(tt_buf_view(&all)));
    assert_content(tt_append_path(a), tt_buf_view(&all));
    tt_append_close(a);
    /* Without memory for a buffer everything is written through. */
    cr_assert_eq(tt_sys_fault_arm("realloc:1+:ENOMEM", NULL), TT_OK);
    a = create("out", TT_APPEND_TRUNCATE);
    put(a, "one ");
    put(a, "two");
    mark = flush(a);
    cr_assert_eq(mark.tail_hash, hash_of_tail(TT_STR("one two")));
    tt_append_commit(a);
    assert_text(tt_append_path(a), "one two");
    tt_append_close(a);
}

Test(append, tail_hash_needs_no_reads)
{
    tt_append *a = create("out", TT_APPEND_KEEP);
    TT_BUF_AUTO tt_buf all = {0};
    for (int i = 0; i < 300; i++) {
        TT_BUF_AUTO tt_buf piece = sample(next_random() % 3 == 0 ? next_random() % 9000 : next_random() % 300 + 1);
        tt_append_put(a, piece.ptr, piece.len);
        if (i % 5 == 1) {
            flush(a);
            cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
            continue;
        }
        keep(&all, piece.ptr, piece.len);
        cr_assert_eq(flush(a).tail_hash, hash_of_tail(tt_buf_view(&all)), "round %d", i);
        tt_append_commit(a);
    }
    assert_content(tt_append_path(a), tt_buf_view(&all));
    tt_append_close(a);
}

/* Three commits, of which the N-th call of a row fails: after the rollback the file has exactly the committed bytes, and the
 * failed part can be put again. */
static void run_with_fault(const char *fault, uint64_t *ret_hits)
{
    static const size_t sizes[] = {10, 2500000, 300};
    TT_BUF_AUTO tt_buf committed = {0};
    tt_append *a = create("out", TT_APPEND_TRUNCATE);
    tt_append_commit(a);
    cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
    for (size_t i = 0; i < TT_COUNT(sizes); i++) {
        TT_BUF_AUTO tt_buf piece = sample(sizes[i]);
        tt_append_mark mark;
        for (unsigned tries = 0;; tries++) {
            cr_assert_lt(tries, 4, "%s: %s", fault, err.text);
            for (size_t at = 0; at < piece.len; at += 150000)
                tt_append_put(a, piece.ptr + at, piece.len - at < 150000 ? piece.len - at : 150000);
            if (tt_append_flush(a, true, &mark, &err) == TT_OK)
                break;
            cr_assert(err.code == TT_IO || err.code == TT_NOSPACE, "%s: %s", fault, err.text);
            if (tt_append_rollback(a, &err) == TT_OK)
                assert_content(tt_append_path(a), tt_buf_view(&committed));
            cr_assert_eq(tt_append_staged(a), 0);
        }
        tt_append_commit(a);
        keep(&committed, piece.ptr, piece.len);
        cr_assert_eq(mark.length_bytes, committed.len);
        cr_assert_eq(mark.tail_hash, hash_of_tail(tt_buf_view(&committed)));
        assert_content(tt_append_path(a), tt_buf_view(&committed));
    }
    *ret_hits = tt_sys_fault_hits();
    tt_append_close(a);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
}

Test(append, survives_each_failing_call)
{
    static const char *const faults[] = {
        "pwrite:%u:EIO", "pwrite:%u:ENOSPC", "pwrite:%u:EDQUOT", "pwrite:%u:short", "fdatasync:%u:EIO", "fdatasync:%u:ENOSPC",
        "pwrite:%u:EIO,ftruncate:1:EIO", "fdatasync:%u:EIO,ftruncate:1:EIO,ftruncate:2:EIO", "realloc:%u:ENOMEM",
    };
    for (size_t i = 0; i < TT_COUNT(faults); i++) {
        uint64_t hits = 1;
        unsigned n = 0;
        while (hits) {
            char text[128];
            const char *at = strstr(faults[i], "%u");
            n++;
            snprintf(text, sizeof text, "%.*s%u%s", (int)(at - faults[i]), faults[i], n, at + 2);
            run_with_fault(text, &hits);
        }
        cr_assert_gt(n, 3, "%s struck too seldom", faults[i]);
    }
}

Test(append, tries_a_failed_cut_first)
{
    tt_append *a = with_one_line();
    put(a, "gone\n");
    flush(a);
    cr_assert_eq(tt_sys_fault_arm("ftruncate:1:EIO,ftruncate:2:EIO", NULL), TT_OK);
    cr_assert_eq(tt_append_rollback(a, &err), TT_IO);
    assert_text(path_of("out"), "line\ngone\n");
    put(a, "x");
    tt_append_mark mark;
    cr_assert_eq(tt_append_flush(a, true, &mark, &err), TT_IO);
    cr_assert_eq(tt_sys_fault_calls("pwrite"), 0, "nothing is written over bytes that should be gone");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    assert_text(path_of("out"), "line\n");
    put(a, "gone again\n");
    flush(a);
    cr_assert_eq(tt_sys_fault_arm("ftruncate:1:EIO", NULL), TT_OK);
    cr_assert_eq(tt_append_rollback(a, &err), TT_IO);
    flush(a);
    assert_text(path_of("out"), "line\n");
    put(a, "next\n");
    flush(a);
    tt_append_commit(a);
    assert_text(path_of("out"), "line\nnext\n");
    tt_append_close(a);
}

Test(append, reports_a_full_disk)
{
    tt_append *a = with_one_line();
    TT_BUF_AUTO tt_buf big = sample(3u << 20);
    cr_assert_eq(tt_sys_fault_arm("pwrite:2:short,pwrite:3+:ENOSPC", NULL), TT_OK);
    tt_append_put(a, big.ptr, big.len);
    tt_append_put(a, big.ptr, big.len);
    cr_assert_leq(tt_sys_fault_calls("pwrite"), 3, "nothing is written behind a failure");
    assert_flush_fails(a, TT_NOSPACE, "No space left");
    cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
    assert_text(path_of("out"), "line\n");
    tt_append_close(a);
}

Test(append, puts_generations_aside)
{
    tt_append *a = with_one_line();
    char *old = NULL;
    uint64_t dev, ino;
    write_text(path_of("out.1"), "somebody's");
    put(a, "staged\n");
    flush(a);
    cr_assert_eq(tt_append_new_generation(a, &old, &err), TT_OK, "%s", err.text);
    cr_assert_str_eq(old, path_of("out.2"));
    free(old);
    assert_text(path_of("out.1"), "somebody's");
    assert_text(path_of("out.2"), "line\n");
    assert_text(path_of("out"), "");
    cr_assert_eq(tt_append_length(a), 0);
    tt_append_id(a, &dev, &ino);
    cr_assert_eq(ino, inode_of(path_of("out")));
    tt_append *b = NULL;
    cr_assert_eq(tt_append_create(roots, TT_STR("out"), TT_APPEND_KEEP, &b, &err), TT_LOCKED);
    put(a, "second\n");
    cr_assert_eq(flush(a).tail_hash, hash_of_tail(TT_STR("second\n")));
    tt_append_commit(a);
    cr_assert_eq(tt_append_new_generation(a, &old, &err), TT_OK);
    cr_assert_str_eq(old, path_of("out.3"));
    free(old);
    cr_assert_eq(unlink(path_of("out")), 0);
    cr_assert_eq(tt_append_new_generation(a, &old, &err), TT_OK);
    cr_assert_null(old);
    assert_text(path_of("out"), "");
    cr_assert_eq(unlink(path_of("out")), 0);
    write_text(path_of("out"), "other");
    cr_assert_eq(tt_append_new_generation(a, &old, &err), TT_CONFLICT);
    assert_text(path_of("out"), "other");
    tt_append_close(a);
}

Test(append, keeps_the_file_when_no_new_one_can_be_made)
{
    static const char *const calls[] = {"open", "rename", "fsync", "fdatasync", "ftruncate"};
    unsigned failures = 0;
    for (size_t i = 0; i < TT_COUNT(calls); i++)
        for (unsigned n = 1; n < 8; n++) {
            char fault[64], *old = NULL;
            tt_append *a = with_one_line();
            put(a, "staged\n");
            flush(a);
            snprintf(fault, sizeof fault, "%s:%u:EIO", calls[i], n);
            cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
            tt_rc rc = tt_append_new_generation(a, &old, &err);
            uint64_t hits = tt_sys_fault_hits();
            cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
            cr_assert_eq(rc, hits ? TT_IO : TT_OK, "%s", fault);
            failures += rc != TT_OK;
            cr_assert_eq(tt_append_rollback(a, &err), TT_OK);
            assert_text(path_of("out"), rc == TT_OK ? "" : "line\n");
            put(a, "next\n");
            flush(a);
            tt_append_commit(a);
            assert_text(path_of("out"), rc == TT_OK ? "next\n" : "line\nnext\n");
            cr_assert_eq(access(path_of("out.1"), F_OK) == 0, rc == TT_OK, "%s", fault);
            cr_assert_eq(tt_append_remove(a, &err), TT_OK);
            unlink(path_of("out.1"));
            free(old);
        }
    cr_assert_geq(failures, 5);
}

Test(append, removes_its_file_only)
{
    tt_append *a = with_one_line();
    put(a, "staged");
    cr_assert_eq(tt_append_remove(a, &err), TT_OK);
    cr_assert_neq(access(path_of("out"), F_OK), 0);
    a = with_one_line();
    cr_assert_eq(unlink(path_of("out")), 0);
    cr_assert_eq(tt_append_remove(a, &err), TT_OK, "missing is fine");
    a = with_one_line();
    cr_assert_eq(unlink(path_of("out")), 0);
    write_text(path_of("out"), "other");
    cr_assert_eq(tt_append_remove(a, &err), TT_CONFLICT);
    assert_text(path_of("out"), "other");
    a = with_one_line();
    cr_assert_eq(tt_sys_fault_arm("unlink:1:EIO", NULL), TT_OK);
    cr_assert_eq(tt_append_remove(a, &err), TT_IO);
    a = with_one_line();
    cr_assert_eq(tt_sys_fault_arm("fsync:1:EIO", NULL), TT_OK);
    cr_assert_eq(tt_append_remove(a, &err), TT_IO);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    tt_append_close(with_one_line()); /* no lock is left */
}

Test(append, create_fails_cleanly)
{
    static const char *const calls[] = {"openat2", "open", "pread", "pwrite", "fsync", "fdatasync"};
    write_text(path_of("out"), "half");
    for (size_t i = 0; i < TT_COUNT(calls); i++) {
        uint64_t hits = 1;
        for (unsigned n = 1; hits; n++) {
            char fault[64];
            tt_append *a = NULL;
            snprintf(fault, sizeof fault, "%s:%u:EIO", calls[i], n);
            cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
            tt_rc rc = tt_append_create(roots, TT_STR("out"), TT_APPEND_KEEP, &a, &err);
            hits = tt_sys_fault_hits();
            cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
            cr_assert_eq(rc, hits ? TT_IO : TT_OK, "%s: %s", fault, err.text);
            cr_assert_eq(a != NULL, rc == TT_OK);
            tt_append_close(a);
            assert_text(path_of("out"), rc == TT_OK ? "half\n" : "half");
            write_text(path_of("out"), "half");
        }
    }
}

/* Any sequence of operations and faults against a model: the committed bytes. */
typedef struct {
    tt_append *a;
    tt_buf committed, staged;
    tt_append_mark mark; /* of committed */
} model;

static void arm_something(void)
{
    static const char *const faults[] = {"", "", "", "pwrite:1:EIO", "pwrite:1:short", "pwrite:2:ENOSPC", "fdatasync:1:EIO", "ftruncate:1:EIO", "pwrite:1:short,ftruncate:1:EIO", "realloc:1:ENOMEM"};
    cr_assert_eq(tt_sys_fault_arm(faults[next_random() % TT_COUNT(faults)], NULL), TT_OK);
}

static void model_put(model *m)
{
    static const size_t limits[] = {20, 300, 5000, 300000, 2500000};
    TT_BUF_AUTO tt_buf piece = sample(next_random() % limits[next_random() % TT_COUNT(limits)]);
    tt_append_put(m->a, piece.ptr, piece.len);
    keep(&m->staged, piece.ptr, piece.len);
    cr_assert_eq(tt_append_staged(m->a), m->staged.len);
}

static void model_flush(model *m, bool commit)
{
    tt_append_mark mark;
    if (tt_append_flush(m->a, next_random() % 4 != 0, &mark, &err) != TT_OK)
        return;
    TT_BUF_AUTO tt_buf all = {0};
    keep(&all, m->committed.ptr, m->committed.len);
    keep(&all, m->staged.ptr, m->staged.len);
    cr_assert_eq(mark.length_bytes, all.len);
    cr_assert_eq(mark.tail_hash, hash_of_tail(tt_buf_view(&all)));
    assert_content(tt_append_path(m->a), tt_buf_view(&all));
    if (!commit)
        return;
    tt_append_commit(m->a);
    keep(&m->committed, m->staged.ptr, m->staged.len);
    tt_buf_clear(&m->staged);
    m->mark = mark;
}

static void model_rollback(model *m)
{
    if (tt_append_rollback(m->a, &err) == TT_OK)
        assert_content(tt_append_path(m->a), tt_buf_view(&m->committed));
    tt_buf_clear(&m->staged);
}

/* As after a crash: whatever was written behind the mark is in the file. */
static void model_restart(model *m)
{
    TT_BUF_AUTO tt_buf left = read_file(path_of("out"));
    tt_append_close(m->a);
    cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
    write_file(path_of("out"), left.ptr, left.len);
    if (next_random() % 2)
        append_text(path_of("out"), "torn");
    cr_assert_eq(resume(m->mark, &m->a), TT_OK, "%s", err.text);
    assert_content(path_of("out"), tt_buf_view(&m->committed));
    tt_buf_clear(&m->staged);
}

Test(append, agrees_with_a_model)
{
    model m = {.a = create("out", TT_APPEND_KEEP), .mark = {0, hash_of_tail(TT_STR(""))}};
    for (int i = 0; i < 1500; i++) {
        unsigned dice = (unsigned)(next_random() % 20);
        arm_something();
        if (dice < 10)
            model_put(&m);
        else if (dice < 16)
            model_flush(&m, dice != 10);
        else if (dice < 19)
            model_rollback(&m);
        else
            model_restart(&m);
        cr_assert_eq(tt_append_length(m.a), m.committed.len);
        if (m.committed.len > 4u << 20) { /* start anew, to keep it fast */
            cr_assert_eq(tt_sys_fault_arm(NULL, NULL), TT_OK);
            char *old;
            if (tt_append_new_generation(m.a, &old, &err) != TT_OK)
                cr_assert_fail("%s", err.text);
            assert_content(old, tt_buf_view(&m.committed));
            cr_assert_eq(unlink(old), 0);
            free(old);
            tt_buf_clear(&m.committed);
            tt_buf_clear(&m.staged);
            m.mark = (tt_append_mark){0, hash_of_tail(TT_STR(""))};
        }
    }
    tt_append_close(m.a);
    tt_buf_deinit(&m.committed);
    tt_buf_deinit(&m.staged);
}
