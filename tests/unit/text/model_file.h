/* model_file.h: the bytes of a text.model in a folder of the test's own. */
#ifndef MODEL_FILE_H
#define MODEL_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

static char folder[] = "/tmp/test_text.XXXXXX"; /* mkdtemp's */

static inline size_t load(char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/text.model", folder);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(out, 1, size, file);
    fclose(file);
    return len;
}

static inline void store(const char *data, size_t len)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/text.model", folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

#endif
