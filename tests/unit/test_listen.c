#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/signals.h"

Test(listen, addresses)
{
    static const struct {
        const char *text;
        bool good, local;
    } cases[] = {
        {"127.0.0.1:5005", true, true}, {"127.8.9.1:0", true, true},   {"localhost:1", true, true}, {"[::1]:65535", true, true},
        {"0.0.0.0:80", true, false},    {":5005", true, false},        {"[::]:1", true, false},     {"10.1.2.3:9", true, false},
        {"unix:/a/b", true, true},      {"[::ffff:127.0.0.1]:1", true, true}, {"[::ffff:10.0.0.1]:1", true, false},
        {"5005", false, false},         {"", false, false},            {":", false, false},         {"127.0.0.1:", false, false},
        {"127.0.0.1:65536", false, false}, {"127.0.0.1:-1", false, false}, {"::1:80", false, false}, {"example.org:80", false, false},
        {"[::1:80", false, false},      {"[]:80", false, false},       {"unix:", false, false},     {"1.2.3:4", false, false},
    };
    for (size_t i = 0; i < TT_COUNT(cases); i++) {
        tt_address a;
        tt_err err;
        tt_rc rc = tt_address_parse(tt_str_of(cases[i].text), &a, &err);
        cr_expect_eq(rc == TT_OK, cases[i].good, "%s", cases[i].text);
        if (rc != TT_OK) {
            cr_expect(strstr(err.text, "write 127.0.0.1:5005"), "%s", err.text);
            continue;
        }
        cr_expect_eq(tt_address_is_local(&a), cases[i].local, "%s", cases[i].text);
        cr_expect_eq(tt_address_check_access(&a, false, false, &err), cases[i].local ? TT_OK : TT_DENIED, "%s", cases[i].text);
        cr_expect_eq(tt_address_check_access(&a, true, false, NULL) | tt_address_check_access(&a, false, true, NULL), TT_OK);
        tt_address_deinit(&a);
    }
}

static int listen_on(const char *text, tt_rc want, tt_err *err)
{
    tt_address a;
    int fd = -1;
    cr_assert_eq(tt_address_parse(tt_str_of(text), &a, err), TT_OK);
    cr_assert_eq(tt_listen_open(&a, &fd, err), want, "%s: %s", text, err->text);
    tt_address_deinit(&a);
    return fd;
}

Test(listen, binds_names_and_conflicts)
{
    char url[TT_ADDRESS_TEXT], again[TT_ADDRESS_TEXT];
    tt_err err = {0};
    int fd = listen_on("127.0.0.1:0", TT_OK, &err);
    unsigned port = 0;
    cr_assert_eq(sscanf(tt_listen_url(fd, url), "http://127.0.0.1:%u", &port), 1, "%s", url);
    cr_assert_gt(port, 0);
    snprintf(again, sizeof again, "127.0.0.1:%u", port);
    listen_on(again, TT_CONFLICT, &err);
    cr_assert(strstr(err.text, again) && strstr(err.text, "--listen"), "%s", err.text);
    listen_on("203.0.113.7:1", TT_INVALID, &err);
    close(fd);
}

Test(listen, unix_sockets_of_any_length)
{
    char path[400], text[420], url[TT_ADDRESS_TEXT];
    tt_err err = {0};
    snprintf(path, sizeof path, "/tmp/tutti-listen-XXXXXX");
    cr_assert(mkdtemp(path));
    size_t base = strlen(path);
    snprintf(path + base, sizeof path - base, "/%0120d", 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    size_t dir = strlen(path);
    snprintf(path + dir, sizeof path - dir, "/s");
    snprintf(text, sizeof text, "unix:%s", path);
    int fd = listen_on(text, TT_OK, &err);
    cr_assert_eq(strncmp(tt_listen_url(fd, url), "unix:", 5), 0);
    listen_on(text, TT_CONFLICT, &err); /* somebody serves it */
    close(fd);
    fd = listen_on(text, TT_OK, &err); /* stale now */
    close(fd);
    cr_assert_eq(tt_listen_unix(path, 0600, &fd, &err), TT_OK, "%s", err.text);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    close(fd);
    unlink(path);
    path[dir] = '\0';
    rmdir(path);
    path[base] = '\0';
    cr_assert_eq(rmdir(path), 0);
}

Test(listen, sockets_of_systemd_are_for_one_process)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid() + 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_PID", pid, 1);
    cr_assert_eq(tt_listen_inherited(), 0);
    cr_assert_null(getenv("LISTEN_FDS"));
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", pid, 1);
    cr_assert_eq(tt_listen_inherited(), 1);
}

Test(notify, tells_systemd_and_nobody_else)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char name[64], text[64];
    tt_notify("READY=1"); /* nobody listens: nothing happens */
    int n = snprintf(name, sizeof name, "@tutti-notify-%d", (int)getpid());
    memcpy(addr.sun_path + 1, name + 1, (size_t)n - 1);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, (socklen_t)(sizeof addr.sun_family + (size_t)n)), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    tt_notify_setup();
    cr_assert_null(getenv("NOTIFY_SOCKET"));
    cr_assert_eq(tt_notify_watchdog_ms(), 1500);
    tt_notify("READY=1");
    cr_assert_eq(recv(fd, text, sizeof text, 0), 7);
    cr_assert_eq(memcmp(text, "READY=1", 7), 0);
    close(fd);
}

Test(signals, are_read_and_change_the_log_level)
{
    sigset_t usual;
    int fd;
    tt_signals_usual(&usual);
    cr_assert_eq(tt_signals_open(&usual, &fd, NULL), TT_OK);
    cr_assert_eq(tt_signals_next(fd), 0);
    raise(SIGUSR1);
    raise(SIGTERM);
    int first = tt_signals_next(fd), second = tt_signals_next(fd);
    cr_assert_eq(first + second, SIGUSR1 + SIGTERM);
    tt_log_set_level(TT_LOG_INFO);
    tt_signals_change_log_level(SIGUSR1);
    tt_signals_change_log_level(SIGUSR1);
    cr_assert_eq(tt_log_get_level(), TT_LOG_DEBUG);
    for (int i = 0; i < 5; i++)
        tt_signals_change_log_level(SIGUSR2);
    cr_assert_eq(tt_log_get_level(), TT_LOG_ERROR);
    close(fd);
}
