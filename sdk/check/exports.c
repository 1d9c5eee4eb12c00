/*
 * exports.c: reads the table of dynamic symbols from the file itself, since the loader tells only
 * about names that one already knows.
 */
#include "exports.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)1 << 30)

struct image {
    char *bytes;
    size_t len;
};

static const void *inside(const struct image *image, uint64_t at, uint64_t bytes)
{
    return at <= image->len && bytes <= image->len - at ? image->bytes + at : NULL;
}

static bool linkers_own(const char *name)
{
    static const char *const marks[] = { "_end", "_edata", "__bss_start", "_init", "_fini", "" };
    for (size_t i = 0; i < COUNT_OF(marks); i++)
        if (strcmp(name, marks[i]) == 0)
            return true;
    return false;
}

static bool exported(const Elf64_Sym *s)
{
    unsigned bind = ELF64_ST_BIND(s->st_info), visibility = ELF64_ST_VISIBILITY(s->st_other);
    return s->st_shndx != SHN_UNDEF &&
           (bind == STB_GLOBAL || bind == STB_WEAK || bind == STB_GNU_UNIQUE) &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

static bool read_symbols(const struct image *image, const Elf64_Shdr *table, const Elf64_Shdr *text,
                         void (*on_name)(void *arg, const char *name), void *arg)
{
    const Elf64_Sym *symbols = inside(image, table->sh_offset, table->sh_size);
    const char *names = inside(image, text->sh_offset, text->sh_size);
    if (!symbols || !names || !text->sh_size || names[text->sh_size - 1])
        return false;
    for (size_t i = 0; i < table->sh_size / sizeof(*symbols); i++)
        if (exported(&symbols[i]) && symbols[i].st_name < text->sh_size &&
            !linkers_own(names + symbols[i].st_name))
            on_name(arg, names + symbols[i].st_name);
    return true;
}

static bool read_image(const struct image *image, void (*on_name)(void *arg, const char *name),
                       void *arg)
{
    const Elf64_Ehdr *head = inside(image, 0, sizeof(*head));
    if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
        head->e_ident[EI_CLASS] != ELFCLASS64)
        return false;
    const Elf64_Shdr *sections =
        inside(image, head->e_shoff, (uint64_t)head->e_shnum * sizeof(*sections));
    for (unsigned i = 0; sections && i < head->e_shnum; i++)
        if (sections[i].sh_type == SHT_DYNSYM && sections[i].sh_link < head->e_shnum)
            return read_symbols(image, &sections[i], &sections[sections[i].sh_link], on_name, arg);
    return false;
}

maas_status exports_read(const char *path, void (*on_name)(void *arg, const char *name), void *arg,
                         maas_error *error)
{
    struct image image;
    maas_status status = file_read(path, FILE_MAX, &image.bytes, &image.len, error);
    if (status)
        return status;
    if (!read_image(&image, on_name, arg))
        status =
            fail(error, MAAS_E_INVALID, "'%s' is no 64-bit ELF file with a table of symbols", path);
    free(image.bytes);
    return status;
}
