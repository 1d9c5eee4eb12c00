/*
 * key.c: makes and checks API keys.
 *
 * A check computes one HMAC with the absorbed pads of mac.c and compares it in constant time; it
 * allocates nothing and needs no context. Every check does the same work: an unknown id and an
 * unknown pepper version are compared against a dummy under the newest pepper.
 *
 * The order in key_parse goes from cheap to dear: form, checksum, tag. A stranger's flood of
 * made-up keys therefore ends here, without a look-up.
 */
#include "auth/key.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base62.h"
#include "auth/mac.h"
#include "auth/siphash.h"

#define PREFIX     "maas_live_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define TAG_LEN    4
#define SECRET_LEN 43
#define CRC_AT     (KEY_TEXT_LEN - BASE62_CRC)
#define BLOCK      64

_Static_assert(PREFIX_LEN + KEY_ID_LEN + TAG_LEN + 1 + SECRET_LEN + BASE62_CRC == KEY_TEXT_LEN,
               "key form");

_Static_assert(KEY_MAC_LEN == MAC_LEN, "the stored MAC is a whole one");

struct key_ring {
    struct mac_key id_key;
    struct mac_key peppers[KEY_PEPPERS_MAX];
    uint16_t versions[KEY_PEPPERS_MAX];
    size_t pepper_count;
};

struct key_checker {
    const struct key_ring *ring;
    uint64_t memory_key[2];
};

/* ---- the ring */

void key_ring_free(struct key_ring *ring)
{
    if (!ring)
        return;
    OPENSSL_cleanse(ring, sizeof(*ring));
    free(ring);
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
    if (!ring)
        return fail(error, MAAS_E_EXHAUSTED, "no memory for the key ring");
    mac_key_init(&ring->id_key, id_key);
    for (size_t i = 0; i < pepper_count; i++) {
        ring->versions[i] = peppers[i].version;
        mac_key_init(&ring->peppers[i], peppers[i].secret);
    }
    ring->pepper_count = pepper_count;
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

/* The first line is the key; behind it only empty lines may stand. */
static maas_status read_id_key(struct str text, uint8_t out[32], maas_error *error)
{
    bool good = hex_decode(next_line(&text), out, 32);
    while (good && text.len)
        good = next_line(&text).len == 0;
    return good ? MAAS_OK : fail(error, MAAS_E_INVALID, "id key: 64 hex digits are needed");
}

static maas_status read_peppers(struct str text, struct key_pepper list[KEY_PEPPERS_MAX],
                                size_t *out_count, maas_error *error)
{
    size_t count = 0;
    for (unsigned number = 1; text.len; number++) {
        struct str line = next_line(&text);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (count == KEY_PEPPERS_MAX)
            return fail(error, MAAS_E_INVALID, "peppers: more than %d", KEY_PEPPERS_MAX);
        if (!pepper_line(line, &list[count++]))
            return fail(error, MAAS_E_INVALID, "peppers: line %u is not `version hex64`", number);
    }
    *out_count = count;
    return MAAS_OK;
}

maas_status key_ring_from_text(struct str id_key, struct str peppers, struct key_ring **out,
                               maas_error *error)
{
    struct key_pepper list[KEY_PEPPERS_MAX];
    uint8_t id_secret[32];
    size_t count = 0;
    maas_status status = read_id_key(id_key, id_secret, error);
    if (!status)
        status = read_peppers(peppers, list, &count, error);
    if (!status)
        status = key_ring_new(id_secret, list, count, out, error);
    OPENSSL_cleanse(list, sizeof(list));
    OPENSSL_cleanse(id_secret, sizeof(id_secret));
    return status;
}

bool key_ring_mac(const struct key_ring *ring, uint16_t version, struct str text,
                  uint8_t out[KEY_MAC_LEN], uint16_t *out_version)
{
    size_t which = ring->pepper_count - 1;
    while (version && ring->versions[which] != version)
        if (which-- == 0)
            return false;
    mac_make(&ring->peppers[which], text, out);
    *out_version = ring->versions[which];
    return true;
}

/* ---- form, checksum, tag */

static void tag_of(const struct key_ring *ring, const char id[KEY_ID_LEN], char out[TAG_LEN])
{
    uint8_t full[MAC_LEN];
    uint64_t number = 0;
    mac_make(&ring->id_key, (struct str){ id, KEY_ID_LEN }, full);
    for (size_t i = 0; i < 8; i++)
        number = number << 8 | full[i];
    base62_encode(number, out, TAG_LEN);
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
    CHECK(c);
    c->ring = ring;
    random_bytes(c->memory_key, sizeof(c->memory_key));
    return c;
}

void key_checker_free(struct key_checker *c)
{
    if (!c)
        return;
    OPENSSL_cleanse(c, sizeof(*c));
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
    mac_make(&ring->peppers[which], text, made);
    bool equal = CRYPTO_memcmp(made, stored ? stored : dummy, KEY_MAC_LEN) == 0;
    OPENSSL_cleanse(made, sizeof(made));
    return equal & known & (stored != NULL);
}

/* ---- the memory of what passed */

bool key_peek(struct str text, char out_id[KEY_ID_LEN])
{
    if (text.len != KEY_TEXT_LEN || memcmp(text.data, PREFIX, PREFIX_LEN) != 0)
        return false;
    memcpy(out_id, text.data + PREFIX_LEN, KEY_ID_LEN);
    return true;
}

void key_remember(const struct key_checker *c, struct str text, struct key_memo *memo)
{
    siphash128(c->memory_key, text, memo->hash);
    memo->set = true;
}

bool key_is_remembered(const struct key_checker *c, struct str text, const struct key_memo *memo)
{
    static const struct key_memo nothing;
    struct key_memo made;
    if (!memo)
        memo = &nothing;
    siphash128(c->memory_key, text, made.hash);
    return (CRYPTO_memcmp(made.hash, memo->hash, sizeof(made.hash)) == 0) & memo->set;
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
    mac_make(&ring->peppers[newest], (struct str){ out->text, KEY_TEXT_LEN }, out->mac);
}
