/* Names of secrets, and what kinds of secrets have inside. A name is 1 to 8 parts with `/` between them, of letters, digits, `-`, `_` and `.`;
 * with four parts it is ENV/TYPE/NAME/MODE, for which `all` stands in where an environment has none of its own. Types have fields. Pure. */
#ifndef TT_VAULT_SECRET_NAME_H
#define TT_VAULT_SECRET_NAME_H

#include <jansson.h>

#include "base/buf.h"

enum { TT_SECRET_NAME_BYTES = 256, TT_SECRET_VALUE_BYTES = 64 * 1024 };

tt_rc tt_secret_name_check(tt_str name, tt_err *err) TT_MUST_CHECK;
/* "dev/db/x/read" -> "all/db/x/read". False: not a name of four parts, or of `all` itself. */
bool tt_secret_name_fallback(tt_str name, tt_buf *ret);

/* Whether the value is what the name's type asks for (a JSON object with these fields). Names without a known type may have any value. */
tt_rc tt_secret_check_fields(tt_str name, tt_str value, tt_err *err) TT_MUST_CHECK;
/* Whether this field of this name's type is for no eyes. Fields of unknown types are. */
bool tt_secret_field_hidden(tt_str name, const char *field);

#endif
