/* Text in another encoding becomes UTF-8, piece by piece, by iconv: a step between a file and who reads it, as an unpacker is (unpack.h), and behind one where the
 * file is packed as well. Characters that are cut by the end of a piece are kept for the next. One thread at a time per state. */
#ifndef TT_IO_RECODE_H
#define TT_IO_RECODE_H

#include "io/unpack.h"
#include "base/str.h"

/* The name of an encoding as iconv has it, static or in word; *ret NULL: it is UTF-8, and nothing is to be done. Also the names that Python has: latin-1, cp1252,
 * utf-8-sig, utf-16. TT_INVALID: there is none of this name. word is NUL-ended. */
tt_rc tt_recode_find(const char *word, const char **ret, tt_err *err) TT_MUST_CHECK;

/* inner: the unpacker of the bytes; NULL: they are plain. NULL: out of memory, or no such encoding. */
void *tt_recode_start(const char *name, const tt_unpacker *inner);
/* As tt_unpacker.step and its stop. */
tt_rc tt_recode_step(void *state, tt_unpack_io *io);
void tt_recode_stop(void *state);

#endif
