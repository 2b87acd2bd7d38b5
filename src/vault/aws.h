/* AWS Secrets Manager as a store of secrets: the same names (`dev/database/warehouse/read`), values as they are there. Asked behind the
 * ledger. The credentials are those of the process's environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, perhaps AWS_SESSION_TOKEN).
 * Each look is a request over the network: not on an HTTP thread. Any other thread. */
#ifndef TT_VAULT_AWS_H
#define TT_VAULT_AWS_H

#include "base/option.h"
#include "vault/vault.h"

typedef struct tt_vault_aws tt_vault_aws;

/* Adds the store when the setting vault.aws_region is there; *ret (may become NULL) must live as long as the vault. */
tt_rc tt_vault_aws_add(tt_vault *v, const tt_options *options, tt_vault_aws **ret, tt_err *err) TT_MUST_CHECK;
void tt_vault_aws_free(tt_vault_aws *a); /* NULL is fine */

#endif
