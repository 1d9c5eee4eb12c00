/*
 * test_records.c: rows of JSON lines as of CSV, with their bounds and errors; names of classes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "dataset/labels.h"
#include "dataset/records.h"

static char dir[] = "/tmp/test_records.XXXXXX";
static const char *const names[] = { "text", "label" };

static void write_file(const char *name, const char *text, size_t len)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void remove_file(const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

static struct records *open_rows(const char *name, const char *text)
{
    struct records *r = NULL;
    maas_error error = MAAS_ERROR_INIT;
    write_file(name, text, strlen(text));
    assert_int_equal(records_open(dir, "t", names, 2, &r, &error), MAAS_OK);
    remove_file(name);
    return r;
}

static void assert_row(struct records *r, uint64_t line, const char *text, const char *label)
{
    const maas_str *values = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(records_next(r, &values, &error), MAAS_OK);
    assert_non_null(values);
    assert_int_equal(records_line(r), line);
    assert_int_equal(values[0].len, strlen(text));
    assert_memory_equal(values[0].data, text, strlen(text));
    assert_int_equal(values[1].len, strlen(label));
    assert_memory_equal(values[1].data, label, strlen(label));
}

static void assert_end(struct records *r)
{
    const maas_str *values = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(records_next(r, &values, &error), MAAS_OK);
    assert_null(values);
    records_close(r);
}

static void both_kinds_give_the_same_rows(void **state)
{
    (void)state;
    struct records *r = open_rows("t.csv", "label,text\n1,so good\nfalse,\"a \"\"b\"\"\"\n2.5,x\n");
    assert_row(r, 2, "so good", "1");
    assert_row(r, 3, "a \"b\"", "false");
    assert_row(r, 4, "x", "2.5");
    assert_end(r);
    r = open_rows("t.jsonl", "{\"label\": 1, \"text\": \"so good\", \"more\": [1, {}]}\n\n"
                             "{\"text\": \"a \\\"b\\\"\", \"label\": false}\r\n"
                             " {\"text\": \"x\", \"label\": 2.5}");
    assert_row(r, 1, "so good", "1");
    assert_row(r, 3, "a \"b\"", "false");
    assert_row(r, 4, "x", "2.5");
    assert_end(r);
}

/* The error of the second line. */
static void fails(const char *second, const char *wanted)
{
    static const char first[] = "{\"text\": \"\\u4e2d\", \"label\": \"a\"}\n";
    const maas_str *values = NULL;
    maas_error error = MAAS_ERROR_INIT;
    const size_t size = sizeof(first) + strlen(second);
    char *both = malloc(size);
    assert_non_null(both);
    snprintf(both, size, "%s%s", first, second);
    struct records *r = open_rows("t.jsonl", both);
    assert_row(r, 1, "\xe4\xb8\xad", "a");
    assert_int_equal(records_next(r, &values, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, wanted);
    records_close(r);
    free(both);
}

static void errors_name_file_and_line(void **state)
{
    (void)state;
    fails("{\"text\": \"b\"}", "t.jsonl, line 2: there is no label");
    fails("{\"text\": null, \"label\": \"a\"}", "t.jsonl, line 2: no text or number as text");
    fails("{\"text\": [], \"label\": \"a\"}", "t.jsonl, line 2: no text or number as text");
    fails("[1]", "t.jsonl, line 2: no JSON object");
    fails("{\"text\": \"b\", \"label\": \"a\"} x", "t.jsonl, line 2: no JSON object");
    fails("{\"text\": \"b\", \"text\": \"c\", \"label\": \"a\"}",
          "t.jsonl, line 2: no JSON object");
    fails("{\"text\": \"\xff\", \"label\": \"a\"}", "t.jsonl, line 2: no JSON object");
    char *longest = malloc((1 << 20) + 64);
    assert_non_null(longest);
    memset(longest, ' ', (1 << 20) + 2);
    snprintf(longest + (1 << 20) + 2, 8, "{}\n");
    fails(longest, "t.jsonl, line 2: longer than the megabyte that a row may have");
    free(longest);
}

static void a_nul_byte_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"text\": \"a\",\0 \"label\": \"b\"}\n";
    struct records *r = NULL;
    const maas_str *values = NULL;
    maas_error error = MAAS_ERROR_INIT;
    write_file("t.jsonl", text, sizeof(text) - 1);
    assert_int_equal(records_open(dir, "t", names, 2, &r, &error), MAAS_OK);
    assert_int_equal(records_next(r, &values, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "t.jsonl, line 1: a NUL byte");
    records_close(r);
    remove_file("t.jsonl");
}

static void there_is_one_file_of_a_part(void **state)
{
    (void)state;
    struct records *r = NULL;
    maas_error error = MAAS_ERROR_INIT;
    assert_false(records_exist(dir, "t"));
    assert_int_equal(records_open(dir, "t", names, 2, &r, &error), MAAS_E_NOT_FOUND);
    write_file("t.csv", "text,label\n", 11);
    assert_true(records_exist(dir, "t"));
    write_file("t.jsonl", "", 0);
    assert_int_equal(records_open(dir, "t", names, 2, &r, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "there are both t.csv and t.jsonl");
    remove_file("t.csv");
    assert_true(records_exist(dir, "t"));
    assert_int_equal(records_open(dir, "t", names, 2, &r, &error), MAAS_OK);
    assert_end(r);
    remove_file("t.jsonl");
}

/* ---- labels */

static void classes_are_numbered_by_name(void **state)
{
    (void)state;
    struct labels l = { 0 };
    uint32_t rows[40], number;
    char name[8];
    maas_error error = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "c%02u", 19 - i % 20);
        assert_int_equal(labels_add(&l, maas_text(name), i, &rows[i], &error), MAAS_OK);
        assert_int_equal(rows[i], i % 20);
    }
    assert_int_equal(labels_sort(&l, rows, 40, &error), MAAS_OK);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(rows[i], 19 - i % 20);
    assert_string_equal(l.names[3], "c03");
    assert_int_equal(labels_find(l.names, l.count, maas_text("c07")), 7);
    assert_int_equal(labels_find(l.names, l.count, maas_text("c7")), -1);
    assert_int_equal(labels_find(l.names, l.count, (maas_str){ "c07\0x", 5 }), -1);
    assert_int_equal(labels_add(&l, maas_text(""), 9, &number, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "line 9: a label of 0 bytes; 1 to 255, without NUL, are good");
    labels_release(&l);
}

static void classes_have_a_bound(void **state)
{
    (void)state;
    struct labels l = { 0 };
    uint32_t number;
    char name[8];
    maas_error error = MAAS_ERROR_INIT;
    for (uint32_t i = 0; i < LABELS_MAX; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(labels_add(&l, maas_text(name), i, &number, &error), MAAS_OK);
    }
    assert_int_equal(labels_add(&l, maas_text("one more"), 5000, &number, &error), MAAS_E_INVALID);
    assert_string_equal(error.text, "line 5000: more than 4096 classes");
    labels_release(&l);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_kinds_give_the_same_rows),
        cmocka_unit_test(errors_name_file_and_line),
        cmocka_unit_test(a_nul_byte_is_refused),
        cmocka_unit_test(there_is_one_file_of_a_part),
        cmocka_unit_test(classes_are_numbered_by_name),
        cmocka_unit_test(classes_have_a_bound),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
