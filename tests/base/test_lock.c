/* test_lock.c - a lock is held by one, and by nobody once its holder is gone. */
#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"

static void one_holds_it_at_a_time(void **state)
{
    const char *path = support_path("one.lock");
    struct lock first = {0}, second = {0};
    bool taken = false;
    assert_false(lock_is_held(path));
    assert_ok(lock_take(path, &first, &taken));
    assert_true(taken);
    assert_true(lock_is_held(path));
    assert_ok(lock_take(path, &second, &taken));
    assert_false(taken);
    lock_release(&first);
    assert_false(lock_is_held(path));
    assert_false(file_exists(path));
    lock_release(&first); /* twice is fine */
}

static void it_ends_with_its_process(void **state)
{
    const char *path = support_path("child.lock");
    struct lock lock = {0};
    bool taken = false;
    const pid_t child = fork();
    if (child == 0) {
        const bool held = lock_take(path, &lock, &taken) == RETORT_OK && taken;
        _exit(held ? 0 : 1);
    }
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    assert_true(file_exists(path));
    assert_false(lock_is_held(path));
    assert_ok(lock_take(path, &lock, &taken));
    assert_true(taken);
    lock_release(&lock);
}

/* As lock_is_held does, for longer. */
static void asking_for_it_does_not_take_it(void **state)
{
    const char *path = support_path("asked.lock");
    struct lock lock = {0};
    bool taken = false;
    int ready[2];
    char byte;
    assert_ok(file_write(path, "", 0));
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        const int descriptor = open(path, O_RDONLY);
        const bool asked = descriptor >= 0 && flock(descriptor, LOCK_SH | LOCK_NB) == 0;
        const bool told = write(ready[1], "", 1) == 1;
        usleep(20000);
        _exit(asked && told ? 0 : 1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_ok(lock_take(path, &lock, &taken));
    assert_true(taken);
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    lock_release(&lock);
    close(ready[0]);
    close(ready[1]);
}

static void a_folder_that_is_not_there_is_a_failure(void **state)
{
    struct lock lock = {0};
    bool taken;
    assert_fails(lock_take("/nowhere/at/all", &lock, &taken), RETORT_IO, "/nowhere/at/all");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holds_it_at_a_time),
        cmocka_unit_test(it_ends_with_its_process),
        cmocka_unit_test(asking_for_it_does_not_take_it),
        cmocka_unit_test(a_folder_that_is_not_there_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
