/* test_fetch.c - files from a server that is part of this program, and that misbehaves on demand.
 */
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nettle/md5.h>
#include <nettle/sha2.h>

#include "base/file.h"
#include "base/random.h"
#include "data/fetch.h"

enum { SIZE = 200000 };

/* ---- the server ---- */

enum manner {
    GOOD,      /* all of it, or the rest that is asked for */
    CUT,       /* hangs up after half of what it promised */
    NO_RANGES, /* always gives all of it */
    MISSING,   /* 404 */
    TOO_LONG,  /* a thousand bytes more */
    WRONG,     /* other bytes */
    MOVED,     /* 302 to /real */
    NO_LENGTH, /* does not say how long it is, and hangs up after half */
    SHORT,     /* its file is a thousand bytes shorter */
};

static struct {
    pthread_t thread;
    int socket, port;
    unsigned char content[SIZE];
    enum manner manner;
    long asked_from; /* of the last request; -1: all */
    int requests;
} server;

static void send_all(int client, const void *data, size_t size)
{
    const char *bytes = data;
    while (size > 0) {
        ssize_t sent = send(client, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void send_head(int client, long from, long length)
{
    char head[300];
    int size = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: close\r\n",
                        from > 0 ? "206 Partial Content" : "200 OK");
    if (from > 0)
        size += snprintf(head + size, sizeof(head) - (size_t)size,
                         "Content-Range: bytes %ld-%d/%d\r\n", from, SIZE - 1, SIZE);
    if (server.manner != NO_LENGTH)
        size +=
            snprintf(head + size, sizeof(head) - (size_t)size, "Content-Length: %ld\r\n", length);
    size += snprintf(head + size, sizeof(head) - (size_t)size, "\r\n");
    send_all(client, head, (size_t)size);
}

static void answer(int client, const char *request)
{
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    static const char moved[] =
        "HTTP/1.1 302 Found\r\nLocation: /real\r\nContent-Length: 0\r\n\r\n";
    const char *range = strstr(request, "Range: bytes=");
    server.asked_from = range ? strtol(range + 13, NULL, 10) : -1;
    server.requests++;
    if (server.manner == MISSING) {
        send_all(client, missing, strlen(missing));
        return;
    }
    if (server.manner == MOVED && strncmp(request, "GET /real ", 10) != 0) {
        send_all(client, moved, strlen(moved));
        return;
    }
    long from = server.asked_from > 0 && server.manner != NO_RANGES ? server.asked_from : 0;
    long length =
        SIZE - from + (server.manner == TOO_LONG ? 1000 : 0) - (server.manner == SHORT ? 1000 : 0);
    bool cut = server.manner == CUT || server.manner == NO_LENGTH;
    send_head(client, from, length);
    if (server.manner == WRONG)
        server.content[SIZE / 3] ^= 1;
    send_all(client, server.content + from,
             server.manner == SHORT ? (size_t)length : (size_t)(SIZE - from) / (cut ? 2 : 1));
    if (server.manner == WRONG)
        server.content[SIZE / 3] ^= 1;
    if (server.manner == TOO_LONG)
        send_all(client, server.content, 1000);
}

static void *serve(void *unused)
{
    for (;;) {
        char request[4096];
        size_t used = 0;
        int client = accept(server.socket, NULL, NULL);
        if (client < 0)
            return NULL;
        request[0] = '\0';
        while (used < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
            ssize_t got = recv(client, request + used, sizeof(request) - 1 - used, 0);
            if (got <= 0)
                break;
            used += (size_t)got;
            request[used] = '\0';
        }
        if (used > 0)
            answer(client, request);
        shutdown(client, SHUT_WR);
        while (recv(client, request, sizeof(request), 0) > 0)
            ;
        close(client);
    }
}

static int start_server(void **state)
{
    struct random_stream stream = random_stream(6, RANDOM_TEST, 0, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    for (int i = 0; i < SIZE; i++)
        server.content[i] = (unsigned char)random_bits(&stream, (uint64_t)i);
    server.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.socket, (struct sockaddr *)&address, size) || listen(server.socket, 8) ||
        getsockname(server.socket, (struct sockaddr *)&address, &size))
        return -1;
    server.port = ntohs(address.sin_port);
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    shutdown(server.socket, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.socket);
    return 0;
}

/* ---- the client ---- */

static struct {
    char md5[33], sha256[65], folder[300];
    struct fetch_file file;
    uint64_t told;
    int calls, restarts;
} client;

static void hex(const uint8_t *digest, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static void note(void *context, const char *file, uint64_t done, uint64_t total)
{
    assert_true(total == SIZE);
    client.restarts += done < client.told;
    client.told = done;
    client.calls++;
}

/* A new folder, and a file whose checksums are the content's. */
static void begin(enum manner manner)
{
    static int number;
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct md5_ctx md5;
    struct sha256_ctx sha256;
    char name[32];
    md5_init(&md5);
    md5_update(&md5, SIZE, server.content);
    md5_digest(&md5, MD5_DIGEST_SIZE, digest);
    hex(digest, MD5_DIGEST_SIZE, client.md5);
    sha256_init(&sha256);
    sha256_update(&sha256, SIZE, server.content);
    sha256_digest(&sha256, SHA256_DIGEST_SIZE, digest);
    hex(digest, SHA256_DIGEST_SIZE, client.sha256);
    snprintf(name, sizeof(name), "fetch-%d", number++);
    snprintf(client.folder, sizeof(client.folder), "%s", support_path(name));
    assert_ok(file_make_folder(client.folder));
    client.file = (struct fetch_file){"set.tar.gz", SIZE, client.md5, client.sha256};
    client.told = 0;
    client.calls = client.restarts = 0;
    server.manner = manner;
    server.requests = 0;
}

static enum retort_status fetch(void)
{
    const struct fetch_listener listener = {client.file.bytes ? note : NULL, NULL};
    char address[64];
    client.told = 0;
    snprintf(address, sizeof(address), "http://127.0.0.1:%d/sets", server.port);
    return fetch_file(address, &client.file, client.folder, &listener);
}

/* Bytes of a file in the folder; -1: not there. */
static long size_of(const char *name)
{
    struct file_bytes bytes;
    char *path = file_join(client.folder, name);
    long size = -1;
    if (file_exists(path)) {
        assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
        size = (long)bytes.size;
        assert_memory_equal(bytes.data, server.content, bytes.size);
        free(bytes.data);
    }
    free(path);
    return size;
}

static void put(const char *name, const void *data, size_t size)
{
    char *path = file_join(client.folder, name);
    assert_ok(file_write(path, data, size));
    free(path);
}

static void a_file_is_fetched_and_verified(void **state)
{
    for (int sums = 0; sums < 4; sums++) {
        begin(sums == 3 ? MOVED : GOOD);
        if (sums == 0)
            client.file.md5 = NULL;
        if (sums == 1)
            client.file.sha256 = NULL;
        if (sums == 2)
            client.file.bytes = 0;
        assert_ok(fetch());
        assert_int_equal(size_of("set.tar.gz"), SIZE);
        assert_int_equal(size_of("set.tar.gz.part"), -1);
        if (client.file.bytes)
            assert_int_equal(client.told, SIZE);
    }
}

static void what_is_there_is_not_fetched_again(void **state)
{
    begin(GOOD);
    put("set.tar.gz", server.content, SIZE);
    assert_ok(fetch());
    assert_int_equal(server.requests, 0);
    put("set.tar.gz", server.content, SIZE - 1);
    assert_fails(fetch(), RETORT_FORMAT, "a file of that name is there: ");
    assert_int_equal(size_of("set.tar.gz"), SIZE - 1); /* it may be the user's own */
}

static void a_cut_connection_is_continued(void **state)
{
    static const enum manner manners[] = {CUT, NO_LENGTH};
    for (int i = 0; i < 2; i++) {
        begin(manners[i]);
        assert_fails(fetch(), RETORT_IO, "ended after 100000 ");
        assert_int_equal(size_of("set.tar.gz"), -1);
        assert_int_equal(size_of("set.tar.gz.part"), SIZE / 2);
        assert_fails(fetch(), RETORT_IO, "the same command goes on there");
        assert_int_equal(server.asked_from, SIZE / 2);
        assert_int_equal(size_of("set.tar.gz.part"), SIZE * 3 / 4);
        server.manner = GOOD;
        assert_ok(fetch());
        assert_int_equal(server.asked_from, SIZE * 3 / 4);
        assert_int_equal(size_of("set.tar.gz"), SIZE);
        assert_int_equal(size_of("set.tar.gz.part"), -1);
    }
}

static void a_server_without_ranges_gives_all_of_it(void **state)
{
    begin(NO_RANGES);
    put("set.tar.gz.part", server.content, 1234);
    client.told = 0;
    client.file.bytes = 0;
    assert_ok(fetch());
    assert_int_equal(size_of("set.tar.gz"), SIZE);
}

static void a_part_that_is_whole_is_only_verified(void **state)
{
    begin(MISSING);
    put("set.tar.gz.part", server.content, SIZE);
    assert_ok(fetch());
    assert_int_equal(server.requests, 0);
    assert_int_equal(size_of("set.tar.gz"), SIZE);
}

static void a_wrong_checksum_leaves_nothing(void **state)
{
    char message[200];
    begin(WRONG);
    snprintf(message, sizeof(message), " found, %s wanted", client.sha256);
    assert_fails(fetch(), RETORT_FORMAT, message);
    assert_int_equal(size_of("set.tar.gz"), -1);
    assert_int_equal(size_of("set.tar.gz.part"), -1);
    client.file.sha256 = NULL;
    snprintf(message, sizeof(message), " found, %s wanted", client.md5);
    assert_fails(fetch(), RETORT_FORMAT, message);
    assert_int_equal(size_of("set.tar.gz.part"), -1);
    assert_int_equal(client.restarts, 0);
}

/* The server's file may have changed since: that is found out at the end, and all of it fetched. */
static void a_part_of_another_file_is_fetched_anew(void **state)
{
    begin(GOOD);
    put("set.tar.gz.part", "something else", 14);
    assert_ok(fetch());
    assert_int_equal(server.requests, 2);
    assert_int_equal(server.asked_from, -1);
    assert_int_equal(client.restarts, 1);
    assert_int_equal(size_of("set.tar.gz"), SIZE);
}

static void a_file_that_is_shorter_is_not_asked_for_again(void **state)
{
    begin(SHORT);
    assert_fails(fetch(), RETORT_FORMAT, "199000 bytes found, 200000 wanted: not the file");
    assert_int_equal(size_of("set.tar.gz"), -1);
    assert_int_equal(size_of("set.tar.gz.part"), -1);
}

static void a_file_that_does_not_end_is_cut_off(void **state)
{
    begin(TOO_LONG);
    assert_fails(fetch(), RETORT_FORMAT, "more than the 200000 bytes found that were wanted");
    assert_int_equal(size_of("set.tar.gz"), -1);
    assert_int_equal(size_of("set.tar.gz.part"), -1);
}

static void refusals_are_told(void **state)
{
    const struct fetch_listener silent = {0};
    begin(MISSING);
    assert_fails(fetch(), RETORT_IO, "404");
    assert_int_equal(size_of("set.tar.gz.part"), -1);
    assert_fails(fetch_file("http://127.0.0.1:1", &client.file, client.folder, &silent), RETORT_IO,
                 "http://127.0.0.1:1/set.tar.gz: Failed to connect");
    assert_fails(fetch_file("ftp://127.0.0.1", &client.file, client.folder, &silent), RETORT_IO,
                 "ftp");
    assert_fails(fetch_file("file:///nowhere", &client.file, client.folder, &silent), RETORT_IO,
                 "/nowhere");
}

static void a_full_disk_is_told_and_the_rest_fetched_later(void **state)
{
    struct rlimit before, small;
    begin(GOOD);
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){50000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum retort_status status = fetch();
    setrlimit(RLIMIT_FSIZE, &before);
    assert_fails(status, RETORT_IO, "set.tar.gz.part: cannot write: File too large");
    assert_int_equal(size_of("set.tar.gz"), -1);
    client.told = 0;
    assert_ok(fetch());
    assert_int_equal(server.asked_from, 50000);
    assert_int_equal(size_of("set.tar.gz"), SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_fetched_and_verified),
        cmocka_unit_test(what_is_there_is_not_fetched_again),
        cmocka_unit_test(a_cut_connection_is_continued),
        cmocka_unit_test(a_server_without_ranges_gives_all_of_it),
        cmocka_unit_test(a_part_that_is_whole_is_only_verified),
        cmocka_unit_test(a_wrong_checksum_leaves_nothing),
        cmocka_unit_test(a_part_of_another_file_is_fetched_anew),
        cmocka_unit_test(a_file_that_is_shorter_is_not_asked_for_again),
        cmocka_unit_test(a_file_that_does_not_end_is_cut_off),
        cmocka_unit_test(refusals_are_told),
        cmocka_unit_test(a_full_disk_is_told_and_the_rest_fetched_later),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
