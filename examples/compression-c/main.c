/* Compresses its event, whatever it is: {"bytes": …, "crc32": "…", "compressed": …, "zlib": "…" (base64)}.
 *
 * Plain C: the Lambda Runtime API is HTTP, and one connection carries one request at a time. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

enum { MAX_HEAD = 64 * 1024, MAX_EVENT = 6 * 1024 * 1024, MAX_ID = 128 };

static int api = -1;
static char head[MAX_HEAD + 1];
static unsigned char event[MAX_EVENT];
static size_t event_bytes;

static void die(const char* what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static void connect_to_api(void) {
  const char* address = getenv("AWS_LAMBDA_RUNTIME_API");
  char host[64];
  unsigned port;
  struct sockaddr_in name = {.sin_family = AF_INET};
  int on = 1;
  if (address == NULL || sscanf(address, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &name.sin_addr) != 1) {
    die("AWS_LAMBDA_RUNTIME_API");
  }
  name.sin_port = htons((unsigned short)port);
  api = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(api, (struct sockaddr*)&name, sizeof(name)) != 0) die("connect");
  setsockopt(api, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void send_all(const void* data, size_t bytes) {
  for (const char* at = data; bytes > 0;) {
    ssize_t sent = send(api, at, bytes, MSG_NOSIGNAL);
    if (sent < 0) die("send");
    at += sent;
    bytes -= (size_t)sent;
  }
}

/* The value of a header field of the last response; NULL when it has none. */
static const char* field(const char* name) {
  static char value[1024];
  size_t length = strlen(name);
  for (const char* line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
    line += 2;
    if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
      sscanf(line + length + 1, " %1023[^\r]", value);
      return value;
    }
  }
  return NULL;
}

/* Sends a request and takes the response: its head to `head`, its body to `event`. Returns the status. */
static int ask(const char* method, const char* path, const char* body, size_t body_bytes) {
  char request[512];
  size_t got = 0;
  size_t wanted = 0;
  char* end = NULL;
  int status = 0;
  int length = snprintf(request, sizeof(request),
                        "%s /2018-06-01/runtime/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", method,
                        path, body_bytes);
  send_all(request, (size_t)length);
  send_all(body, body_bytes);
  while (end == NULL) {
    ssize_t piece = got < MAX_HEAD ? recv(api, head + got, MAX_HEAD - got, 0) : 0;
    if (piece <= 0) die("recv");
    got += (size_t)piece;
    head[got] = '\0';
    end = strstr(head, "\r\n\r\n");
  }
  event_bytes = got - (size_t)(end + 4 - head);
  memcpy(event, end + 4, event_bytes);
  end[2] = '\0';
  if (sscanf(head, "HTTP/1.1 %d", &status) != 1) die("no HTTP");
  if (field("Content-Length") != NULL) wanted = strtoul(field("Content-Length"), NULL, 10);
  if (wanted > MAX_EVENT) die("an event beyond 6 MB");
  while (event_bytes < wanted) {
    ssize_t piece = recv(api, event + event_bytes, wanted - event_bytes, 0);
    if (piece <= 0) die("recv");
    event_bytes += (size_t)piece;
  }
  return status;
}

static size_t base64(const unsigned char* bytes, size_t count, char* text) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char* out = text;
  for (size_t at = 0; at < count; at += 3) {
    unsigned long value = (unsigned long)bytes[at] << 16;
    if (at + 1 < count) value |= (unsigned long)bytes[at + 1] << 8;
    if (at + 2 < count) value |= bytes[at + 2];
    *out++ = alphabet[value >> 18 & 63];
    *out++ = alphabet[value >> 12 & 63];
    *out++ = at + 1 < count ? alphabet[value >> 6 & 63] : '=';
    *out++ = at + 2 < count ? alphabet[value & 63] : '=';
  }
  return (size_t)(out - text);
}

/* The answer as text to be freed. */
static char* handle(size_t* bytes) {
  uLongf compressed = compressBound(event_bytes);
  unsigned char* data = malloc(compressed);
  char* answer = malloc(compressed * 4 / 3 + 256);
  if (data == NULL || answer == NULL || compress2(data, &compressed, event, event_bytes, Z_BEST_COMPRESSION) != Z_OK) {
    die("compress2");
  }
  int length = sprintf(answer, "{\"bytes\": %zu, \"crc32\": \"%08lx\", \"compressed\": %lu, \"zlib\": \"", event_bytes,
                       crc32(0, event, (uInt)event_bytes), compressed);
  *bytes = (size_t)length;
  *bytes += base64(data, compressed, answer + length);
  *bytes += (size_t)sprintf(answer + *bytes, "\"}");
  free(data);
  return answer;
}

int main(void) {
  const char* type = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
  connect_to_api();
  /* The snapshot of this process, where it is to have one, is taken in this call. */
  if (type != NULL && strcmp(type, "snap-start") == 0) ask("GET", "restore/next", "", 0);
  for (;;) {
    char path[MAX_ID + 64];
    if (ask("GET", "invocation/next", "", 0) != 200 || field("Lambda-Runtime-Aws-Request-Id") == NULL) die("no event");
    snprintf(path, sizeof(path), "invocation/%.*s/response", MAX_ID, field("Lambda-Runtime-Aws-Request-Id"));
    size_t bytes;
    char* answer = handle(&bytes);
    ask("POST", path, answer, bytes);
    free(answer);
  }
}
