/* Manual pages from the tables: tutti(1), tutti-NOUN(1) for each noun, and tutti.ini(5) from the option table. */
#ifndef TT_CLI_MAN_H
#define TT_CLI_MAN_H

#include "cli/command.h"

/* page: "tutti", "tutti-job", "tutti.ini". False: no such page. */
bool tt_man_write(const tt_command *commands, tt_str page, tt_buf *out);

int tt_cmd_man(tt_cli *cli);

#endif
