#include "pipeline/revision.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "io/whole_file.h"

enum { WORDS_BYTES = 60 };

/* One more than the largest number that a file of the folder begins with. */
static unsigned next_number(const char *dir)
{
    unsigned largest = 0;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        uint64_t number;
        tt_str rest = tt_str_of(e->d_name), digits = {0};
        if (tt_str_cut(&rest, '_', &digits) && digits.len < 9 && tt_parse_u64(digits, &number, NULL) == TT_OK && number > largest)
            largest = (unsigned)number;
    }
    if (d)
        closedir(d);
    return largest + 1;
}

/* "Added a region!" -> "added_a_region" */
static void put_words(tt_buf *out, tt_str message)
{
    size_t start = out->len;
    bool gap = false;
    for (size_t i = 0; i < message.len && out->len - start < WORDS_BYTES; i++) {
        char c = message.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (word && gap && out->len > start)
            tt_buf_char(out, '_');
        if (word)
            tt_buf_char(out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
        gap = !word;
    }
}

/* In reverse order, so that what depends on something is gone before it. */
static void put_sections(tt_buf *out, tt_engine engine, const tt_drift *drift)
{
    const char *name = engine == TT_ENGINE_SQLITE ? "sqlite" : "postgresql";
    if (!drift) {
        tt_buf_cstr_put(out, "-- up\n\n-- down\n");
        return;
    }
    tt_buf_printf(out, "-- up %s\n", name);
    for (size_t i = 0; i < drift->count; i++) {
        tt_buf_printf(out, "/* %s: %s */\n", drift->items[i].table, drift->items[i].text);
        tt_buf_cstr_put(out, drift->items[i].up ? drift->items[i].up : "/* by hand: this engine cannot change it in place */\n");
    }
    tt_buf_printf(out, "-- down %s\n", name);
    for (size_t i = drift->count; i-- > 0;)
        tt_buf_cstr_put(out, drift->items[i].up && drift->items[i].down ? drift->items[i].down : "");
}

static tt_rc write_file(const char *path, tt_engine engine, tt_str message, const tt_drift *drift, tt_err *err)
{
    TT_WHOLE_FILE_AUTO tt_whole_file *file = NULL;
    char when[TT_TIME_TEXT];
    TT_TRY(tt_whole_file_create(path, &file, err));
    tt_buf *out = tt_whole_file_out(file);
    tt_buf_cstr_put(out, "/* ");
    for (size_t i = 0; i < message.len; i++)
        tt_buf_char(out, (unsigned char)message.ptr[i] < ' ' || message.ptr[i] == '*' ? ' ' : message.ptr[i]);
    tt_buf_printf(out, " (%s) */\n", tt_time_text(tt_wall_ms(), when));
    put_sections(out, engine, drift);
    return tt_whole_file_finish(file, err);
}

tt_rc tt_revision_write(const char *dir, tt_engine engine, tt_str message, const tt_drift *drift, tt_arena *arena, const char **ret_path, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the folder of migrations `%s`", dir);
    tt_buf_printf(&path, "%s/%04u_", dir, next_number(dir));
    size_t head = path.len;
    put_words(&path, message);
    if (path.len == head)
        return tt_fail(err, TT_INVALID, "a message is missing, whose words name the migration");
    tt_buf_cstr_put(&path, ".sql");
    TT_TRY(tt_buf_check(&path, err));
    *ret_path = tt_arena_dup(arena, tt_buf_view(&path));
    return *ret_path ? write_file(*ret_path, engine, message, drift, err) : tt_fail(err, TT_NOMEM, "out of memory for a path");
}
