/* The configuration file and option values. Input: lines `--flag=value`, an empty line, then an INI file.
 * Property: what loads is within its row's limits, and the argv made from it loads to the same values. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/option.h"
#include "base/vec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef TT_VEC(tt_option_flag) flag_list;

static const char *file_of(tt_str text, char out[64])
{
    int fd = memfd_create("option", MFD_CLOEXEC);
    tt_assert(fd >= 0 && write(fd, text.ptr ? text.ptr : "", text.len) == (ssize_t)text.len);
    snprintf(out, 64, "/proc/self/fd/%d", fd);
    return out;
}

static void add_flag(flag_list *flags, char *line)
{
    char *value = strchr(line, '=');
    if (value)
        *value++ = '\0';
    tt_assert(tt_vec_push(flags, (tt_option_flag){line, value}));
}

static void check_row(const tt_options *o, const tt_option *row)
{
    tt_str text = tt_option_str(o, row->key);
    tt_assert(tt_option_origin(o, row->key)[0]);
    const tt_str *list;
    if (row->type == TT_OPT_LIST)
        for (size_t i = 0; i < tt_option_list(o, row->key, &list); i++)
            tt_assert(list[i].len > 0);
    if (!text.ptr || row->secret || (row->type != TT_OPT_INT && row->type != TT_OPT_SIZE && row->type != TT_OPT_DURATION))
        return;
    int64_t number = tt_option_int(o, row->key);
    tt_assert(number >= row->min && (row->max == 0 || number <= row->max));
}

static void check_again(const tt_options *o)
{
    flag_list flags = {0};
    const char *config = NULL;
    for (const char *const *arg = tt_options_argv(o); *arg; arg++) {
        if (strcmp(*arg, "--config") == 0)
            config = *++arg;
        else
            add_flag(&flags, tt_dup_cstr(*arg));
    }
    tt_options *again = NULL;
    tt_assert(tt_options_load(flags.ptr, flags.len, config, &again, NULL) == TT_OK);
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        check_row(o, &rows[i]);
        tt_assert(tt_str_eq(tt_option_str(o, rows[i].key), tt_option_str(again, rows[i].key)));
    }
    tt_options_free(again);
    for (size_t i = 0; i < flags.len; i++)
        free((void *)(uintptr_t)flags.ptr[i].flag);
    tt_vec_deinit(&flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = tt_str_dup((tt_str){(const char *)data, size});
    char *end = text + strlen(text), *at = text, path[64];
    flag_list flags = {0};
    while (at < end && strncmp(at, "--", 2) == 0) {
        char *line = at;
        at += strcspn(at, "\n");
        if (at < end)
            *at++ = '\0';
        add_flag(&flags, line);
    }
    tt_options *o = NULL;
    tt_str ini = {at, (size_t)(text + size - at)};
    file_of(ini, path);
    if (tt_options_load(flags.ptr, flags.len, path, &o, NULL) == TT_OK)
        check_again(o);
    tt_options_free(o);
    tt_vec_deinit(&flags);
    close((int)strtol(path + strlen("/proc/self/fd/"), NULL, 10));
    free(text);
    return 0;
}
