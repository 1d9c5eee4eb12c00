/*
 * exif.c: one number out of a TIFF block: tag 0x0112 of the first directory, a short. Source: EXIF
 * 2.32, 4.6; TIFF 6.0. Bounded: one directory, 1000 entries at most, no pointer but the first.
 */
#include "format.h"

enum { ENTRY = 12, ENTRIES_MAX = 1000, TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3 };

static uint32_t read16(const uint8_t *p, bool big)
{
    return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t read32(const uint8_t *p, bool big)
{
    return big ? be32(p) : le32(p);
}

uint32_t image_exif_orientation(struct bytes tiff)
{
    if (tiff.len < 8 || (memcmp(tiff.data, "II*\0", 4) != 0 && memcmp(tiff.data, "MM\0*", 4) != 0))
        return 1;
    const bool big = tiff.data[0] == 'M';
    const size_t at = read32(tiff.data + 4, big);
    if (at > tiff.len - 2)
        return 1;
    const uint32_t count = read16(tiff.data + at, big);
    for (uint32_t i = 0; i < count && i < ENTRIES_MAX; i++) {
        const size_t entry = at + 2 + (size_t)i * ENTRY;
        if (entry + ENTRY > tiff.len)
            return 1;
        const uint8_t *p = tiff.data + entry;
        if (read16(p, big) == TAG_ORIENTATION && read16(p + 2, big) == TYPE_SHORT) {
            const uint32_t value = read16(p + 8, big);
            return value >= 1 && value <= 8 ? value : 1;
        }
    }
    return 1;
}
