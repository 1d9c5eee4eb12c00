/*
 * keys.c: reads the two files of the key ring and wipes what it read.
 */
#include "api/keys.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX 4096

static void wipe(char *text, size_t len)
{
    if (text)
        explicit_bzero(text, len);
    free(text);
}

maas_status key_ring_from_files(const char *id_key_file, const char *pepper_file,
                                struct key_ring **out, maas_error *error)
{
    char *id_key = NULL, *peppers = NULL;
    size_t id_key_len = 0, peppers_len = 0;
    maas_status status = file_read(id_key_file, FILE_MAX, &id_key, &id_key_len, error);
    if (!status)
        status = file_read(pepper_file, FILE_MAX, &peppers, &peppers_len, error);
    if (!status)
        status = key_ring_from_text((struct str){ id_key, id_key_len },
                                    (struct str){ peppers, peppers_len }, out, error);
    wipe(id_key, id_key_len);
    wipe(peppers, peppers_len);
    return status;
}
