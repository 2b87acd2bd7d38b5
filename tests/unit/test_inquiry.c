#include <criterion/criterion.h>

#include <poll.h>
#include <pthread.h>

#include "io/inquiry.h"

static tt_inquiry *inquiry;

/* What is asked decides: "long N" gets so many bytes, "no" a refusal, anything else itself. */
static tt_rc answer(void *arg, tt_str question, tt_buf *ret, tt_err *err)
{
    uint64_t count;
    ++*(int *)arg;
    if (tt_str_is(question, "no"))
        return tt_fail(err, TT_NOT_FOUND, "there is none");
    if (!tt_str_starts(question, TT_STR("long ")) || tt_parse_u64(tt_str_slice(question, 5, question.len), &count, NULL) != TT_OK)
        return tt_buf_str(ret, question), TT_OK;
    for (uint64_t i = 0; i < count; i++)
        tt_buf_char(ret, 'x');
    return TT_OK;
}

static void *serve(void *arg)
{
    struct pollfd one = {.fd = tt_inquiry_fd(inquiry), .events = POLLIN};
    for (int served = 0; served < *(int *)arg && poll(&one, 1, -1) > 0;)
        tt_inquiry_serve(inquiry, answer, &served);
    return NULL;
}

static tt_rc ask(const char *question, tt_buf *ret, tt_err *err)
{
    tt_buf_clear(ret);
    return tt_inquiry_ask(tt_inquiry_name(inquiry), tt_str_of(question), -1, ret, err);
}

Test(inquiry, questions_are_answered)
{
    TT_BUF_AUTO tt_buf got = {0};
    tt_err err = {0};
    pthread_t thread;
    int questions = 5;
    cr_assert_eq(tt_inquiry_open(&inquiry, &err), TT_OK, "%s", err.text);
    pthread_create(&thread, NULL, serve, &questions);
    cr_assert_eq(ask("secret a/b", &got, &err), TT_OK, "%s", err.text);
    cr_assert_str_eq(tt_buf_cstr(&got), "secret a/b");
    cr_assert_eq(ask("no", &got, &err), TT_NOT_FOUND);
    cr_assert_str_eq(err.text, "there is none");
    cr_assert_eq(ask("long 0", &got, &err), TT_OK, "%s", err.text);
    cr_assert_eq(got.len, 0);
    cr_assert_eq(ask("long 65536", &got, &err), TT_OK, "%s", err.text);
    cr_assert_eq(got.len, 65536);
    cr_assert_neq(ask("long 131073", &got, &err), TT_OK);
    cr_assert_eq(got.len, 0);
    pthread_join(thread, NULL);
    tt_inquiry_serve(inquiry, answer, &questions); /* nobody asks: it does not wait */
    cr_assert_eq(questions, 5);
    tt_inquiry_close(inquiry);
}

Test(inquiry, who_cannot_be_asked)
{
    TT_BUF_AUTO tt_buf got = {0};
    static char long_question[TT_INQUIRY_QUESTION_BYTES + 1];
    tt_err err = {0};
    memset(long_question, 'q', sizeof long_question);
    cr_assert_eq(tt_inquiry_open(&inquiry, &err), TT_OK, "%s", err.text);
    cr_assert_eq(tt_inquiry_ask(tt_inquiry_name(inquiry), (tt_str){long_question, sizeof long_question}, 0, &got, &err), TT_TOO_LARGE);
    cr_assert_eq(tt_inquiry_ask(tt_inquiry_name(inquiry), TT_STR("nobody answers"), 0, &got, &err), TT_TIMEOUT);
    cr_assert_eq(tt_inquiry_ask("", TT_STR("q"), 0, &got, &err), TT_INVALID);
    cr_assert_eq(tt_inquiry_ask("a name that is far too long to be one of ours", TT_STR("q"), 0, &got, &err), TT_INVALID);
    char name[64];
    snprintf(name, sizeof name, "%s", tt_inquiry_name(inquiry));
    tt_inquiry_close(inquiry);
    cr_assert_eq(tt_inquiry_ask(name, TT_STR("q"), 0, &got, &err), TT_UNAVAILABLE);
}
