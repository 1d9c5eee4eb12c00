/*
 * fuzz_scan: a body into the scanner that finds the `model` member. What it finds lies inside the
 * body between two quotes, and an answer does not depend on what stands behind the object.
 */
#include "api/scan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct str body, enum scan_result result, struct str value)
{
    CHECK(result >= SCAN_FOUND && result <= SCAN_BAD);
    CHECK(result != SCAN_TOO_FAR || body.len > SCAN_WINDOW);
    if (result != SCAN_FOUND)
        return;
    CHECK(value.data > body.data && value.data + value.len < body.data + body.len);
    CHECK(value.data[-1] == '"' && value.data[value.len] == '"');
    CHECK(value.len == 0 || memchr(value.data, '"', value.len) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str value = { "", 0 };
    char *copy = malloc(size + 1); /* of its own, so that one byte too many is seen */
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    const struct str body = { copy, size };
    check(body, scan_model(body, &value), value);
    free(copy);
    return 0;
}
