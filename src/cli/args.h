/* args: a command line taken apart: words, the columns of a thing, options of the command, and the
 * settings of the process. Main thread. */
#ifndef LYSS_CLI_ARGS_H
#define LYSS_CLI_ARGS_H

#include "core/config.h"
#include "store/rows.h"

enum { ARGS_WORDS_MAX = 4, ARGS_SETTINGS_MAX = 64 };

/* An option that is no column. Lists end with a row without flag. */
struct option {
    const char *flag;  /* without dashes */
    const char *value; /* what follows it, for the help; NULL: nothing */
    const char *doc;
};

struct given {
    const struct option *option;
    struct str value; /* NUL-terminated */
};

struct args {
    struct arena arena; /* texts of the row; the given list */
    struct str words[ARGS_WORDS_MAX];
    size_t n_words;
    bool json, help;
    struct str tenant;       /* --tenant; empty: not given */
    const char *config_file; /* --config; NULL: lyss.conf where there is one */
    uint64_t set;            /* columns given */
    struct given *given;     /* options given, in order */
    size_t n_given;
    char *settings[ARGS_SETTINGS_MAX + 2]; /* argv for config_load */
    int n_settings;
};

/* What is taken besides --data, --config, --json, --help and the settings. */
struct args_form {
    const struct thing *thing; /* its columns are flags; may be NULL */
    void *row;                 /* of the thing; values go there */
    const struct option *options;
    bool tenant; /* --tenant is taken */
};

/* argv[0] is skipped. Texts are lent from argv. ERR_INVALID with info->field empty: the sentence
 * names the flag itself. args_release must follow in any case. */
enum err args_parse(struct args *a, const struct args_form *form, int argc, char **argv,
                    struct err_info *info) MUST_CHECK;
void args_release(struct args *a);

/* The last value given for an option, {NULL, 0} when it was not given. */
struct str args_value(const struct args *a, const char *flag);
bool args_has(const struct args *a, const char *flag);
/* The settings of the process, with what the command line says of them. */
enum err args_config(struct args *a, struct config *c, struct err_info *info) MUST_CHECK;

#endif
