/*
 * guard_dropped.c: the same program with the guard's symbols kept out of the dynamic symbol table
 * (--exclude-libs), as a careless linker flag would do it: the library then calls its own
 * functions. The self-test must say so.
 */
#include "net/server.h"

#include <stdio.h>

int main(void)
{
    maas_error error = MAAS_ERROR_INIT;
    if (guard_self_test(&error) == MAAS_OK) {
        fprintf(stderr, "the self-test passes without a guard\n");
        return 1;
    }
    printf("refused, as it should be: %s\n", error.text);
    return 0;
}
