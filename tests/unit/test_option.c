#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/option.h"

static char dir[64];

/* An empty directory as home, start directory and search path; no variable of ours set. */
static void clean_world(void)
{
    snprintf(dir, sizeof dir, "/tmp/tutti-option-XXXXXX");
    cr_assert(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
    setenv("HOME", dir, 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("CREDENTIALS_DIRECTORY");
    unsetenv("TUTTI_DATA");
}

static void remove_world(void)
{
    static const char *const names[] = {"tutti.ini", "other.ini", "secret", "config/tutti/tutti.ini", "config/tutti", "config"};
    for (size_t i = 0; i < TT_COUNT(names); i++)
        remove(names[i]);
    cr_assert_eq(rmdir(dir), 0);
}

TestSuite(option, .init = clean_world, .fini = remove_world);

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

static tt_options *load(const tt_option_flag *flags, size_t count, const char *config)
{
    tt_options *o = NULL;
    tt_err err;
    cr_assert_eq(tt_options_load(flags, count, config, &o, &err), TT_OK, "%s", err.text);
    return o;
}

/* Loading fails with this code and a sentence that holds every given piece. */
static void refused(const tt_option_flag *flags, size_t count, const char *config, tt_rc rc, const char *a, const char *b)
{
    tt_options *o = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_options_load(flags, count, config, &o, &err), rc, "%s", err.text);
    cr_assert(o == NULL);
    cr_assert(strstr(err.text, a) && strstr(err.text, b), "`%s` lacks `%s` or `%s`", err.text, a, b);
}

#define ORIGIN(o, key, text) cr_assert_str_eq(tt_option_origin((o), (key)), (text))

Test(option, every_row_is_sound)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    tt_options *o = load(NULL, 0, NULL);
    cr_assert_gt(count, 15);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(rows[i].help);
        cr_assert(len > 10 && rows[i].help[len - 1] == '.', "%s: help is a sentence", rows[i].key);
        cr_assert(!(rows[i].secret && rows[i].flag), "%s: a secret has no flag", rows[i].key);
        cr_assert(!rows[i].flag || rows[i].metavar || rows[i].type == TT_OPT_BOOL, "%s: metavar", rows[i].key);
        cr_assert_eq(rows[i].type == TT_OPT_ENUM, rows[i].choices != NULL, "%s: choices", rows[i].key);
        ORIGIN(o, rows[i].key, "default");
    }
    tt_options_free(o);
}

Test(option, defaults)
{
    tt_options *o = load(NULL, 0, NULL);
    const tt_str *list;
    cr_assert_eq(tt_option_list(o, "server.listen", &list), 1);
    cr_assert(tt_str_is(list[0], "127.0.0.1:5005"));
    cr_assert_eq(tt_option_int(o, "items.lease"), 600000);
    cr_assert_eq(tt_option_int(o, "limits.body"), 64 << 20);
    cr_assert(tt_option_bool(o, "server.access_log") && !tt_option_bool(o, "server.insecure"));
    cr_assert_null(tt_option_str(o, "server.token").ptr);
    cr_assert_geq(tt_option_int(o, "workers"), 1);
    cr_assert_eq(tt_option_list(o, "server.roots", &list), 2);
    cr_assert(tt_str_is(list[0], dir));
    cr_assert(tt_str_eq(list[1], tt_option_str(o, "data")));
    cr_assert_str_eq(tt_options_warnings(o), "");
    tt_options_free(o);
}

Test(option, flag_wins_over_environment_over_file)
{
    write_file("tutti.ini", "workers = 1\n[server]\nthreads = 1\n; a comment\nmax_connections=100\nlisten = a:1, b:2\nlisten=c:3\n", 0600);
    setenv("TUTTI_WORKERS", "2", 1);
    setenv("TUTTI_SERVER_THREADS", "2", 1);
    const tt_option_flag flags[] = {{"--workers", "3"}, {"--listen", "d:4"}, {"--listen", "e:5,f:6"}, {"--insecure", NULL}};
    tt_options *o = load(NULL, 0, NULL);
    const tt_str *list;
    cr_assert_eq(tt_option_int(o, "workers"), 2);
    cr_assert_eq(tt_option_list(o, "server.listen", &list), 3);
    cr_assert(tt_str_is(list[2], "c:3"));
    ORIGIN(o, "server.listen", "./tutti.ini:6");
    ORIGIN(o, "server.max_connections", "./tutti.ini:5");
    ORIGIN(o, "server.threads", "environment TUTTI_SERVER_THREADS");
    tt_options_free(o);

    o = load(flags, TT_COUNT(flags), NULL);
    cr_assert_eq(tt_option_int(o, "workers"), 3);
    ORIGIN(o, "workers", "flag");
    cr_assert_eq(tt_option_list(o, "server.listen", &list), 3);
    cr_assert(tt_str_is(list[0], "d:4") && tt_str_is(list[2], "f:6"));
    cr_assert(tt_option_bool(o, "server.insecure"));
    tt_options_free(o);
}

Test(option, argv_gives_another_process_the_same_settings)
{
    write_file("other.ini", "[items]\nlease = 5m\n", 0600);
    const tt_option_flag flags[] = {{"--workers", "3"}, {"--insecure", NULL}, {"--listen", "d:4"}};
    tt_options *o = load(flags, TT_COUNT(flags), "other.ini");
    static const char *const want[] = {"--config", "other.ini", "--workers=3", "--insecure", "--listen=d:4"};
    const char *const *argv = tt_options_argv(o);
    for (size_t i = 0; i < TT_COUNT(want); i++)
        cr_assert_str_eq(argv[i], want[i]);
    cr_assert_null(argv[TT_COUNT(want)]);
    cr_assert_eq(tt_option_int(o, "items.lease"), 300000);
    tt_options_free(o);
}

Test(option, the_search_path_ends_at_the_first_file)
{
    mkdir("config", 0700);
    mkdir("config/tutti", 0700);
    char xdg[128];
    snprintf(xdg, sizeof xdg, "%s/config", dir);
    setenv("XDG_CONFIG_HOME", xdg, 1);
    write_file("config/tutti/tutti.ini", "workers = 7\n", 0600);
    tt_options *o = load(NULL, 0, NULL);
    cr_assert_eq(tt_option_int(o, "workers"), 7);
    tt_options_free(o);
    write_file("tutti.ini", "[tutti]\nworkers = 8\n", 0600);
    o = load(NULL, 0, NULL);
    cr_assert_eq(tt_option_int(o, "workers"), 8);
    tt_options_free(o);
}

Test(option, older_names_and_their_factors)
{
    setenv("PLANCHET_MASTER_TOKEN", "planchet-token", 1);
    setenv("PLANCHET_MAX_PACKAGE_SIZE", "12", 1);
    tt_options *o = load(NULL, 0, NULL);
    cr_assert_eq(tt_option_int(o, "limits.body"), 12000000);
    ORIGIN(o, "limits.body", "environment PLANCHET_MAX_PACKAGE_SIZE");
    cr_assert(tt_str_is(tt_option_str(o, "server.token"), "planchet-token"));
    cr_assert_str_eq(tt_options_warnings(o), "");
    tt_options_free(o);
    setenv("TUTTI_SERVER_TOKEN", "our-token", 1);
    o = load(NULL, 0, NULL);
    cr_assert(tt_str_is(tt_option_str(o, "server.token"), "our-token"));
    tt_options_free(o);
    setenv("PLANCHET_MAX_PACKAGE_SIZE", "ten", 1);
    refused(NULL, 0, NULL, TT_INVALID, "limits.body (environment PLANCHET_MAX_PACKAGE_SIZE)", "`ten`");
    setenv("PLANCHET_MAX_PACKAGE_SIZE", "9223372036854775807", 1);
    refused(NULL, 0, NULL, TT_INVALID, "limits.body", "too large");
}

Test(option, unknown_variables_are_warned_about_by_name)
{
    setenv("PLANCHET_REDIS_HOSTS", "x", 1);
    setenv("TUTTI_SERVER_LISTENS", "x", 1);
    setenv("REDIS_PWD_OLD", "x", 1);
    setenv("TUTTI_FAULT", "", 1);
    setenv("TUTTI_DATA", "/d", 1);
    tt_options *o = load(NULL, 0, NULL);
    const char *text = tt_options_warnings(o);
    cr_assert(strstr(text, "PLANCHET_REDIS_HOSTS") && strstr(text, "REDIS_PWD_OLD has no effect\n"), "%s", text);
    cr_assert(strstr(text, "TUTTI_SERVER_LISTENS has no effect: did you mean TUTTI_SERVER_LISTEN?\n"), "%s", text);
    cr_assert(!strstr(text, "FAULT") && !strstr(text, "TUTTI_DATA"));
    cr_assert(tt_str_is(tt_option_str(o, "data"), "/d"));
    tt_options_free(o);
}

Test(option, bad_values_are_named_with_their_origin_all_at_once)
{
    write_file("tutti.ini", "[items]\nmax_attempts = 32\nlease = soon\n[ledger]\ndurability = sometimes\n", 0600);
    refused(NULL, 0, NULL, TT_INVALID, "items.max_attempts (./tutti.ini:2): `32` is out of range: 1 to 15", "full|relaxed");
    refused(NULL, 0, NULL, TT_INVALID, "items.lease (./tutti.ini:3): `soon` is not a duration", "ledger.durability (./tutti.ini:5)");
    static const tt_option_flag bad[][1] = {
        {{"--workers", "-1"}}, {{"--workers", "many"}}, {{"--workers", "9999999999999999999"}}, {{"--insecure", "maybe"}}, {{"--grace", "-3s"}},
        {{"--workers", ""}},
    };
    remove("tutti.ini");
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        refused(bad[i], 1, NULL, TT_INVALID, "(flag): ", "");
    refused(&(tt_option_flag){"--nope", "1"}, 1, NULL, TT_USAGE, "--nope", "");
    refused(&(tt_option_flag){"--data", NULL}, 1, NULL, TT_USAGE, "--data needs a value", "DIR");
}

Test(option, faults_in_the_file_have_their_line)
{
    static const struct {
        const char *text, *a, *b;
    } bad[] = {
        {"[server]\nlissten = 1\n", "tutti.ini:2", "unknown setting `server.lissten`: did you mean `server.listen`?"},
        {"nonsense = 1\n", "tutti.ini:1", "unknown setting `nonsense`"},
        {"\n\n[items]\nwhat is this\n", "tutti.ini:4", "neither [section] nor name = value"},
        {"workers=1\nworkers=2\n", "tutti.ini:2", "line 1 already"},
        {"[server\n", "tutti.ini:1", "neither"},
        {"[items]\n  lease = 5m\n  token_leas = 6m\n", "tutti.ini:3", "items.token_lease"},
    };
    for (size_t i = 0; i < TT_COUNT(bad); i++) {
        write_file("tutti.ini", bad[i].text, 0600);
        refused(NULL, 0, NULL, TT_INVALID, bad[i].a, bad[i].b);
    }
    refused(NULL, 0, "missing.ini", TT_INVALID, "missing.ini", "No such file");
    refused(NULL, 0, dir, TT_INVALID, dir, "not a file");
}

Test(option, long_lines_are_read_or_refused_never_cut)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_cstr_put(&text, "[server]\nallowed_hosts = ");
    for (int i = 0; i < 500; i++)
        tt_buf_printf(&text, "host%d,", i);
    write_file("tutti.ini", tt_buf_cstr(&text), 0600);
    tt_options *o = load(NULL, 0, NULL);
    const tt_str *list;
    cr_assert_eq(tt_option_list(o, "server.allowed_hosts", &list), 500);
    cr_assert(tt_str_is(list[499], "host499"));
    tt_options_free(o);
    for (int i = 0; i < 20000; i++)
        tt_buf_printf(&text, "host%d,", i);
    write_file("tutti.ini", tt_buf_cstr(&text), 0600);
    refused(NULL, 0, NULL, TT_INVALID, "tutti.ini:2", "too long");
}

static void secret_is(const char *text, const char *want)
{
    setenv("TUTTI_SERVER_TOKEN", text, 1);
    tt_options *o = load(NULL, 0, NULL);
    cr_assert(tt_str_is(tt_option_str(o, "server.token"), want));
    ORIGIN(o, "server.token", "environment TUTTI_SERVER_TOKEN");
    tt_options_free(o);
}

Test(option, secrets_by_reference)
{
    char path[128], reference[160];
    snprintf(path, sizeof path, "%s/secret", dir);
    snprintf(reference, sizeof reference, "file:%s", path);
    write_file(path, "from-a-file\n", 0600);
    secret_is(reference, "from-a-file");
    setenv("MY_SECRET", "from-a-variable", 1);
    secret_is("env:MY_SECRET", "from-a-variable");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    secret_is("credential:secret", "from-a-file");

    setenv("TUTTI_SERVER_TOKEN", "credential:../secret", 1);
    refused(NULL, 0, NULL, TT_INVALID, "server.token", "not the name of a credential");
    setenv("TUTTI_SERVER_TOKEN", "env:NO_SUCH_VARIABLE", 1);
    refused(NULL, 0, NULL, TT_INVALID, "server.token", "NO_SUCH_VARIABLE");
    setenv("TUTTI_SERVER_TOKEN", reference, 1);
    write_file(path, "from-a-file\n", 0640);
    refused(NULL, 0, NULL, TT_INVALID, "can be read by others (mode 640)", "chmod 600");
    write_file(path, " \n", 0600);
    refused(NULL, 0, NULL, TT_INVALID, "server.token", "empty");
}

Test(option, a_secret_in_an_open_file_is_warned_about)
{
    write_file("tutti.ini", "[server]\ntoken = in-the-file\n", 0644);
    tt_options *o = load(NULL, 0, NULL);
    cr_assert(strstr(tt_options_warnings(o), "./tutti.ini:2: `server.token` is a secret"), "%s", tt_options_warnings(o));
    tt_options_free(o);
    write_file("tutti.ini", "[server]\ntoken = in-the-file\n", 0600);
    o = load(NULL, 0, NULL);
    cr_assert_str_eq(tt_options_warnings(o), "");
    tt_options_free(o);
}

static void count_declared(void *arg, const char *section, const char *name, const char *value)
{
    cr_assert_str_eq(section, "reader.MyReader");
    cr_assert_str_eq(name, "command");
    cr_assert_str_eq(value, "cat a=b");
    ++*(int *)arg;
}

Test(option, declarations_are_kept_apart)
{
    write_file("tutti.ini", "[reader.MyReader]\ncommand = cat a=b\n[writer.X]\ncommand = y\n", 0600);
    tt_options *o = load(NULL, 0, NULL);
    int count = 0;
    tt_options_each_declared(o, "reader.", count_declared, &count);
    cr_assert_eq(count, 1);
    tt_options_free(o);
}

Test(option, the_documentation_names_every_row)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_options_write_markdown(&out);
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        char title[96], name[64];
        snprintf(title, sizeof title, "### `%s`\n\n%s", rows[i].key, rows[i].help);
        cr_assert(strstr(tt_buf_cstr(&out), title));
        cr_assert(strstr(tt_buf_cstr(&out), tt_option_env_name(&rows[i], name)));
    }
    cr_assert(strstr(tt_buf_cstr(&out), "- Range: 1 to 15\n") && strstr(tt_buf_cstr(&out), "- Default: one per core\n"));
    cr_assert(strstr(tt_buf_cstr(&out), "or the older `PLANCHET_MAX_PACKAGE_SIZE` (times 1000000)"));
}
