/*
 * key.c: makes and checks API keys.
 *
 * HMAC-SHA-256 is done with contexts that have absorbed the inner and the outer pad already: a
 * check copies two prepared contexts into two scratch contexts of the thread's checker, so it
 * fetches no algorithm and allocates nothing. The tag of an id is made the same way, with scratch
 * contexts of the calling thread.
 *
 * Every check does the same work: an unknown id and an unknown pepper version are compared against
 * a dummy under the newest pepper.
 */
#include "auth/key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base62.h"

#define PREFIX     "maas_live_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define TAG_LEN    4
#define SECRET_LEN 43
#define CRC_AT     (KEY_TEXT_LEN - BASE62_CRC)
#define BLOCK      64

_Static_assert(PREFIX_LEN + KEY_ID_LEN + TAG_LEN + 1 + SECRET_LEN + BASE62_CRC == KEY_TEXT_LEN,
               "key form");

struct mac_key { /* a secret, absorbed */
    EVP_MD_CTX *inner, *outer;
};

struct scratch {
    EVP_MD_CTX *a, *b;
};

struct key_ring {
    EVP_MD *sha256;
    struct mac_key id_key;
    struct mac_key peppers[KEY_PEPPERS_MAX];
    uint16_t versions[KEY_PEPPERS_MAX];
    size_t pepper_count;
};

struct key_checker {
    const struct key_ring *ring;
    struct scratch scratch;
};

/* ---- HMAC */

static bool scratch_init(struct scratch *s)
{
    s->a = EVP_MD_CTX_new();
    s->b = EVP_MD_CTX_new();
    return s->a && s->b;
}

static void scratch_release(struct scratch *s)
{
    EVP_MD_CTX_free(s->a);
    EVP_MD_CTX_free(s->b);
}

static bool absorb(EVP_MD_CTX **out, EVP_MD *md, const uint8_t secret[32], uint8_t pad)
{
    uint8_t block[BLOCK];
    memset(block, pad, sizeof(block));
    for (size_t i = 0; i < 32; i++)
        block[i] ^= secret[i];
    *out = EVP_MD_CTX_new();
    bool good =
        *out && EVP_DigestInit_ex(*out, md, NULL) == 1 && EVP_DigestUpdate(*out, block, BLOCK) == 1;
    OPENSSL_cleanse(block, sizeof(block));
    return good;
}

static bool mac_key_init(struct mac_key *key, EVP_MD *md, const uint8_t secret[32])
{
    return absorb(&key->inner, md, secret, 0x36) && absorb(&key->outer, md, secret, 0x5c);
}

static void mac_key_release(struct mac_key *key)
{
    EVP_MD_CTX_free(key->inner); /* frees wipe the state */
    EVP_MD_CTX_free(key->outer);
}

static void mac(const struct mac_key *key, struct scratch *s, struct str text,
                uint8_t out[KEY_MAC_LEN])
{
    CHECK(EVP_MD_CTX_copy_ex(s->a, key->inner) == 1 &&
          EVP_DigestUpdate(s->a, text.data, text.len) == 1 &&
          EVP_DigestFinal_ex(s->a, out, NULL) == 1);
    CHECK(EVP_MD_CTX_copy_ex(s->b, key->outer) == 1 &&
          EVP_DigestUpdate(s->b, out, KEY_MAC_LEN) == 1 &&
          EVP_DigestFinal_ex(s->b, out, NULL) == 1);
}

/* ---- the scratch of a thread that parses; freed at the thread's end */

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_drop(void *p)
{
    scratch_release(p);
    free(p);
}

static void scratch_key_init(void)
{
    CHECK(pthread_key_create(&scratch_key, scratch_drop) == 0);
}

static struct scratch *thread_scratch(void)
{
    static __thread struct scratch *mine;
    if (mine)
        return mine;
    pthread_once(&scratch_once, scratch_key_init);
    mine = calloc(1, sizeof(*mine));
    CHECK(mine && scratch_init(mine) && pthread_setspecific(scratch_key, mine) == 0);
    return mine;
}

/* ---- the ring */

void key_ring_free(struct key_ring *ring)
{
    if (!ring)
        return;
    mac_key_release(&ring->id_key);
    for (size_t i = 0; i < ring->pepper_count; i++)
        mac_key_release(&ring->peppers[i]);
    EVP_MD_free(ring->sha256);
    free(ring);
}

static bool ring_fill(struct key_ring *ring, const uint8_t id_key[32],
                      const struct key_pepper *peppers, size_t count)
{
    ring->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!ring->sha256 || !mac_key_init(&ring->id_key, ring->sha256, id_key))
        return false;
    for (size_t i = 0; i < count; i++) {
        ring->pepper_count = i + 1;
        ring->versions[i] = peppers[i].version;
        if (!mac_key_init(&ring->peppers[i], ring->sha256, peppers[i].secret))
            return false;
    }
    return true;
}

maas_status key_ring_new(const uint8_t id_key[32], const struct key_pepper *peppers,
                         size_t pepper_count, struct key_ring **out, maas_error *error)
{
    if (pepper_count < 1 || pepper_count > KEY_PEPPERS_MAX)
        return fail(error, MAAS_E_INVALID, "peppers: 1 to %d are needed, %zu are given",
                    KEY_PEPPERS_MAX, pepper_count);
    for (size_t i = 0; i < pepper_count; i++)
        for (size_t j = 0; j <= i; j++)
            if (peppers[i].version == 0 || (j < i && peppers[j].version == peppers[i].version))
                return fail(error, MAAS_E_INVALID, "peppers: version %u stands twice or is 0",
                            peppers[i].version);
    struct key_ring *ring = calloc(1, sizeof(*ring));
    if (!ring || !ring_fill(ring, id_key, peppers, pepper_count)) {
        key_ring_free(ring);
        return fail(error, MAAS_E_INTERNAL, "cannot prepare SHA-256");
    }
    *out = ring;
    return MAAS_OK;
}

static bool pepper_line(struct str line, struct key_pepper *out)
{
    uint32_t version = 0;
    size_t at = 0;
    while (at < line.len && line.data[at] >= '0' && line.data[at] <= '9' && version <= UINT16_MAX)
        version = version * 10 + (uint32_t)(line.data[at++] - '0');
    if (at == 0 || at >= line.len || line.data[at] != ' ' || version == 0 || version > UINT16_MAX)
        return false;
    out->version = (uint16_t)version;
    return hex_decode((struct str){ line.data + at + 1, line.len - at - 1 }, out->secret,
                      sizeof(out->secret));
}

static struct str next_line(struct str *text)
{
    const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->data) : text->len, step = end ? len + 1 : len;
    struct str line = { text->data, len && text->data[len - 1] == '\r' ? len - 1 : len };
    *text = (struct str){ text->data + step, text->len - step };
    return line;
}

maas_status key_ring_from_text(struct str id_key, struct str peppers, struct key_ring **out,
                               maas_error *error)
{
    struct key_pepper list[KEY_PEPPERS_MAX];
    uint8_t id_secret[32];
    size_t count = 0;
    unsigned number = 0;
    maas_status status = MAAS_OK;
    if (!hex_decode(next_line(&id_key), id_secret, sizeof(id_secret)))
        return fail(error, MAAS_E_INVALID, "id key: 64 hex digits are needed");
    while (peppers.len && !status) {
        struct str line = next_line(&peppers);
        number++;
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (count == KEY_PEPPERS_MAX)
            status = fail(error, MAAS_E_INVALID, "peppers: more than %d", KEY_PEPPERS_MAX);
        else if (!pepper_line(line, &list[count++]))
            status = fail(error, MAAS_E_INVALID, "peppers: line %u is not `version hex64`", number);
    }
    if (!status)
        status = key_ring_new(id_secret, list, count, out, error);
    OPENSSL_cleanse(list, sizeof(list));
    OPENSSL_cleanse(id_secret, sizeof(id_secret));
    return status;
}

/* ---- form, checksum, tag */

static void tag_of(const struct key_ring *ring, const char id[KEY_ID_LEN], char out[TAG_LEN])
{
    uint8_t full[KEY_MAC_LEN];
    mac(&ring->id_key, thread_scratch(), (struct str){ id, KEY_ID_LEN }, full);
    base62_encode(full, 8, out, TAG_LEN);
}

static bool has_form(struct str text)
{
    return text.len == KEY_TEXT_LEN && memcmp(text.data, PREFIX, PREFIX_LEN) == 0 &&
           base62_is((struct str){ text.data + PREFIX_LEN, KEY_ID_LEN + TAG_LEN }) &&
           text.data[PREFIX_LEN + KEY_ID_LEN + TAG_LEN] == '_' &&
           base62_is((struct str){ text.data + PREFIX_LEN + KEY_ID_LEN + TAG_LEN + 1,
                                   SECRET_LEN + BASE62_CRC });
}

enum key_form key_parse(const struct key_ring *ring, struct str text, char out_id[KEY_ID_LEN])
{
    char crc[BASE62_CRC], tag[TAG_LEN];
    if (!has_form(text))
        return KEY_MALFORMED;
    base62_crc((struct str){ text.data, CRC_AT }, crc);
    if (memcmp(crc, text.data + CRC_AT, BASE62_CRC) != 0)
        return KEY_TYPO;
    tag_of(ring, text.data + PREFIX_LEN, tag);
    if (CRYPTO_memcmp(tag, text.data + PREFIX_LEN + KEY_ID_LEN, TAG_LEN) != 0)
        return KEY_FORGED;
    memcpy(out_id, text.data + PREFIX_LEN, KEY_ID_LEN);
    return KEY_OK;
}

/* ---- the check */

struct key_checker *key_checker_new(const struct key_ring *ring)
{
    struct key_checker *c = calloc(1, sizeof(*c));
    CHECK(c && scratch_init(&c->scratch));
    c->ring = ring;
    return c;
}

void key_checker_free(struct key_checker *c)
{
    if (!c)
        return;
    scratch_release(&c->scratch);
    free(c);
}

bool key_verify(struct key_checker *c, struct str text, uint16_t pepper_version,
                const uint8_t stored[KEY_MAC_LEN])
{
    static const uint8_t dummy[KEY_MAC_LEN];
    const struct key_ring *ring = c->ring;
    size_t which = ring->pepper_count - 1;
    bool known = false;
    uint8_t made[KEY_MAC_LEN];
    for (size_t i = 0; i < ring->pepper_count; i++)
        if (ring->versions[i] == pepper_version) {
            which = i;
            known = true;
        }
    mac(&ring->peppers[which], &c->scratch, text, made);
    bool equal = CRYPTO_memcmp(made, stored ? stored : dummy, KEY_MAC_LEN) == 0;
    OPENSSL_cleanse(made, sizeof(made));
    return equal & known & (stored != NULL);
}

/* ---- making */

void key_make(const struct key_ring *ring, struct key_new *out)
{
    char *at = out->text;
    size_t newest = ring->pepper_count - 1;
    memcpy(at, PREFIX, PREFIX_LEN);
    at += PREFIX_LEN;
    base62_random(at, KEY_ID_LEN);
    memcpy(out->id, at, KEY_ID_LEN);
    out->id[KEY_ID_LEN] = '\0';
    tag_of(ring, at, at + KEY_ID_LEN);
    at += KEY_ID_LEN + TAG_LEN;
    *at++ = '_';
    base62_random(at, SECRET_LEN);
    base62_crc((struct str){ out->text, CRC_AT }, out->text + CRC_AT);
    out->text[KEY_TEXT_LEN] = '\0';
    out->pepper_version = ring->versions[newest];
    mac(&ring->peppers[newest], thread_scratch(), (struct str){ out->text, KEY_TEXT_LEN },
        out->mac);
}
