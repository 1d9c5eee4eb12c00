/*
 * Loading: the sealed copy and its hash, tables longer and shorter than ours, what is refused,
 * options, signatures.
 */
#include "engine_test.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void refused(const char *variant, maas_status status, const char *says)
{
    char path[1024];
    struct engine_plugin *plugin = NULL;
    maas_error error = MAAS_ERROR_INIT;
    snprintf(path, sizeof(path), VARIANTS "%s.so", variant);
    assert_int_equal(engine_plugin_load(path, NULL, &plugin, &error), status);
    if (!strstr(error.text, says))
        fail_msg("%s says '%s'", variant, error.text);
    assert_null(plugin);
}

static void what_is_no_plugin_is_refused_with_its_reason(void **state)
{
    (void)state;
    refused("absent", MAAS_E_NOT_FOUND, "absent.so");
    refused("other_major", MAAS_E_UNIMPLEMENTED, "does not speak ABI 1.0");
    refused("no_infer", MAAS_E_INVALID, "infer is missing");
    refused("no_entry", MAAS_E_INVALID, "does not export maas_plugin_entry");
    refused("bad_default", MAAS_E_INVALID, "option 1");
    refused("init_fails", MAAS_E_UNAVAILABLE, "no licence today");
    refused("unresolved", MAAS_E_INVALID, "nobody_has_this_function");
}

static void text_instead_of_a_library_is_refused(void **state)
{
    (void)state;
    struct engine_plugin *plugin;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_plugin_load(MAAS_SOURCE_DIR "/CMakeLists.txt", NULL, &plugin, &error),
                     MAAS_E_INVALID);
    assert_int_equal(engine_plugin_load(MAAS_SOURCE_DIR, NULL, &plugin, &error),
                     MAAS_E_UNAVAILABLE);
}

static void the_sha256_decides_before_a_byte_is_run(void **state)
{
    (void)state;
    struct engine_plugin *plugin = NULL;
    maas_error error = MAAS_ERROR_INIT;
    uint8_t digest[32];
    char *data;
    size_t len;
    assert_int_equal(file_read(VARIANTS "good.so", (size_t)64 << 20, &data, &len, &error), MAAS_OK);
    SHA256((const unsigned char *)data, len, digest);
    free(data);
    assert_int_equal(engine_plugin_load(VARIANTS "good.so", digest, &plugin, &error), MAAS_OK);
    engine_plugin_retire(plugin);
    digest[31] ^= 1;
    assert_int_equal(engine_plugin_load(VARIANTS "good.so", digest, &plugin, &error),
                     MAAS_E_DENIED);
    /* init_fails would say so if it were run. */
    assert_int_equal(engine_plugin_load(VARIANTS "init_fails.so", digest, &plugin, &error),
                     MAAS_E_DENIED);
}

#define LOADS 20000 /* until one was refused at least: who exchanges may get no processor */

struct exchange { /* somebody who puts one file in the other's place, over and over */
    char target[64];
    struct str files[2];
    bool in_place;
    atomic_bool over;
};

static void *exchange_thread(void *arg)
{
    struct exchange *x = arg;
    char fresh[80];
    snprintf(fresh, sizeof(fresh), "%s.new", x->target);
    for (unsigned i = 0; !atomic_load(&x->over); i++) {
        int fd = open(x->in_place ? x->target : fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        (void)!write(fd, x->files[i % 2].data, x->files[i % 2].len);
        close(fd);
        if (x->in_place)
            usleep(200); /* whole for a while: cut off, it is refused in any case */
        else
            rename(fresh, x->target);
    }
    return NULL;
}

/* Loads what stands there by the digest of the first file: how often it was loaded, was refused, or
 * another one came. */
static void load_during(struct exchange *x, int *loaded, int *refused, int *wrong)
{
    uint8_t digest[32];
    pthread_t thread;
    SHA256((const unsigned char *)x->files[0].data, x->files[0].len, digest);
    assert_int_equal(pthread_create(&thread, NULL, exchange_thread, x), 0);
    while (access(x->target, R_OK))
        usleep(100);
    for (int i = 0; i < LOADS && (i < 1000 || !*refused); i++) {
        struct engine_plugin *plugin = NULL;
        maas_error error = MAAS_ERROR_INIT;
        maas_status status = engine_plugin_load(x->target, digest, &plugin, &error);
        bool good = plugin && strcmp(engine_plugin_table(plugin)->id, "test.good") == 0;
        *loaded += good;
        *refused += status == MAAS_E_DENIED;
        *wrong += !good && status != MAAS_E_DENIED;
        engine_plugin_retire(plugin);
    }
    atomic_store(&x->over, true);
    pthread_join(thread, NULL);
}

static void a_file_that_is_exchanged_meanwhile_is_the_right_one_or_refused(void **state)
{
    (void)state;
    static const char *const names[] = { VARIANTS "good.so", VARIANTS "future.so" };
    char folder[] = "/tmp/maas-exchange-XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (int in_place = 0; in_place < 2; in_place++) {
        struct exchange x = { .in_place = in_place };
        char *data[2];
        snprintf(x.target, sizeof(x.target), "%s/plugin.so", folder);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(file_read(names[i], (size_t)64 << 20, &data[i], &x.files[i].len, NULL),
                             MAAS_OK);
            x.files[i].data = data[i];
        }
        int loaded = 0, refused = 0, wrong = 0;
        load_during(&x, &loaded, &refused, &wrong);
        print_message("%d loaded, %d refused\n", loaded, refused);
        assert_int_equal(wrong, 0);
        assert_true(refused > 0); /* else nothing was exchanged */
        free(data[0]);
        free(data[1]);
        unlink(x.target);
    }
    rmdir(folder);
}

/* The loader knows objects by name: a descriptor number used twice would give the first again. */
static void two_plugins_in_one_process_stay_apart(void **state)
{
    (void)state;
    struct engine_plugin *a = plugin_or_fail(VARIANTS "good.so");
    struct engine_plugin *b = plugin_or_fail(VARIANTS "future.so");
    struct engine_plugin *c = plugin_or_fail(VARIANTS "good.so");
    assert_string_equal(engine_plugin_table(a)->id, "test.good");
    assert_string_equal(engine_plugin_table(b)->id, "test.future");
    assert_string_equal(engine_plugin_table(c)->id, "test.good");
    engine_plugin_retire(a);
    engine_plugin_retire(b);
    engine_plugin_retire(c);
}

static void longer_and_shorter_tables_load_and_infer(void **state)
{
    (void)state;
    static const char *const paths[] = { VARIANTS "good.so", VARIANTS "future.so",
                                         VARIANTS "short.so" };
    static const double values[] = { 1, 2, 10, 20, 100, 200 };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct engine_plugin *plugin = plugin_or_fail(paths[i]);
        struct engine_model *model = model_or_fail(plugin, "/nowhere", NULL, NULL);
        struct engine_job *job = job_or_fail(1 << 20);
        struct engine_request request = features_request(job, values, 3, 2);
        struct str param;
        maas_error error = MAAS_ERROR_INIT;
        request.inputs[0].name = (maas_str){ "four", 4 };
        assert_null(engine_plugin_table(plugin)->extension("maas.train/1"));
        assert_non_null(engine_plugin_table(plugin)->title);
        if (engine_infer(model, job, &request, &param, &error))
            fail_msg("%s", error.text);
        assert_true(output_values(job, 0)[2] == 300);
        engine_job_free(job);
        engine_model_unload(model);
        engine_plugin_retire(plugin);
    }
}

/* ---- options */

static void options_are_checked_against_their_declarations(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        bool good;
        const char *says;
    } cases[] = {
        { "level", "10", true, "" },
        { "level", "11", false, "option 'level' cannot be '11': it is one of 0..10" },
        { "level", "-1", false, "level" },
        { "level", "1.5", false, "level" },
        { "level", "", false, "level" },
        { "level", "99999999999999999999", false, "level" },
        { "share", "1", true, "" },
        { "share", "1e-3", true, "" },
        { "share", "nan", false, "share" },
        { "share", "inf", false, "share" },
        { "share", "0.5x", false, "share" },
        { "fast", "true", true, "" },
        { "fast", "yes", false, "fast" },
        { "colour", "green", true, "" },
        { "colour", "gree", false, "it is one of red|green" },
        { "colour", "red|green", false, "colour" },
        { "speed", "1", false, "unknown option 'speed'" },
        { "", "", false, "unknown option ''" },
    };
    struct engine_plugin *plugin = plugin_or_fail(VARIANTS "good.so");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct engine_option given = { str_of(cases[i].name), str_of(cases[i].value) };
        struct engine_model *model = NULL;
        maas_error error = MAAS_ERROR_INIT;
        maas_status status = engine_model_load(plugin, "/", &given, 1, &model, &error);
        if ((status == MAAS_OK) != cases[i].good || !strstr(error.text, cases[i].says))
            fail_msg("%s=%s says '%s'", cases[i].name, cases[i].value, error.text);
        engine_model_unload(model);
    }
    engine_plugin_retire(plugin);
}

static void an_option_given_twice_or_with_a_nul_is_refused(void **state)
{
    (void)state;
    struct engine_plugin *plugin = plugin_or_fail(VARIANTS "good.so");
    struct engine_option twice[] = { { STR("level"), STR("1") }, { STR("level"), STR("1") } };
    struct engine_option nul = { STR("colour"), STR("red\0green") };
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_model_load(plugin, "/", twice, 2, &model, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "twice"));
    assert_int_equal(engine_model_load(plugin, "/", &nul, 1, &model, &error), MAAS_E_INVALID);
    engine_plugin_retire(plugin);
}

/* ---- signatures */

static void a_signature_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const broken[] = { "no-inputs", "many",   "rows", "extent",
                                          "dtype",     "labels", "name", "twice",
                                          "ndim",      "task",   "null", "names-nul" };
    struct engine_plugin *plugin = plugin_or_fail(VARIANTS "good.so");
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct engine_option given = { STR("broken"), str_of(broken[i]) };
        struct engine_model *model = NULL;
        maas_error error = MAAS_ERROR_INIT;
        if (engine_model_load(plugin, "/", &given, 1, &model, &error) != MAAS_E_INVALID ||
            !strstr(error.text, "the plugin's signature: "))
            fail_msg("%s says '%s'", broken[i], error.text);
    }
    engine_plugin_retire(plugin);
}

static void a_signature_is_a_copy_with_its_labels(void **state)
{
    (void)state;
    struct engine_plugin *plugin = plugin_or_fail(VARIANTS "good.so");
    struct engine_model *model = model_or_fail(plugin, "/", NULL, NULL);
    const maas_signature *s = engine_signature(model);
    assert_int_equal(s->input_count, 1);
    assert_string_equal(s->inputs[0].name.data, "four");
    assert_int_equal(s->inputs[0].label_count, 2);
    assert_string_equal(s->inputs[0].labels[1].data, "right");
    assert_null(s->task);
    engine_model_unload(model);
    engine_plugin_retire(plugin);
}

static void a_model_that_does_not_load_keeps_its_own_reason(void **state)
{
    (void)state;
    struct engine_plugin *plugin = plugin_or_fail(VARIANTS "good.so");
    struct engine_option given = { STR("broken"), STR("load") };
    struct engine_model *model;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(engine_model_load(plugin, "/", &given, 1, &model, &error), MAAS_E_DATA_LOSS);
    assert_string_equal(error.text, "the model is damaged");
    engine_plugin_retire(plugin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_plugin_is_refused_with_its_reason),
        cmocka_unit_test(text_instead_of_a_library_is_refused),
        cmocka_unit_test(the_sha256_decides_before_a_byte_is_run),
        cmocka_unit_test(a_file_that_is_exchanged_meanwhile_is_the_right_one_or_refused),
        cmocka_unit_test(two_plugins_in_one_process_stay_apart),
        cmocka_unit_test(longer_and_shorter_tables_load_and_infer),
        cmocka_unit_test(options_are_checked_against_their_declarations),
        cmocka_unit_test(an_option_given_twice_or_with_a_nul_is_refused),
        cmocka_unit_test(a_signature_that_cannot_be_is_refused),
        cmocka_unit_test(a_signature_is_a_copy_with_its_labels),
        cmocka_unit_test(a_model_that_does_not_load_keeps_its_own_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
