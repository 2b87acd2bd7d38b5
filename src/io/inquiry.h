/* An inquiry: one question and one answer between processes of one user on one machine, without waiting on the side that answers. What runs below a worker asks it so for
 * a secret, on whatever machine it is. Datagrams between sockets with names of the kernel's choice (abstract, Linux): a question that comes is answered at once or not at
 * all, so that a program that stalls holds nobody up. Both sides take nothing from another user.
 * An answer is at most TT_INQUIRY_BYTES long. A question that got lost is not asked again. One thread each. */
#ifndef TT_IO_INQUIRY_H
#define TT_IO_INQUIRY_H

#include "base/buf.h"
#include "base/err.h"

enum { TT_INQUIRY_BYTES = 128 * 1024, TT_INQUIRY_QUESTION_BYTES = 1024 };

typedef struct tt_inquiry tt_inquiry;

tt_rc tt_inquiry_open(tt_inquiry **ret, tt_err *err) TT_MUST_CHECK;
void tt_inquiry_close(tt_inquiry *q); /* NULL is fine */
int tt_inquiry_fd(const tt_inquiry *q); /* readable when somebody asks; for poll */
const char *tt_inquiry_name(const tt_inquiry *q); /* for tt_inquiry_ask: a short text */
/* Answers one question, if there is one; never waits for who asks. fn appends the answer, or fails with what is told instead. */
void tt_inquiry_serve(tt_inquiry *q, tt_rc (*fn)(void *arg, tt_str question, tt_buf *answer, tt_err *err), void *arg);

/* Appends the answer, or fails as the other side did. TT_UNAVAILABLE: nobody has that name (any more); TT_TIMEOUT. */
tt_rc tt_inquiry_ask(const char *name, tt_str question, int timeout_ms, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

#endif
