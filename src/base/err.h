/* Results and errors. A function that can fail returns tt_rc and takes `tt_err *err` last (NULL is fine);
 * on failure err holds one sentence with the values that failed: "what failed: why: what to do".
 * Callers own the tt_err (it has no pointers to free). HTTP status and exit code follow from the code alone. */
#ifndef TT_BASE_ERR_H
#define TT_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/banned.h"

typedef enum {
#define TT_RC(name, number, http, exit_code, title) TT_##name = number,
#include "base/rc.def"
#undef TT_RC
} tt_rc;

#define TT_MUST_CHECK __attribute__((warn_unused_result))
#define TT_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef struct tt_err {
    tt_rc code;
    char text[640];     /* the sentence; always ends with NUL */
    const char *file;   /* where it arose, for logs about corruption */
    int line;
} tt_err;

/* "not_found", "No such ...": the stable name (lower case) and the title of a code; never NULL. */
const char *tt_rc_name(tt_rc rc);
const char *tt_rc_title(tt_rc rc);
int tt_rc_http(tt_rc rc);
int tt_rc_exit(tt_rc rc);

/* The code for an errno value (ENOENT -> TT_NOT_FOUND, ENOSPC -> TT_NOSPACE, ...). */
tt_rc tt_rc_from_errno(int errnum);

/* Fill err (if any) and return code. Use the macros: they record the place. */
tt_rc tt_err_set(tt_err *err, const char *file, int line, tt_rc code, const char *fmt, ...) TT_PRINTF(5, 6);
tt_rc tt_err_vset(tt_err *err, const char *file, int line, tt_rc code, const char *fmt, va_list args) TT_PRINTF(5, 0);
/* As above with ": <strerror(errnum)>" appended and the code taken from errnum. */
tt_rc tt_err_sys(tt_err *err, const char *file, int line, int errnum, const char *fmt, ...) TT_PRINTF(5, 6);

#define tt_fail(err, code, ...) tt_err_set((err), __FILE__, __LINE__, (code), __VA_ARGS__)
#define tt_fail_errno(err, errnum, ...) tt_err_sys((err), __FILE__, __LINE__, (errnum), __VA_ARGS__)

/* Propagate a failure. Not to be mixed with goto in one function. */
#define TT_TRY(expr)                  \
    do {                              \
        tt_rc tt_rc_ = (expr);        \
        if (tt_rc_ != TT_OK)          \
            return tt_rc_;            \
    } while (0)

/* Our bug, not the user's: prints the place and aborts. On in every build. */
_Noreturn void tt_assert_failed(const char *expr, const char *file, int line);
#define tt_assert(expr) ((expr) ? (void)0 : tt_assert_failed(#expr, __FILE__, __LINE__))
#ifdef TT_DEBUG
#define tt_dassert(expr) tt_assert(expr)
#else
#define tt_dassert(expr) ((void)sizeof(expr))
#endif

#define TT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
