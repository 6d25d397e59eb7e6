/* catalogues: models_file, read again when it is another. */
#include "gateway/catalogues.h"

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

enum err catalogues_open(struct catalogues *c, const char *path, const struct model_catalogue **out,
                         struct err_info *info)
{
    struct stat now = {0};
    *out = model_catalogue_builtin();
    if (!path[0])
        return ERR_OK;
    bool there = stat(path, &now) == 0; /* else opening it says why not */
    if (there && c->n && same_file(&now, &c->file)) {
        *out = c->all[c->n - 1];
        return ERR_OK;
    }
    if (c->n == CATALOGUES_MAX)
        return err_set(info, ERR_CONFLICT,
                       "models_file has changed %d times since the start; restart for a further "
                       "change",
                       CATALOGUES_MAX);
    enum err e = model_catalogue_open(&c->all[c->n], path, info);
    if (e)
        return e;
    c->file = now;
    *out = c->all[c->n++];
    return ERR_OK;
}

void catalogues_release(struct catalogues *c)
{
    while (c->n)
        model_catalogue_free(&c->all[--c->n]);
}
