/*
 * test_text.c: words of any bytes, features, and a model file that is damaged in every place.
 */
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "dice.h"
#include "model_file.h"

static maas_str str(const char *z)
{
    return (maas_str){ z, strlen(z) };
}

/* Words with bars between, as they stand in the text. */
static void words_are(const char *text, const char *wanted)
{
    char got[512] = "";
    struct reader r = { text, text + strlen(text) };
    struct word w;
    while (words_next(&r, &w))
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%.*s", got[0] ? "|" : "",
                 (int)(w.to - w.from), w.from);
    assert_string_equal(got, wanted);
}

static void words_of_many_scripts(void **state)
{
    (void)state;
    words_are("It isn't, really; good!", "It|isn't|really|good|!");
    words_are("这是一个很棒的文本", "这|是|一|个|很|棒|的|文|本");
    words_are("iPhone很好用 ok", "iPhone|很|好|用|ok");
    words_are("Ünïcode ΑΒΓ Привет", "Ünïcode|ΑΒΓ|Привет");
    words_are("  \t\n ... --- ", "");
    words_are("", "");
}

static uint64_t hash_of_first(const char *text)
{
    struct reader r = { text, text + strlen(text) };
    struct word w;
    assert_true(words_next(&r, &w));
    return w.hash;
}

static void case_and_width_are_folded(void **state)
{
    (void)state;
    assert_true(hash_of_first("GOOD") == hash_of_first("good"));
    assert_true(hash_of_first("ＧＯＯＤ") == hash_of_first("good"));
    assert_true(hash_of_first("ПРИВЕТ") == hash_of_first("привет"));
    assert_true(hash_of_first("ΑΒΓ") == hash_of_first("αβγ"));
    assert_true(hash_of_first("isn\xe2\x80\x99t") == hash_of_first("isn't"));
    assert_true(hash_of_first("good") != hash_of_first("goods"));
}

static void stops_and_negations_are_seen(void **state)
{
    (void)state;
    const char *text = "Not good. It wasn't no";
    struct reader r = { text, text + strlen(text) };
    struct word w;
    static const bool negates[] = { true, false, false, true, true },
                      stops[] = { false, false, true, false, false };
    for (size_t i = 0; i < 5; i++) {
        assert_true(words_next(&r, &w));
        assert_int_equal(w.negates, negates[i]);
        assert_int_equal(w.stop, stops[i]);
    }
}

/* No byte is read beyond the text, and each is passed once. */
static void any_bytes_are_a_text(void **state)
{
    (void)state;
    struct dice dice = { 7 };
    for (int round = 0; round < 20000; round++) {
        size_t len = dice_roll(&dice) % 40;
        char *text = malloc(len ? len : 1);
        assert_non_null(text);
        for (size_t i = 0; i < len; i++)
            text[i] =
                (char)(dice_roll(&dice) % 3 ? dice_roll(&dice) : 0xc0 | dice_roll(&dice) % 64);
        struct reader r = { text, text + len };
        struct word w;
        const char *before = text;
        while (words_next(&r, &w)) {
            assert_true(w.from >= before && w.to > w.from && w.to <= text + len);
            before = w.to;
        }
        assert_true(r.at == r.end);
        free(text);
    }
}

/* ---- features */

struct seen {
    uint32_t keys[256], count;
};

static void see(void *arg, uint32_t key, uint32_t first, uint32_t last)
{
    struct seen *s = arg;
    assert_true(key != 0 && first <= last && s->count < 256);
    s->keys[s->count++] = key;
}

static struct seen features(struct shape shape, const char *text)
{
    struct seen s = { .count = 0 };
    (void)features_of(&shape, str(text), see, &s);
    return s;
}

static bool share_any(const struct seen *a, const struct seen *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        for (uint32_t k = 0; k < b->count; k++)
            if (a->keys[i] == b->keys[k])
                return true;
    return false;
}

static void runs_of_words_and_characters(void **state)
{
    (void)state;
    assert_int_equal(features((struct shape){ 1, 0, 0, 0 }, "a b c").count, 3);
    assert_int_equal(features((struct shape){ 2, 0, 0, 0 }, "a b c").count, 5);
    assert_int_equal(features((struct shape){ 3, 0, 0, 0 }, "a b c").count, 6);
    assert_int_equal(features((struct shape){ 1, 0, 0, 0 }, "很棒的").count, 6); /* 3, 2, 1 */
    assert_int_equal(features((struct shape){ 1, 3, 0, 0 }, "good").count,
                     1 + 4); /* <go goo ood od> */
    assert_int_equal(features((struct shape){ 1, 0, 3, 0 }, "goods go").count,
                     3); /* the stem of one */
    struct seen ab = features((struct shape){ 2, 0, 0, 0 }, "a b");
    struct seen ba = features((struct shape){ 2, 0, 0, 0 }, "b a");
    assert_true(ab.keys[2] != ba.keys[2]);
}

static void a_negated_word_is_another_up_to_the_stop(void **state)
{
    (void)state;
    const struct shape plain = { 1, 0, 0, 0 }, negating = { 1, 0, 0, 3 };
    struct seen good = features(plain, "good");
    struct seen not_good = features(negating, "not very good"),
                then = features(negating, "not. good");
    struct seen far = features(negating, "not a b c good"),
                always = features(plain, "not very good");
    assert_false(share_any(&good, &not_good));
    assert_true(share_any(&good, &then));
    assert_true(share_any(&good, &far));
    assert_true(share_any(&good, &always));
}

/* ---- the model file */

enum { SLOTS = 8, CLASSES = 2 };

static void write_model(void)
{
    uint32_t keys[SLOTS] = { 0 };
    float weights[SLOTS * CLASSES] = { 0 }, bias[CLASSES] = { 0.5f, -0.5f };
    char labels[CLASSES][TEXT_LABEL_MAX] = { "bad", "good" };
    struct table table = { keys, SLOTS };
    maas_error error = MAAS_ERROR_INIT;
    struct seen good = features((struct shape){ 1, 0, 0, 0 }, "good");
    uint32_t at = table_slot(&table, good.keys[0]);
    keys[at] = good.keys[0];
    weights[at * CLASSES + 1] = 3;
    const struct text_model m = { .shape = { 1, 0, 0, 0 },
                                  .classes = CLASSES,
                                  .labels = labels,
                                  .table = table,
                                  .ngrams = { weights, bias } };
    assert_int_equal(text_write(folder, &m, &error), MAAS_OK);
}

static maas_status read_model(struct text_model *m)
{
    maas_error error = MAAS_ERROR_INIT;
    return text_read(folder, m, &error);
}

static void a_model_scores_as_it_was_written(void **state)
{
    (void)state;
    struct text_model m;
    float p[CLASSES], words[3] = { 0 };
    write_model();
    assert_int_equal(read_model(&m), MAAS_OK);
    text_scores(&m, str("so good indeed"), NULL, p);
    double z = 3 / sqrt(3) - 0.5 - 0.5; /* beside the other class */
    assert_true(fabs(p[1] - 1 / (1 + exp(-z))) < 1e-6);
    assert_true(fabs(p[0] + p[1] - 1) < 1e-6);
    text_scores(&m, str(""), NULL, p);
    assert_true(fabs(p[0] - 1 / (1 + exp(-1))) < 1e-6); /* the bias alone */
    text_words(&m, str("so good indeed"), 1, NULL, words, 3);
    assert_true(words[0] == 0 && fabs(words[1] - 1.5 / sqrt(3)) < 1e-6 && words[2] == 0);
    text_release(&m);
}

static void a_file_that_is_cut_or_changed_is_refused_or_harmless(void **state)
{
    (void)state;
    static char good[4096], bad[4097];
    struct text_model m;
    float p[TEXT_CLASSES_MAX];
    write_model();
    size_t len = load(good, sizeof(good));
    assert_true(len < sizeof(good));
    for (size_t cut = 0; cut < len; cut++) {
        store(good, cut);
        assert_int_equal(read_model(&m), MAAS_E_DATA_LOSS);
    }
    memcpy(bad, good, len);
    store(bad, len + 1);
    assert_int_equal(read_model(&m), MAAS_E_DATA_LOSS);
    for (size_t at = 0; at < len; at++)
        for (unsigned flip = 1; flip < 256; flip = flip * 8 + 7) {
            memcpy(bad, good, len);
            bad[at] = (char)(bad[at] ^ (char)flip);
            store(bad, len);
            if (read_model(&m) != MAAS_OK)
                continue;
            text_scores(&m, str("so good indeed, not bad!"), NULL, p);
            for (uint32_t c = 0; c < m.classes; c++)
                assert_true(p[c] >= 0 && p[c] <= 1.0001f);
            text_release(&m);
        }
}

static void a_full_table_is_refused(void **state)
{
    (void)state;
    static char data[4096];
    struct text_model m;
    write_model();
    size_t len = load(data, sizeof(data)), keys = len - SLOTS * 4 - SLOTS * CLASSES * 4;
    for (uint32_t i = 0; i < SLOTS; i++)
        memcpy(data + keys + 4 * i, &(uint32_t){ i + 1 }, 4);
    store(data, len);
    assert_int_equal(read_model(&m), MAAS_E_DATA_LOSS);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/text.model", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_many_scripts),
        cmocka_unit_test(case_and_width_are_folded),
        cmocka_unit_test(stops_and_negations_are_seen),
        cmocka_unit_test(any_bytes_are_a_text),
        cmocka_unit_test(runs_of_words_and_characters),
        cmocka_unit_test(a_negated_word_is_another_up_to_the_stop),
        cmocka_unit_test(a_model_scores_as_it_was_written),
        cmocka_unit_test(a_file_that_is_cut_or_changed_is_refused_or_harmless),
        cmocka_unit_test(a_full_table_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
