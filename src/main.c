/* The command table; finds the command, hands it argv. */
#include "base/err.h"

int main(void) { return 0; }
