/* unix_socket: rights, what stood there before, and who is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/unix_socket.h"

static char dir[] = "/tmp/lyss-unix-XXXXXX";
static char path[64];

static int up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void test_only_its_owner_may_connect(void **state)
{
    (void)state;
    struct stat st;
    enum err e;
    mode_t was = umask(0);
    int fd = unix_listen(path, &e, NULL);
    umask(was);
    assert_true(fd >= 0 && e == ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    int there = unix_connect(path, &e, NULL);
    assert_true(there >= 0 && e == ERR_OK);
    close(there);
    close(fd);
}

/* What the test before has left is a socket without a listener. */
static void test_a_stale_one_is_replaced(void **state)
{
    (void)state;
    enum err e;
    assert_int_equal(unix_connect(path, &e, NULL), -1);
    assert_int_equal(e, ERR_NOT_FOUND);
    int fd = unix_listen(path, &e, NULL);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    assert_int_equal(unix_connect(path, &e, NULL), -1);
    assert_int_equal(e, ERR_NOT_FOUND);
}

static void test_what_is_no_socket_stays(void **state)
{
    (void)state;
    struct err_info info;
    enum err e;
    err_info_init(&info);
    FILE *f = fopen(path, "w");
    fclose(f);
    assert_int_equal(unix_listen(path, &e, &info), -1);
    assert_int_equal(e, ERR_IO);
    assert_non_null(strstr(info.text, "in use"));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
}

static void test_a_long_path_is_refused(void **state)
{
    (void)state;
    char fits[UNIX_PATH_MAX], too_long[UNIX_PATH_MAX + 1];
    enum err e;
    memset(too_long, 'x', sizeof too_long);
    too_long[UNIX_PATH_MAX] = 0;
    assert_int_equal(unix_listen(too_long, &e, NULL), -1);
    assert_int_equal(e, ERR_TOO_BIG);
    assert_int_equal(unix_connect(too_long, &e, NULL), -1);
    assert_int_equal(e, ERR_TOO_BIG);
    snprintf(fits, sizeof fits, "%s/%0*d", dir, (int)(sizeof fits - strlen(dir) - 2), 7);
    assert_int_equal(strlen(fits), UNIX_PATH_MAX - 1);
    int fd = unix_listen(fits, &e, NULL);
    assert_true(fd >= 0);
    int there = unix_connect(fits, &e, NULL);
    assert_true(there >= 0);
    close(there);
    close(fd);
    unlink(fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_its_owner_may_connect),
        cmocka_unit_test(test_a_stale_one_is_replaced),
        cmocka_unit_test(test_what_is_no_socket_stays),
        cmocka_unit_test(test_a_long_path_is_refused),
    };
    return cmocka_run_group_tests(tests, up, down);
}
