/* Library names that do not compile in tutti, because each has a safer twin in src/base or a bound
 * that cannot be seen. Included by every room through err.h; to ban one more, add it to the list. */
#ifndef TT_BASE_BANNED_H
#define TT_BASE_BANNED_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncat sprintf vsprintf strtok atoi atol atoll gmtime localtime
#pragma GCC poison system popen rand srand gets mktemp tmpnam asctime ctime

#endif
