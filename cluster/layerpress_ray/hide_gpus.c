/*
 * Shows a process one NVIDIA GPU of several: preloaded, it lets the device files of all others not be there. The driver then finds
 * one GPU, in Vulkan, too, which has no variable for that. It keeps nobody out who wants in: what makes its own system calls does.
 *
 *   cc -shared -fPIC -O2 -o hide_gpus.so hide_gpus.c -ldl
 *   LD_PRELOAD=$PWD/hide_gpus.so LAYERPRESS_GPU=1 LAYERPRESS_GPU_NODES=/dev/nvidia COMMAND
 *
 * hides /dev/nvidia0, /dev/nvidia2 and so on from COMMAND and all that it starts; /dev/nvidiactl and the like stay.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* True for the device file of another GPU; errno is then that of a file that is not there. */
static int hidden(const char *path) {
  const char *nodes = getenv("LAYERPRESS_GPU_NODES");
  const char *own = getenv("LAYERPRESS_GPU");
  if (!path || !nodes || !own) return 0;
  size_t prefix = strlen(nodes);
  if (strncmp(path, nodes, prefix) != 0) return 0;
  const char *number = path + prefix;
  if (*number == '\0' || number[strspn(number, "0123456789")] != '\0' || strcmp(number, own) == 0) return 0;
  errno = ENOENT;
  return 1;
}

/* What a call does where nothing is hidden: what the next library of that name does. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The mode counts only where a file is made, and is passed on as it came. */
#define MODE(last)            \
  va_list rest;               \
  va_start(rest, last);       \
  mode_t mode = va_arg(rest, mode_t); \
  va_end(rest)

int open(const char *path, int flags, ...) {
  MODE(flags);
  return hidden(path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE(flags);
  return hidden(path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *path, int flags, ...) {
  MODE(flags);
  return hidden(path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
  MODE(flags);
  return hidden(path) ? -1 : (int)syscall(SYS_openat, folder, path, flags | O_LARGEFILE, mode);
}

FILE *fopen(const char *path, const char *mode) { return hidden(path) ? NULL : NEXT(fopen)(path, mode); }
FILE *fopen64(const char *path, const char *mode) { return hidden(path) ? NULL : NEXT(fopen64)(path, mode); }

int access(const char *path, int mode) { return hidden(path) ? -1 : NEXT(access)(path, mode); }
int faccessat(int folder, const char *path, int mode, int flags) {
  return hidden(path) ? -1 : NEXT(faccessat)(folder, path, mode, flags);
}

int stat(const char *path, struct stat *to) { return hidden(path) ? -1 : NEXT(stat)(path, to); }
int lstat(const char *path, struct stat *to) { return hidden(path) ? -1 : NEXT(lstat)(path, to); }
int stat64(const char *path, struct stat64 *to) { return hidden(path) ? -1 : NEXT(stat64)(path, to); }
int lstat64(const char *path, struct stat64 *to) { return hidden(path) ? -1 : NEXT(lstat64)(path, to); }
int fstatat(int folder, const char *path, struct stat *to, int flags) {
  return hidden(path) ? -1 : NEXT(fstatat)(folder, path, to, flags);
}
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *to) {
  return hidden(path) ? -1 : NEXT(statx)(folder, path, flags, mask, to);
}

/* What programs call stat that were built before glibc 2.33. */
int __xstat(int version, const char *path, struct stat *to) {
  static int (*next)(int, const char *, struct stat *);
  if (!next) next = (int (*)(int, const char *, struct stat *))dlsym(RTLD_NEXT, "__xstat");
  return hidden(path) ? -1 : next(version, path, to);
}
