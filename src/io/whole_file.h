/* A file that appears under its name when it is complete and synced: written beside it as NAME.part, then renamed. One that is freed before leaves
 * nothing, and whatever had the name stays. One thread. */
#ifndef TT_IO_WHOLE_FILE_H
#define TT_IO_WHOLE_FILE_H

#include "base/buf.h"

typedef struct tt_whole_file tt_whole_file;

tt_rc tt_whole_file_create(const char *path, tt_whole_file **ret, tt_err *err) TT_MUST_CHECK;
void tt_whole_file_free(tt_whole_file *f);
#define TT_WHOLE_FILE_AUTO __attribute__((cleanup(tt_whole_file_cleanup)))
static inline void tt_whole_file_cleanup(tt_whole_file **f) { tt_whole_file_free(*f); }
/* What is put here is written when it is much (tt_whole_file_flush), and at the end. */
tt_buf *tt_whole_file_out(tt_whole_file *f);
tt_rc tt_whole_file_flush(tt_whole_file *f, tt_err *err) TT_MUST_CHECK;
tt_rc tt_whole_file_finish(tt_whole_file *f, tt_err *err) TT_MUST_CHECK;

/* For others that make files so: TT_USAGE where the name is a directory's; and what errno says of a file that could not be made. */
tt_rc tt_whole_file_check(const char *path, tt_err *err) TT_MUST_CHECK;
tt_rc tt_whole_file_fail_create(const char *path, tt_err *err);

#endif
