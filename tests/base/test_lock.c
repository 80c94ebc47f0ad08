/* test_lock.c - a lock is held by one, and by nobody once its holder is gone. */
#include "support.h"

#include <string.h>
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
        cmocka_unit_test(a_folder_that_is_not_there_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
