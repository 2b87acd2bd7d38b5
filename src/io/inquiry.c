#include "io/inquiry.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/fd.h"

enum { NAME_BYTES = 32, MOST_CODE = 99 };

struct tt_inquiry {
    int fd;
    char name[NAME_BYTES];
};

/* ---- sockets ---- */

/* With a name of its own, so that it can be answered. */
static tt_rc open_socket(int *ret, tt_err *err)
{
    struct sockaddr_un none = {.sun_family = AF_UNIX};
    int on = 1;
    *ret = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*ret < 0 || setsockopt(*ret, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 || bind(*ret, (struct sockaddr *)&none, sizeof none.sun_family) != 0)
        return tt_fail_errno(err, errno, "cannot make a socket for questions");
    return TT_OK;
}

/* A datagram of a process of our own user; -1: none, or another's. */
static ssize_t receive(int fd, void *bytes, size_t size, struct sockaddr_un *ret_from, socklen_t *ret_from_len)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec piece = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_name = ret_from, .msg_namelen = sizeof *ret_from, .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *head = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
    struct ucred who = {.uid = (uid_t)-1};
    *ret_from_len = message.msg_namelen;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS && head->cmsg_len >= CMSG_LEN(sizeof who))
        memcpy(&who, CMSG_DATA(head), sizeof who);
    return n >= 0 && who.uid == geteuid() && !(message.msg_flags & MSG_TRUNC) ? n : -1;
}

/* ---- who answers ---- */

tt_rc tt_inquiry_open(tt_inquiry **ret, tt_err *err)
{
    struct sockaddr_un own = {0};
    socklen_t len = sizeof own;
    tt_inquiry *q = TT_NEW(tt_inquiry);
    tt_rc rc = open_socket(&q->fd, err);
    if (rc == TT_OK && getsockname(q->fd, (struct sockaddr *)&own, &len) != 0)
        rc = tt_fail_errno(err, errno, "cannot tell the name of a socket");
    size_t bytes = len > offsetof(struct sockaddr_un, sun_path) + 1 ? len - offsetof(struct sockaddr_un, sun_path) - 1 : 0;
    if (rc == TT_OK && (bytes == 0 || bytes >= NAME_BYTES))
        rc = tt_fail(err, TT_UNSUPPORTED, "this system gives sockets no names of their own");
    if (rc != TT_OK) {
        tt_inquiry_close(q);
        return rc;
    }
    memcpy(q->name, own.sun_path + 1, bytes);
    q->name[bytes] = '\0';
    *ret = q;
    return TT_OK;
}

void tt_inquiry_close(tt_inquiry *q)
{
    if (!q)
        return;
    tt_fd_close(&q->fd);
    free(q);
}

int tt_inquiry_fd(const tt_inquiry *q) { return q->fd; }
const char *tt_inquiry_name(const tt_inquiry *q) { return q->name; }

/* "0" or the code of a failure, a line break, and the answer or a sentence. */
static void put_answer(tt_buf *out, tt_rc rc, tt_str answer, const tt_err *why)
{
    tt_buf_printf(out, "%d\n", (int)rc);
    tt_buf_str(out, rc == TT_OK ? answer : tt_str_of(why->text));
}

void tt_inquiry_serve(tt_inquiry *q, tt_rc (*fn)(void *arg, tt_str question, tt_buf *answer, tt_err *err), void *arg)
{
    TT_BUF_AUTO tt_buf answer = {.limit_bytes = TT_INQUIRY_BYTES}, out = {0};
    char question[TT_INQUIRY_QUESTION_BYTES];
    struct sockaddr_un from = {0};
    socklen_t from_len;
    tt_err err = {0};
    ssize_t n = receive(q->fd, question, sizeof question, &from, &from_len);
    if (n < 0 || from_len <= sizeof from.sun_family)
        return;
    tt_rc rc = fn(arg, (tt_str){question, (size_t)n}, &answer, &err);
    if (rc == TT_OK)
        rc = tt_buf_check(&answer, &err);
    put_answer(&out, rc, tt_buf_view(&answer), &err);
    if (out.failed || sendto(q->fd, out.ptr, out.len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&from, from_len) < 0)
        return; /* who asked is gone, or waits until its time is over */
}

/* ---- who asks ---- */

static tt_rc send_question(int fd, const char *name, tt_str question, tt_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len == 0 || len >= NAME_BYTES)
        return tt_fail(err, TT_INVALID, "`%.60s` is no name of a socket for questions", name);
    if (question.len > TT_INQUIRY_QUESTION_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "the question is longer than %d bytes", TT_INQUIRY_QUESTION_BYTES);
    memcpy(to.sun_path + 1, name, len);
    if (connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) != 0 || send(fd, question.ptr, question.len, MSG_NOSIGNAL) < 0)
        return errno == ECONNREFUSED ? tt_fail(err, TT_UNAVAILABLE, "the worker that ran this task is gone") : tt_fail_errno(err, errno, "cannot ask the worker");
    return TT_OK;
}

static tt_rc read_answer(tt_str text, tt_buf *ret, tt_err *err)
{
    tt_str code;
    uint64_t number = 0;
    if (!tt_str_cut(&text, '\n', &code) || tt_parse_u64(code, &number, NULL) != TT_OK || number > MOST_CODE)
        return tt_fail(err, TT_CORRUPT, "the worker's answer is none");
    if (number != TT_OK)
        return tt_fail(err, (tt_rc)number, "%.*s", TT_STR_ARG(text));
    tt_buf_str(ret, text);
    return tt_buf_check(ret, err);
}

static tt_rc take_answer(int fd, int timeout_ms, tt_buf *ret, tt_err *err)
{
    enum { MOST = TT_INQUIRY_BYTES + 16 };
    struct pollfd one = {.fd = fd, .events = POLLIN};
    struct sockaddr_un from = {0};
    socklen_t from_len;
    int ready;
    do
        ready = poll(&one, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return tt_fail(err, TT_TIMEOUT, "the worker did not answer");
    char *bytes = malloc(MOST);
    ssize_t n = bytes ? receive(fd, bytes, MOST, &from, &from_len) : -1;
    tt_rc rc = n < 0 ? tt_fail(err, bytes ? TT_UNAVAILABLE : TT_NOMEM, "the worker's answer cannot be read") : read_answer((tt_str){bytes, (size_t)n}, ret, err);
    if (n > 0)
        explicit_bzero(bytes, (size_t)n);
    free(bytes);
    return rc;
}

tt_rc tt_inquiry_ask(const char *name, tt_str question, int timeout_ms, tt_buf *ret, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    TT_TRY(open_socket(&fd, err));
    TT_TRY(send_question(fd, name, question, err));
    return take_answer(fd, timeout_ms, ret, err);
}
